// Principal axes of the Gaussians being fitted: what the fit's bounds on widths are about.
#include "primitive.cuh"

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

// Singular values float64 [n, 3], descending, and right singular vectors float64 [n, 3, 3] (rows) of b float64 [n, 3, 3].
// Turns of pairs of columns (Jacobi's method, one-sided: small values keep their precision). One thread a matrix.
extern "C" __global__ void __launch_bounds__(128)
principal_axes(const double* __restrict__ b, i64 n, double* __restrict__ values, double* __restrict__ axes) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double a[3][3], v[3][3];  // columns
#pragma unroll
    for (int k = 0; k < 9; k++) {
        a[k % 3][k / 3] = b[i * 9 + k];
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
        values[i * 3 + k] = size[k];
#pragma unroll
        for (int j = 0; j < 3; j++) axes[i * 9 + k * 3 + j] = v[k][j];
    }
}
