#include "steps.h"

#include <math.h>
#include <string.h>

#include "axes.h"

static const double PI32 = 5.568327996831708; /* pi^1.5 */
static const int FIRST[6] = {0, 0, 0, 1, 1, 2}, SECOND[6] = {0, 1, 2, 1, 2, 2};

static void multiply(const double *a, const double *b, double *out)
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            out[3 * i + j] = a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j];
}

static void transpose(const double *a, double *out)
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            out[3 * i + j] = a[3 * j + i];
}

static void symmetric(const double *six, double *out)
{
    for (int k = 0; k < 6; k++)
        out[3 * FIRST[k] + SECOND[k]] = out[3 * SECOND[k] + FIRST[k]] = six[k];
}

/* Six of a s a', for a symmetric s. */
static void sandwich(const double *a, const double *s, double *six)
{
    double t[9];
    multiply(a, s, t);
    for (int k = 0; k < 6; k++) {
        const double *x = t + 3 * FIRST[k], *y = a + 3 * SECOND[k];
        six[k] = x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
    }
}

/* The rows of the adjugate, whose inverse matrix is that over the determinant, which is returned. */
static double adjugate(const double *b, double *rows)
{
    for (int r = 0; r < 3; r++) {
        int p = (r + 1) % 3, q = (r + 2) % 3;
        rows[3 * r] = b[3 + p] * b[6 + q] - b[6 + p] * b[3 + q];
        rows[3 * r + 1] = b[6 + p] * b[q] - b[p] * b[6 + q];
        rows[3 * r + 2] = b[p] * b[3 + q] - b[3 + p] * b[q];
    }
    return b[0] * rows[0] + b[3] * rows[1] + b[6] * rows[2];
}

static void invert(const double *b, double *inverse)
{
    double det = adjugate(b, inverse);
    for (int k = 0; k < 9; k++)
        inverse[k] /= det;
}

static double norm_of(const double *b)
{
    double sum = 0.0;
    for (int k = 0; k < 9; k++)
        sum += b[k] * b[k];
    return sqrt(sum);
}

/* Whether a matrix may have an axis at a bound; its inverse is at hand. */
static int near_bounds(const double *b, const double *inverse, const vgm_widths *widths)
{
    return norm_of(inverse) > VGM_MAYBE_AT_BOUND / widths->least || norm_of(b) > VGM_MAYBE_AT_BOUND * widths->most;
}

static int at_least(double width, const vgm_widths *widths)
{
    return width < VGM_AT_LEAST * widths->least;
}

static int at_most(double width, const vgm_widths *widths)
{
    return width > VGM_AT_MOST * widths->most;
}

void vgm_covariances(int64_t n, const double *b, double *covariances)
{
    for (int64_t i = 0; i < n; i++, b += 9, covariances += 6)
        for (int k = 0; k < 6; k++) {
            const double *x = b + 3 * FIRST[k], *y = b + 3 * SECOND[k];
            covariances[k] = x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
        }
}

void vgm_volumes(int64_t n, const double *b, double *volumes)
{
    double rows[9];
    for (int64_t i = 0; i < n; i++)
        volumes[i] = fabs(adjugate(b + 9 * i, rows));
}

double vgm_dot_steps(int64_t n, const double *one, const double *other)
{
    double sums[VGM_STEP] = {0.0}, total = 0.0;
    for (int64_t i = 0; i < n; i++, one += VGM_STEP, other += VGM_STEP)
        for (int k = 0; k < VGM_STEP; k++)
            sums[k] += one[k] * other[k];
    for (int k = 0; k < VGM_STEP; k++)
        total += sums[k];
    return total;
}

void vgm_step_gradient(int64_t n, const double *b, const double *w, const double *moments, double norm, double *gradient)
{
    for (int64_t i = 0; i < n; i++, b += 9, moments += VGM_STEP_MOMENTS, gradient += VGM_STEP) {
        double inverse[9], s[9], six[6], weight = w[i] * norm;
        const double *m = moments + 2;
        invert(b, inverse);
        symmetric(moments + 5, s);
        sandwich(inverse, s, six);
        gradient[0] = moments[0] * norm;
        for (int k = 0; k < 3; k++)
            gradient[1 + k] = weight * (inverse[3 * k] * m[0] + inverse[3 * k + 1] * m[1] + inverse[3 * k + 2] * m[2]);
        for (int k = 0; k < 6; k++)
            gradient[4 + k] = weight * six[k] * (FIRST[k] == SECOND[k] ? 1.0 : 2.0);
    }
}

/* Steps of w and of the three scales for their gradients; scales that are not free stay.
 *
 * The block, over (w / amp, scales) and in units of `unit`, has 1 and 3/4 on its diagonal, 1/2 between w and a scale, 1/4 between scales; so
 * with m scales that move it is two equations in w and the scales' sum. */
static double solve(double weight, const double scales[3], const int moves[3], double amp, double unit, double out[3])
{
    double a = 1.0 + VGM_DAMPING, b = 0.75 * (1.0 + VGM_DAMPING) - 0.25, r0 = weight * amp / unit, r[3], total = 0.0, w, s, common;
    double m = (double)(moves[0] + moves[1] + moves[2]), both = b + 0.25 * m, det = a * both - 0.25 * m;
    for (int k = 0; k < 3; k++) {
        r[k] = moves[k] ? scales[k] / unit : 0.0;
        total += r[k];
    }
    w = (r0 * both - 0.5 * total) / det;
    s = (a * total - 0.5 * m * r0) / det;
    common = 0.5 * w + 0.25 * s;
    for (int k = 0; k < 3; k++)
        out[k] = moves[k] ? (r[k] - common) / b : 0.0;
    return w * amp;
}

/* The steps of w and E in the frame of the Gaussian's own axes, without those that are held. There the block of E is the same as in any
 * other frame: w^2 I0 (|E|^2 / 2 + tr(E)^2 / 4). */
static void solve_held(const double *b, const double *gradient, double amp, double unit, const vgm_widths *widths, double *step)
{
    double lengths[3], axes[9], back[9], g[9], six[6], scales[3], diagonal[3];
    double wide = 2.0 / (unit * (1.0 + VGM_DAMPING));
    double nothing;
    int moves[3];
    for (int k = 0; k < 6; k++)
        six[k] = FIRST[k] == SECOND[k] ? gradient[4 + k] : gradient[4 + k] / 2.0;
    vgm_principal_axes(1, b, lengths, axes);
    symmetric(six, g);
    sandwich(axes, g, six);
    diagonal[0] = six[0], diagonal[1] = six[3], diagonal[2] = six[5];
    nothing = fabs(gradient[0] * amp);
    for (int k = 4; k < VGM_STEP; k++)
        nothing += fabs(gradient[k]);
    nothing *= VGM_NOTHING; /* what clearing an axis leaves by rounding: as if it would be crossed */
    for (int k = 0; k < 3; k++)
        moves[k] = !((at_least(lengths[k], widths) && diagonal[k] > -nothing) || (at_most(lengths[k], widths) && diagonal[k] < nothing));
    step[0] = solve(gradient[0], diagonal, moves, amp, unit, scales);
    for (int k = 0; k < 6; k++)
        six[k] = FIRST[k] == SECOND[k] ? scales[FIRST[k]] : six[k] * wide;
    symmetric(six, g);
    transpose(axes, back);
    sandwich(back, g, step + 4);
}

void vgm_precondition(int64_t n, const double *b, const double *w, const double *gradient, double floor, const vgm_widths *widths, double *step)
{
    static const int all[3] = {1, 1, 1};
    for (int64_t i = 0; i < n; i++, b += 9, gradient += VGM_STEP, step += VGM_STEP) {
        double inverse[9], scales[3], diagonal[3] = {gradient[4], gradient[7], gradient[9]};
        double det = adjugate(b, inverse), size = sqrt(w[i] * w[i] + floor * floor), amp = w[i] < 0.0 ? -size : size;
        double unit = amp * amp * PI32 * fabs(det), scale = 1.0 / (unit * (1.0 + VGM_DAMPING));
        for (int k = 0; k < 3; k++)
            step[1 + k] = gradient[1 + k] * (2.0 * scale);
        for (int k = 0; k < 9; k++)
            inverse[k] /= det;
        if (widths != NULL && near_bounds(b, inverse, widths)) {
            solve_held(b, gradient, amp, unit, widths, step);
            continue;
        }
        step[0] = solve(gradient[0], diagonal, all, amp, unit, scales);
        for (int k = 0; k < 6; k++)
            step[4 + k] = FIRST[k] == SECOND[k] ? scales[FIRST[k]] : gradient[4 + k] * scale;
    }
}

void vgm_hold_bounds(int64_t n, const double *b, const double *direction, const vgm_widths *widths, double *held)
{
    memcpy(held, direction, (size_t)n * VGM_STEP * sizeof *held);
    for (int64_t i = 0; i < n; i++, b += 9, held += VGM_STEP) {
        double inverse[9], lengths[3], axes[9], s[9];
        invert(b, inverse);
        if (!near_bounds(b, inverse, widths))
            continue;
        vgm_principal_axes(1, b, lengths, axes);
        symmetric(held + 4, s);
        for (int k = 0; k < 3; k++) {
            const double *v = axes + 3 * k;
            double along = 0.0;
            for (int r = 0; r < 3; r++)
                along += v[r] * (s[3 * r] * v[0] + s[3 * r + 1] * v[1] + s[3 * r + 2] * v[2]);
            if ((at_least(lengths[k], widths) && along < 0.0) || (at_most(lengths[k], widths) && along > 0.0))
                for (int r = 0; r < 9; r++)
                    s[r] -= along * v[r / 3] * v[r % 3];
        }
        for (int k = 0; k < 6; k++)
            held[4 + k] = s[3 * FIRST[k] + SECOND[k]];
    }
}

int64_t vgm_bounded(int64_t n, const double *b, const vgm_widths *widths, int64_t *rows, double *axes)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++, b += 9) {
        double inverse[9], lengths[3], all[9];
        int some = 0;
        invert(b, inverse);
        if (!near_bounds(b, inverse, widths))
            continue;
        vgm_principal_axes(1, b, lengths, all);
        for (int k = 0; k < 3; k++) {
            int there = at_least(lengths[k], widths) || at_most(lengths[k], widths);
            some |= there;
            for (int r = 0; r < 3; r++)
                axes[9 * count + 3 * k + r] = there ? all[3 * k + r] : 0.0;
        }
        if (some)
            rows[count++] = i;
    }
    return count;
}

void vgm_clear_bounded(int64_t count, const int64_t *rows, const double *axes, int gradients, double *steps)
{
    for (int64_t c = 0; c < count; c++, axes += 9) {
        double *row = steps + rows[c] * VGM_STEP + 4, s[9], six[6];
        for (int k = 0; k < 6; k++)
            six[k] = gradients && FIRST[k] != SECOND[k] ? row[k] / 2.0 : row[k];
        symmetric(six, s);
        for (int k = 0; k < 3; k++) {
            const double *v = axes + 3 * k;
            double along = 0.0;
            for (int r = 0; r < 3; r++)
                along += v[r] * (s[3 * r] * v[0] + s[3 * r + 1] * v[1] + s[3 * r + 2] * v[2]);
            for (int r = 0; r < 9; r++)
                s[r] -= along * v[r / 3] * v[r % 3];
        }
        for (int k = 0; k < 6; k++)
            row[k] = s[3 * FIRST[k] + SECOND[k]] * (gradients && FIRST[k] != SECOND[k] ? 2.0 : 1.0);
    }
}

void vgm_step_between(int64_t n, const double *mu, const double *b, const double *w, const double *new_mu, const double *new_b,
                      const double *new_w, double *step)
{
    for (int64_t i = 0; i < n; i++, mu += 3, b += 9, new_mu += 3, new_b += 9, step += VGM_STEP) {
        double inverse[9], growth[9], back[9], d[3];
        invert(b, inverse);
        for (int k = 0; k < 3; k++)
            d[k] = new_mu[k] - mu[k];
        step[0] = new_w[i] - w[i];
        for (int k = 0; k < 3; k++)
            step[1 + k] = inverse[3 * k] * d[0] + inverse[3 * k + 1] * d[1] + inverse[3 * k + 2] * d[2];
        memset(step + 4, 0, 6 * sizeof *step);
        if (memcmp(b, new_b, 9 * sizeof *b) == 0)
            continue;
        multiply(inverse, new_b, growth);
        invert(growth, back);
        for (int k = 0; k < 6; k++) {
            int i0 = 3 * FIRST[k] + SECOND[k], i1 = 3 * SECOND[k] + FIRST[k];
            step[4 + k] = ((growth[i0] + growth[i1]) - (back[i0] + back[i1])) / 4.0;
        }
    }
}

void vgm_step_directions(int64_t n, const double *b, const double *step, float *directions)
{
    for (int64_t i = 0; i < n; i++, b += 9, step += VGM_STEP, directions += VGM_STEP) {
        double inverse[9], turned[9], s[9], six[6];
        invert(b, inverse);
        transpose(inverse, turned);
        symmetric(step + 4, s);
        sandwich(turned, s, six);
        directions[0] = (float)step[0];
        for (int k = 0; k < 3; k++)
            directions[1 + k] = (float)(turned[3 * k] * step[1] + turned[3 * k + 1] * step[2] + turned[3 * k + 2] * step[3]);
        for (int k = 0; k < 6; k++)
            directions[4 + k] = (float)(six[k] * (FIRST[k] == SECOND[k] ? 1.0 : 2.0));
    }
}

static void clamp_one(const double *b, const vgm_widths *widths, double *out)
{
    static const double unit[9] = {1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0};
    double inverse[9], lengths[3], axes[9], scaled[9], turn[9], tight, wide;
    invert(b, inverse);
    tight = norm_of(inverse);
    wide = norm_of(b);
    if (!(tight * wide < VGM_WORST_CONDITION)) {
        memcpy(out, unit, sizeof unit);
        return;
    }
    if (!(tight > 1.0 / widths->least || wide > widths->most)) {
        memcpy(out, b, 9 * sizeof *b);
        return;
    }
    vgm_principal_axes(1, b, lengths, axes);
    for (int k = 0; k < 3; k++) {
        double within = lengths[k] < widths->least ? widths->least : lengths[k] > widths->most ? widths->most : lengths[k];
        for (int r = 0; r < 3; r++)
            scaled[3 * k + r] = within / lengths[k] * axes[3 * k + r];
    }
    transpose(axes, turn);
    multiply(turn, scaled, inverse);
    multiply(b, inverse, out);
}

void vgm_clamp_widths(int64_t n, const double *b, const vgm_widths *widths, double *clamped)
{
    for (int64_t i = 0; i < n; i++)
        clamp_one(b + 9 * i, widths, clamped + 9 * i);
}

/* exp(s) to the fourth power of s, which is no more than a half. */
static void exponential(const double *s, double *out)
{
    double s2[9], s3[9], s4[9];
    multiply(s, s, s2);
    multiply(s2, s, s3);
    multiply(s2, s2, s4);
    for (int k = 0; k < 9; k++)
        out[k] = (k % 4 == 0 ? 1.0 : 0.0) + s[k] + s2[k] / 2.0 + s3[k] / 6.0 + s4[k] / 24.0;
}

void vgm_move(int64_t n, const double *mu, const double *b, const double *w, const double *step, double alpha, const vgm_widths *widths,
              const uint8_t *shapes, double *new_mu, double *new_b, double *new_w)
{
    for (int64_t i = 0; i < n; i++, mu += 3, b += 9, step += VGM_STEP, new_mu += 3, new_b += 9) {
        double d[VGM_STEP], s[9], growth[9], grown[9], big, widest = 0.0;
        for (int k = 0; k < VGM_STEP; k++)
            d[k] = step[k] * alpha;
        big = sqrt(d[1] * d[1] + d[2] * d[2] + d[3] * d[3]);
        for (int k = 4; k < VGM_STEP; k++)
            widest = fabs(d[k]) > widest ? fabs(d[k]) : widest;
        big = widest / 0.5 > big ? widest / 0.5 : big;
        if (!(big < 1.0))
            for (int k = 0; k < VGM_STEP; k++)
                d[k] /= big;
        for (int k = 0; k < 3; k++)
            new_mu[k] = mu[k] + (b[3 * k] * d[1] + b[3 * k + 1] * d[2] + b[3 * k + 2] * d[3]);
        new_w[i] = w[i] + d[0];
        if (widths == NULL || (shapes != NULL && !shapes[VGM_STEP * i + 4])) {
            memcpy(new_b, b, 9 * sizeof *b);
            continue;
        }
        symmetric(d + 4, s);
        exponential(s, growth);
        multiply(b, growth, grown);
        clamp_one(grown, widths, new_b);
    }
}
