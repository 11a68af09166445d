// Floats of records and covariances to the packed primitives of primitive.cuh.
#include "primitive.cuh"

enum { POSITION = 0, SCALE = 3, ROTATION = 6, INTENSITY = 10, FLOATS = 11 };

__device__ __forceinline__ int to_int(double value) {
    return (int)fmin(fmax(value, -2147483647.0), 2147483647.0);
}

// One row of the table. a: zz, zy, zx of the inverse covariance; s: yy, yx, xx of the covariance; hz: sqrt(Sigma_zz).
__device__ __forceinline__ void write_row(const double* mean, double azz, double azy, double azx, double szz, double syy,
                                          double syx, double sxx, double tyy, double weight, double cutoff, int* anchor,
                                          float* row) {
    const double unit = sqrt(HALF_LOG2E), edge = exp(-0.5 * cutoff);
    for (int k = 0; k < 3; k++) {
        double nearest = rint(mean[k]);
        anchor[k] = to_int(nearest);
        row[FZ + k] = (float)(mean[k] - nearest);
    }
    double tzz = sqrt(azz);
    row[TZZ] = (float)(unit * tzz);
    row[TZY] = (float)(unit * azy / tzz);
    row[TZX] = (float)(unit * azx / tzz);
    row[TYY] = (float)(unit * tyy);
    row[TYX] = (float)(-unit * tyy * syx / sxx);
    row[TXX] = (float)(unit / sqrt(sxx));
    row[WEIGHT] = (float)(weight / (1.0 - edge));
    row[HZ] = (float)fmin(sqrt(cutoff * szz), 1e9);
    row[HY] = (float)fmin(sqrt(cutoff * syy), 1e9);
    row[HX] = (float)fmin(sqrt(cutoff * sxx), 1e9);
    row[RATIO] = (float)exp2(-2.0 * HALF_LOG2E * azz);  // 2^-(second difference of u u along z)
    for (int k = RATIO + 1; k < COLUMNS; k++) row[k] = 0.0f;
}

// Floats to packed primitives on a grid (spec, sections 8.1 and 8.4). One thread a primitive.
//   anchors int64 [n, 3]: nearest voxel of the volume; floats float32 [n, 11]: as the record, position relative to the anchor; step: 2^level; lo_*: first voxel of the box
//   on the grid; packed_anchors int32 [n, 3], table float32 [n, COLUMNS]: in voxels of the box.
extern "C" __global__ void __launch_bounds__(128)
pack_floats(const i64* __restrict__ anchors, const float* __restrict__ floats, i64 n, i64 step, i64 lo_z, i64 lo_y,
            i64 lo_x, double cutoff, int* __restrict__ packed_anchors, float* __restrict__ table) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float* p = floats + i * FLOATS;
    double w = p[ROTATION], x = p[ROTATION + 1], y = p[ROTATION + 2], z = p[ROTATION + 3];
    double norm = 1.0 / sqrt(w * w + x * x + y * y + z * z);
    w *= norm, x *= norm, y *= norm, z *= norm;
    const double r[3][3] = {{1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)},
                            {2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)},
                            {2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)}};
    const i64 lo[3] = {lo_z, lo_y, lo_x};
    const double s2 = (double)step * (double)step;
    double variance[3], weight = p[INTENSITY], product = 1.0, mean[3];
    for (int a = 0; a < 3; a++) {
        double s = p[SCALE + a];
        variance[a] = s * s + (s2 - 1.0) / 12.0;
        weight *= s / sqrt(variance[a]);
        variance[a] /= s2;
        product *= variance[a];
        mean[a] = ((double)(anchors[i * 3 + a] - lo[a] * step) + (double)p[POSITION + a] - 0.5 * (double)(step - 1)) /
                  (double)step;
    }
    double azz = 0, azy = 0, azx = 0, szz = 0, syy = 0, syx = 0, sxx = 0;
    for (int a = 0; a < 3; a++) {
        azz += r[0][a] * r[0][a] / variance[a];
        azy += r[0][a] * r[1][a] / variance[a];
        azx += r[0][a] * r[2][a] / variance[a];
        szz += r[0][a] * r[0][a] * variance[a];
        syy += r[1][a] * r[1][a] * variance[a];
        syx += r[1][a] * r[2][a] * variance[a];
        sxx += r[2][a] * r[2][a] * variance[a];
    }
    double tyy = sqrt(sxx / (azz * product));  // from tzz tyy txx = 1 / sqrt(det Sigma)
    write_row(mean, azz, azy, azx, szz, syy, syx, sxx, tyy, weight, cutoff, packed_anchors + i * 3, table + i * COLUMNS);
}

// Covariances to packed primitives, for the fit (spec, section 8.1). One thread a primitive.
//   means float64 [n, 3]: relative to the box; covariances float64 [n, 6]: zz, zy, zx, yy, yx, xx; weights float64 [n];
//   anchors int32 [n, 3], table float32 [n, COLUMNS].
extern "C" __global__ void __launch_bounds__(128)
pack_covariances(const double* __restrict__ means, const double* __restrict__ covariances, const double* __restrict__ weights,
                 i64 n, double cutoff, int* __restrict__ anchors, float* __restrict__ table) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const double* c = covariances + i * 6;
    double zz = c[0], zy = c[1], zx = c[2], yy = c[3], yx = c[4], xx = c[5];
    double minor = fmax(yy * xx - yx * yx, 1e-12 * yy * xx);
    double czy = zx * yx - zy * xx, czx = zy * yx - zx * yy;
    double det = fmax(zz * minor + zy * czy + zx * czx, 1e-12 * zz * minor);
    write_row(means + i * 3, minor / det, czy / det, czx / det, zz, yy, yx, xx, sqrt(xx / minor), weights[i], cutoff,
              anchors + i * 3, table + i * COLUMNS);
}
