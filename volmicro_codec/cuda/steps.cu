// The steps of the Gaussians being fitted, as libvgm/encoder/steps.c takes them on the host: one thread a Gaussian.
//
// A Gaussian is (mu, B, w), float64, its covariance B B'; matrices are [3, 3] by rows. A step, float64 [STEP], is dw, e (3),
// then E (zz, zy, zx, yy, yx, xx): mu += B e, B <- B exp(E). Widths are the singular values of B. `free` (uint8 [n, STEP],
// null for all) has 0 for what must not move. `rules` float64 [RULES] are the bounds on widths and libvgm's constants.
#include "primitive.cuh"

enum { STEP = 10, STEP_MOMENTS = 11 };
enum { LEAST, MOST, R_DAMPING, R_AT_LEAST, R_AT_MOST, R_MAYBE, R_WORST, R_NOTHING, RULES };
#define PI32 5.568327996831708  // pi^1.5

// Row and column of the k-th of six.
__device__ __forceinline__ int first_of(int k) { return k < 3 ? 0 : k < 5 ? 1 : 2; }
__device__ __forceinline__ int second_of(int k) { return k < 3 ? k : k < 5 ? k - 2 : 2; }

__device__ __forceinline__ void multiply(const double* a, const double* b, double* out) {
#pragma unroll
    for (int i = 0; i < 3; i++)
#pragma unroll
        for (int j = 0; j < 3; j++) out[3 * i + j] = a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j];
}

__device__ __forceinline__ void transpose(const double* a, double* out) {
#pragma unroll
    for (int k = 0; k < 9; k++) out[k] = a[3 * (k % 3) + k / 3];
}

__device__ __forceinline__ void symmetric(const double* six, double* out) {
#pragma unroll
    for (int k = 0; k < 6; k++) out[3 * first_of(k) + second_of(k)] = out[3 * second_of(k) + first_of(k)] = six[k];
}

// Six of a s a', for a symmetric s.
__device__ __forceinline__ void sandwich(const double* a, const double* s, double* six) {
    double t[9];
    multiply(a, s, t);
#pragma unroll
    for (int k = 0; k < 6; k++) {
        const double *x = t + 3 * first_of(k), *y = a + 3 * second_of(k);
        six[k] = x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
    }
}

// The rows of the adjugate, which over the determinant (returned) is the inverse.
__device__ __forceinline__ double adjugate(const double* b, double* rows) {
#pragma unroll
    for (int r = 0; r < 3; r++) {
        const int p = (r + 1) % 3, q = (r + 2) % 3;
        rows[3 * r] = b[3 + p] * b[6 + q] - b[6 + p] * b[3 + q];
        rows[3 * r + 1] = b[6 + p] * b[q] - b[p] * b[6 + q];
        rows[3 * r + 2] = b[p] * b[3 + q] - b[3 + p] * b[q];
    }
    return b[0] * rows[0] + b[3] * rows[1] + b[6] * rows[2];
}

__device__ __forceinline__ void invert(const double* b, double* inverse) {
    double det = adjugate(b, inverse);
    // NaN for what has none, by no division by zero.
    double over = det != 0.0 ? 1.0 / det : (double)__int_as_float(0x7fc00000);
#pragma unroll
    for (int k = 0; k < 9; k++) inverse[k] *= over;
}

__device__ __forceinline__ double norm_of(const double* b) {
    double sum = 0.0;
#pragma unroll
    for (int k = 0; k < 9; k++) sum += b[k] * b[k];
    return sqrt(sum);
}

// Whether a matrix may have an axis at a bound; its inverse is at hand.
__device__ __forceinline__ bool near_bounds(const double* b, const double* inverse, const double* rules) {
    return norm_of(inverse) > rules[R_MAYBE] / rules[LEAST] || norm_of(b) > rules[R_MAYBE] * rules[MOST];
}

__device__ __forceinline__ bool at_least(double width, const double* rules) { return width < rules[R_AT_LEAST] * rules[LEAST]; }
__device__ __forceinline__ bool at_most(double width, const double* rules) { return width > rules[R_AT_MOST] * rules[MOST]; }

// One turn of the columns p and q (of A, and of V with them) that makes those of A orthogonal; false if they are already.
__device__ __forceinline__ bool turn(double* ap, double* aq, double* vp, double* vq) {
    double pp = ap[0] * ap[0] + ap[1] * ap[1] + ap[2] * ap[2], qq = aq[0] * aq[0] + aq[1] * aq[1] + aq[2] * aq[2];
    double pq = ap[0] * aq[0] + ap[1] * aq[1] + ap[2] * aq[2];
    if (!(fabs(pq) > 1e-15 * sqrt(pp) * sqrt(qq))) return false;
    double zeta = (qq - pp) / (2.0 * pq), t = 1.0 / (fabs(zeta) + sqrt(1.0 + zeta * zeta));
    if (zeta < 0.0) t = -t;
    double c = 1.0 / sqrt(1.0 + t * t), s = c * t;
#pragma unroll
    for (int k = 0; k < 3; k++) {
        double a = ap[k], v = vp[k];
        ap[k] = c * a - s * aq[k];
        aq[k] = s * a + c * aq[k];
        vp[k] = c * v - s * vq[k];
        vq[k] = s * v + c * vq[k];
    }
    return true;
}

// Singular values, descending, and right singular vectors (rows) of a matrix. Turns of pairs of columns (Jacobi's method,
// one-sided: small values keep their precision).
__device__ __forceinline__ void axes_of(const double* b, double* widths, double* rows) {
    double a[3][3], v[3][3];  // columns
#pragma unroll
    for (int k = 0; k < 9; k++) {
        a[k % 3][k / 3] = b[k];
        v[k % 3][k / 3] = k % 3 == k / 3 ? 1.0 : 0.0;
    }
    for (int sweep = 0; sweep < 12; sweep++) {
        bool turned = turn(a[0], a[1], v[0], v[1]);
        turned = turn(a[0], a[2], v[0], v[2]) || turned;
        turned = turn(a[1], a[2], v[1], v[2]) || turned;
        if (!turned) break;
    }
    double size[3];
#pragma unroll
    for (int k = 0; k < 3; k++) size[k] = sqrt(a[k][0] * a[k][0] + a[k][1] * a[k][1] + a[k][2] * a[k][2]);
#pragma unroll
    for (int k = 0; k < 3; k++) {
        const int low = k == 1 ? 1 : 0;  // pairs (0, 1), (1, 2), (0, 1): three values in order
        if (size[low] < size[low + 1]) {
            double swap = size[low];
            size[low] = size[low + 1];
            size[low + 1] = swap;
#pragma unroll
            for (int j = 0; j < 3; j++) {
                swap = v[low][j];
                v[low][j] = v[low + 1][j];
                v[low + 1][j] = swap;
            }
        }
    }
#pragma unroll
    for (int k = 0; k < 3; k++) {
        widths[k] = size[k];
#pragma unroll
        for (int j = 0; j < 3; j++) rows[3 * k + j] = v[k][j];
    }
}

// Singular values float64 [n, 3], descending, and right singular vectors float64 [n, 3, 3] (rows) of b float64 [n, 3, 3].
extern "C" __global__ void __launch_bounds__(128)
principal_axes(const double* __restrict__ b, i64 n, double* __restrict__ values, double* __restrict__ axes) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double matrix[9], widths[3], rows[9];
#pragma unroll
    for (int k = 0; k < 9; k++) matrix[k] = b[9 * i + k];
    axes_of(matrix, widths, rows);
#pragma unroll
    for (int k = 0; k < 3; k++) values[3 * i + k] = widths[k];
#pragma unroll
    for (int k = 0; k < 9; k++) axes[9 * i + k] = rows[k];
}

// Covariances float64 [n, 6] of b.
extern "C" __global__ void __launch_bounds__(128)
step_covariances(const double* __restrict__ b, i64 n, double* __restrict__ covariances) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    b += 9 * i;
#pragma unroll
    for (int k = 0; k < 6; k++) {
        const double *x = b + 3 * first_of(k), *y = b + 3 * second_of(k);
        covariances[6 * i + k] = x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
    }
}

// Gradient float64 [n, STEP] of half the squared residual by its moments float64 [n, STEP_MOMENTS], with another gradient
// (null for none) added. norm: 1 / (1 - edge).
extern "C" __global__ void __launch_bounds__(128)
step_gradient(const double* __restrict__ b, const double* __restrict__ w, const double* __restrict__ moments, i64 n, double norm,
              const double* __restrict__ added, const unsigned char* __restrict__ free, double* __restrict__ gradient) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double inverse[9], s[9], six[6], out[STEP], weight = w[i] * norm;
    const double* m = moments + STEP_MOMENTS * i;
    invert(b + 9 * i, inverse);
    symmetric(m + 5, s);
    sandwich(inverse, s, six);
    out[0] = m[0] * norm;
#pragma unroll
    for (int k = 0; k < 3; k++) out[1 + k] = weight * (inverse[3 * k] * m[2] + inverse[3 * k + 1] * m[3] + inverse[3 * k + 2] * m[4]);
#pragma unroll
    for (int k = 0; k < 6; k++) out[4 + k] = weight * six[k] * (first_of(k) == second_of(k) ? 1.0 : 2.0);
#pragma unroll
    for (int k = 0; k < STEP; k++) {
        i64 at = STEP * i + k;
        double value = added ? out[k] + added[at] : out[k];
        gradient[at] = free && !free[at] ? 0.0 : value;
    }
}

// Steps of w (returned) and of the three scales for their gradients; scales that are not free stay. The block is two equations
// in w and the scales' sum (libvgm/encoder/steps.c).
__device__ __forceinline__ double solve(double weight, const double* scales, const bool* moves, double amp, double unit, double damping,
                                        double* out) {
    double a = 1.0 + damping, b = 0.75 * (1.0 + damping) - 0.25, r0 = weight * amp / unit, r[3], total = 0.0, m = 0.0;
#pragma unroll
    for (int k = 0; k < 3; k++) {
        r[k] = moves[k] ? scales[k] / unit : 0.0;
        total += r[k];
        m += moves[k] ? 1.0 : 0.0;
    }
    double both = b + 0.25 * m, det = a * both - 0.25 * m;
    double w = (r0 * both - 0.5 * total) / det, s = (a * total - 0.5 * m * r0) / det, common = 0.5 * w + 0.25 * s;
#pragma unroll
    for (int k = 0; k < 3; k++) out[k] = moves[k] ? (r[k] - common) / b : 0.0;
    return w * amp;
}

// The gradient times the inverse of each Gaussian's own Gauss-Newton block. Where `bounded`, axes at a bound that the gradient
// does not take away from it are held: their block is solved without them, in the frame of the Gaussian's own axes.
extern "C" __global__ void __launch_bounds__(128)
step_precondition(const double* __restrict__ b, const double* __restrict__ w, const double* __restrict__ gradient, i64 n, double floor,
                  int bounded, const double* __restrict__ rules, const unsigned char* __restrict__ free, double* __restrict__ steps) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double matrix[9], inverse[9], g[STEP], out[STEP], scales[3];
#pragma unroll
    for (int k = 0; k < 9; k++) matrix[k] = b[9 * i + k];
#pragma unroll
    for (int k = 0; k < STEP; k++) g[k] = gradient[STEP * i + k];
    double damping = rules[R_DAMPING], size = sqrt(w[i] * w[i] + floor * floor), amp = w[i] < 0.0 ? -size : size;
    double unit = amp * amp * PI32 * fabs(adjugate(matrix, inverse)), scale = 1.0 / (unit * (1.0 + damping));
    invert(matrix, inverse);
#pragma unroll
    for (int k = 0; k < 3; k++) out[1 + k] = g[1 + k] * (2.0 * scale);
    if (bounded && near_bounds(matrix, inverse, rules)) {
        double widths[3], axes[9], back[9], turned[9], six[6];
        bool moves[3];
        axes_of(matrix, widths, axes);
#pragma unroll
        for (int k = 0; k < 6; k++) six[k] = first_of(k) == second_of(k) ? g[4 + k] : g[4 + k] / 2.0;
        symmetric(six, turned);
        sandwich(axes, turned, six);
        double diagonal[3] = {six[0], six[3], six[5]}, nothing = fabs(g[0] * amp);
#pragma unroll
        for (int k = 4; k < STEP; k++) nothing += fabs(g[k]);
        nothing *= rules[R_NOTHING];
#pragma unroll
        for (int k = 0; k < 3; k++)
            moves[k] = !((at_least(widths[k], rules) && diagonal[k] > -nothing) || (at_most(widths[k], rules) && diagonal[k] < nothing));
        out[0] = solve(g[0], diagonal, moves, amp, unit, damping, scales);
#pragma unroll
        for (int k = 0; k < 6; k++) six[k] = first_of(k) == second_of(k) ? scales[first_of(k)] : six[k] * (2.0 * scale);
        symmetric(six, turned);
        transpose(axes, back);
        sandwich(back, turned, out + 4);
    } else {
        const bool all[3] = {true, true, true};
        double diagonal[3] = {g[4], g[7], g[9]};
        out[0] = solve(g[0], diagonal, all, amp, unit, damping, scales);
#pragma unroll
        for (int k = 0; k < 6; k++) out[4 + k] = first_of(k) == second_of(k) ? scales[first_of(k)] : g[4 + k] * scale;
    }
#pragma unroll
    for (int k = 0; k < STEP; k++) steps[STEP * i + k] = free && !free[STEP * i + k] ? 0.0 : out[k];
}

// Steps without what would take an axis past a bound that it is at already.
extern "C" __global__ void __launch_bounds__(128)
step_hold(const double* __restrict__ b, const double* __restrict__ steps, i64 n, const double* __restrict__ rules,
          const unsigned char* __restrict__ free, double* __restrict__ held) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double matrix[9], inverse[9], out[STEP];
#pragma unroll
    for (int k = 0; k < 9; k++) matrix[k] = b[9 * i + k];
#pragma unroll
    for (int k = 0; k < STEP; k++) out[k] = steps[STEP * i + k];
    invert(matrix, inverse);
    if (near_bounds(matrix, inverse, rules)) {
        double widths[3], axes[9], s[9];
        axes_of(matrix, widths, axes);
        symmetric(out + 4, s);
#pragma unroll
        for (int k = 0; k < 3; k++) {
            const double* v = axes + 3 * k;
            double along = 0.0;
#pragma unroll
            for (int r = 0; r < 3; r++) along += v[r] * (s[3 * r] * v[0] + s[3 * r + 1] * v[1] + s[3 * r + 2] * v[2]);
            if (!((at_least(widths[k], rules) && along < 0.0) || (at_most(widths[k], rules) && along > 0.0))) along = 0.0;
#pragma unroll
            for (int r = 0; r < 9; r++) s[r] -= along * v[r / 3] * v[r % 3];
        }
#pragma unroll
        for (int k = 0; k < 6; k++) out[4 + k] = s[3 * first_of(k) + second_of(k)];
    }
#pragma unroll
    for (int k = 0; k < STEP; k++) held[STEP * i + k] = free && !free[STEP * i + k] ? 0.0 : out[k];
}

// `count` tables [count, n, STEP] of steps without what changes the width of an axis that is at a bound, either way; or of
// `gradients`, whose numbers off the diagonal are of both entries of E.
extern "C" __global__ void __launch_bounds__(128)
step_clear(const double* __restrict__ b, const double* __restrict__ tables, i64 n, i64 count, int gradients,
           const double* __restrict__ rules, double* __restrict__ cleared) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double matrix[9], inverse[9], widths[3], axes[9];
#pragma unroll
    for (int k = 0; k < 9; k++) matrix[k] = b[9 * i + k];
    invert(matrix, inverse);
    bool near = near_bounds(matrix, inverse, rules);
    if (near) axes_of(matrix, widths, axes);
    for (i64 c = 0; c < count; c++) {
        i64 at = (c * n + i) * STEP;
        double out[STEP], s[9];
#pragma unroll
        for (int k = 0; k < STEP; k++) out[k] = tables[at + k];
        if (near) {
#pragma unroll
            for (int k = 0; k < 6; k++)
                if (gradients && first_of(k) != second_of(k)) out[4 + k] /= 2.0;
            symmetric(out + 4, s);
#pragma unroll
            for (int k = 0; k < 3; k++) {
                const double* v = axes + 3 * k;
                double along = 0.0;
#pragma unroll
                for (int r = 0; r < 3; r++) along += v[r] * (s[3 * r] * v[0] + s[3 * r + 1] * v[1] + s[3 * r + 2] * v[2]);
                if (!(at_least(widths[k], rules) || at_most(widths[k], rules))) along = 0.0;
#pragma unroll
                for (int r = 0; r < 9; r++) s[r] -= along * v[r / 3] * v[r % 3];
            }
#pragma unroll
            for (int k = 0; k < 6; k++)
                out[4 + k] = s[3 * first_of(k) + second_of(k)] * (gradients && first_of(k) != second_of(k) ? 2.0 : 1.0);
        }
#pragma unroll
        for (int k = 0; k < STEP; k++) cleared[at + k] = out[k];
    }
}

// The step that leads from Gaussians to others, to the second order of E.
extern "C" __global__ void __launch_bounds__(128)
step_between(const double* __restrict__ mu, const double* __restrict__ b, const double* __restrict__ w,
             const double* __restrict__ new_mu, const double* __restrict__ new_b, const double* __restrict__ new_w, i64 n,
             const unsigned char* __restrict__ free, double* __restrict__ steps) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double inverse[9], growth[9], back[9], d[3], out[STEP];
    bool same = true;
    invert(b + 9 * i, inverse);
#pragma unroll
    for (int k = 0; k < 3; k++) d[k] = new_mu[3 * i + k] - mu[3 * i + k];
    out[0] = new_w[i] - w[i];
#pragma unroll
    for (int k = 0; k < 3; k++) out[1 + k] = inverse[3 * k] * d[0] + inverse[3 * k + 1] * d[1] + inverse[3 * k + 2] * d[2];
#pragma unroll
    for (int k = 0; k < 9; k++) same = same && b[9 * i + k] == new_b[9 * i + k];
    multiply(inverse, new_b + 9 * i, growth);
    invert(growth, back);
#pragma unroll
    for (int k = 0; k < 6; k++) {
        const int one = 3 * first_of(k) + second_of(k), other = 3 * second_of(k) + first_of(k);
        out[4 + k] = same ? 0.0 : ((growth[one] + growth[other]) - (back[one] + back[other])) / 4.0;
    }
#pragma unroll
    for (int k = 0; k < STEP; k++) steps[STEP * i + k] = free && !free[STEP * i + k] ? 0.0 : out[k];
}

// A step as the table that `slope` takes, float32 [n, STEP].
extern "C" __global__ void __launch_bounds__(128)
step_table(const double* __restrict__ b, const double* __restrict__ steps, i64 n, float* __restrict__ table) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const double* step = steps + STEP * i;
    float* out = table + STEP * i;
    double inverse[9], turned[9], s[9], six[6];
    invert(b + 9 * i, inverse);
    transpose(inverse, turned);
    symmetric(step + 4, s);
    sandwich(turned, s, six);
    out[0] = (float)step[0];
#pragma unroll
    for (int k = 0; k < 3; k++) out[1 + k] = (float)(turned[3 * k] * step[1] + turned[3 * k + 1] * step[2] + turned[3 * k + 2] * step[3]);
#pragma unroll
    for (int k = 0; k < 6; k++) out[4 + k] = (float)(six[k] * (first_of(k) == second_of(k) ? 1.0 : 2.0));
}

// A matrix with every width within its bounds; the unit matrix for what is none.
__device__ __forceinline__ void clamp_widths(const double* b, const double* rules, double* out) {
    double inverse[9], widths[3], axes[9], scaled[9], back[9];
    invert(b, inverse);
    double tight = norm_of(inverse), wide = norm_of(b);
    bool usable = tight * wide < rules[R_WORST], within = usable && !(tight > 1.0 / rules[LEAST] || wide > rules[MOST]);
#pragma unroll
    for (int k = 0; k < 9; k++) out[k] = usable ? b[k] : k % 4 == 0 ? 1.0 : 0.0;
    if (!usable || within) return;
    axes_of(b, widths, axes);
#pragma unroll
    for (int k = 0; k < 3; k++) {
        double to = widths[k] < rules[LEAST] ? rules[LEAST] : widths[k] > rules[MOST] ? rules[MOST] : widths[k];
#pragma unroll
        for (int r = 0; r < 3; r++) scaled[3 * k + r] = to / widths[k] * axes[3 * k + r];
    }
    transpose(axes, back);
    multiply(back, scaled, inverse);
    multiply(b, inverse, out);
}

// exp(s) to the fourth power of s, which is no more than a half.
__device__ __forceinline__ void exponential(const double* s, double* out) {
    double s2[9], s3[9], s4[9];
    multiply(s, s, s2);
    multiply(s2, s, s3);
    multiply(s2, s2, s4);
#pragma unroll
    for (int k = 0; k < 9; k++) out[k] = (k % 4 == 0 ? 1.0 : 0.0) + s[k] + s2[k] / 2.0 + s3[k] / 6.0 + s4[k] / 24.0;
}

// Gaussians after alpha[0] times a step, each move capped to what the local model can bear. Without `shapes` B stays.
extern "C" __global__ void __launch_bounds__(128)
step_move(const double* __restrict__ mu, const double* __restrict__ b, const double* __restrict__ w, const double* __restrict__ steps,
          i64 n, const double* __restrict__ alpha, int shapes, const double* __restrict__ rules, const unsigned char* __restrict__ free,
          double* __restrict__ new_mu, double* __restrict__ new_b, double* __restrict__ new_w) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double matrix[9], d[STEP], widest = 0.0;
#pragma unroll
    for (int k = 0; k < 9; k++) matrix[k] = b[9 * i + k];
#pragma unroll
    for (int k = 0; k < STEP; k++) {
        d[k] = steps[STEP * i + k] * alpha[0];
        if (k > 3) widest = fabs(d[k]) > widest ? fabs(d[k]) : widest;
    }
    double big = sqrt(d[1] * d[1] + d[2] * d[2] + d[3] * d[3]);
    big = widest / 0.5 > big ? widest / 0.5 : big;
    if (!(big < 1.0)) {
#pragma unroll
        for (int k = 0; k < STEP; k++) d[k] /= big;
    }
#pragma unroll
    for (int k = 0; k < 3; k++) new_mu[3 * i + k] = mu[3 * i + k] + (matrix[3 * k] * d[1] + matrix[3 * k + 1] * d[2] + matrix[3 * k + 2] * d[3]);
    new_w[i] = w[i] + d[0];
    double out[9];
#pragma unroll
    for (int k = 0; k < 9; k++) out[k] = matrix[k];
    if (shapes && !(free && !free[STEP * i + 4])) {
        double s[9], growth[9], grown[9];
        symmetric(d + 4, s);
        exponential(s, growth);
        multiply(matrix, growth, grown);
        clamp_widths(grown, rules, out);
    }
#pragma unroll
    for (int k = 0; k < 9; k++) new_b[9 * i + k] = out[k];
}
