// Passes over a whole block of voxels that the fit makes: energy, metric, dot product, smoothing, halving, peaks.
#include "primitive.cuh"

// Voxels of this block's run: each block takes one of whole 256s, so sums do not depend on how blocks are scheduled.
__device__ __forceinline__ void my_run(i64 n, i64* first, i64* stop) {
    i64 run = (n + gridDim.x - 1) / gridDim.x;
    *first = run * blockIdx.x;
    *stop = *first + run < n ? *first + run : n;
}

// Adds what the 256 threads of a block have, always in the same order, into parts[blockIdx.x].
__device__ __forceinline__ void block_sum(double sum, double* __restrict__ parts) {
    __shared__ double sums[256];
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned step = 128; step > 0; step >>= 1) {
        if (threadIdx.x < step) sums[threadIdx.x] += sums[threadIdx.x + step];
        __syncthreads();
    }
    if (threadIdx.x == 0) parts[blockIdx.x] = sums[0];
}

// Sum of products of a and b float32 [n]: partial sums float64 [gridDim.x]; the caller adds them in order.
// Blocks of 256, any number.
extern "C" __global__ void __launch_bounds__(256)
dot(const float* __restrict__ a, const float* __restrict__ b, i64 n, double* __restrict__ parts) {
    i64 first, stop;
    my_run(n, &first, &stop);
    double sum = 0.0;
    for (i64 k = first + threadIdx.x; k < stop; k += 256) sum += (double)a[k] * (double)b[k];
    block_sum(sum, parts);
}

// What is left at a voxel: field - target (null for 0), 0 where saturated (null for none) says that decoding cuts it off:
// 1 is black, below which all is black; 2 is white.
__device__ __forceinline__ float left_at(const float* field, const float* __restrict__ target,
                                         const unsigned char* __restrict__ saturated, i64 at) {
    float r = target ? field[at] - target[at] : field[at];
    if (saturated && ((saturated[at] == 1 && r < 0.0f) || (saturated[at] == 2 && r > 0.0f))) r = 0.0f;
    return r;
}

// Twice the loss of r, what is left of the field (see above), and r: sum of weights (null for 1) r r, and of lambda times the
// squares of its differences along each axis. Blocks of 256, any number.
//   all float32 [z, y, x], saturated uint8; out (null for none) takes r, and may be field where lambda is 0; parts float64 [gridDim.x], to
//   be added in order.
extern "C" __global__ void __launch_bounds__(256)
energy(const float* field, const float* __restrict__ target, const unsigned char* __restrict__ saturated,
       const float* __restrict__ weights, float lambda, i64 nz, i64 ny, i64 nx, float* out,
       double* __restrict__ parts) {
    i64 first, stop;
    my_run(nz * ny * nx, &first, &stop);
    double sum = 0.0;
    for (i64 at = first + threadIdx.x; at < stop; at += 256) {
        float here = left_at(field, target, saturated, at);
        sum += (double)(weights ? weights[at] * here : here) * (double)here;
        if (lambda != 0.0f) {
            const i64 place[3] = {at / (ny * nx), at / nx % ny, at % nx}, size[3] = {nz, ny, nx};
            const i64 stride[3] = {ny * nx, nx, 1};
#pragma unroll
            for (int k = 0; k < 3; k++) {
                if (place[k] + 1 >= size[k]) continue;
                float rise = left_at(field, target, saturated, at + stride[k]) - here;
                sum += (double)(lambda * rise) * (double)rise;
            }
        }
        if (out) out[at] = here;
    }
    block_sum(sum, parts);
}

// The loss's metric times a field [z, y, x]: weights (null for 1), and lambda times the differences' own Laplacian.
// One thread a voxel, blocks of 256.
extern "C" __global__ void __launch_bounds__(256)
metric(const float* __restrict__ field, const float* __restrict__ weights, float lambda, i64 nz, i64 ny, i64 nx,
       float* __restrict__ out) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= nz * ny * nx) return;
    float here = field[at], value = weights ? weights[at] * here : here;
    const i64 place[3] = {at / (ny * nx), at / nx % ny, at % nx}, size[3] = {nz, ny, nx}, stride[3] = {ny * nx, nx, 1};
    if (lambda != 0.0f) {
        float bend = 0.0f;
        for (int k = 0; k < 3; k++) {
            if (place[k] > 0) bend += here - field[at - stride[k]];
            if (place[k] + 1 < size[k]) bend += here - field[at + stride[k]];
        }
        value += lambda * bend;
    }
    out[at] = value;
}

// Sets a field float32 [n] to 0 where a voxel is at an end (saturated uint8 [n] is not 0) and the residual float32 [n] there
// is 0: cut off. One thread a voxel, blocks of 256.
extern "C" __global__ void __launch_bounds__(256)
mask_saturated(const float* __restrict__ residual, const unsigned char* __restrict__ saturated, i64 n, float* __restrict__ field) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at < n && saturated[at] && residual[at] == 0.0f) field[at] = 0.0f;
}

// Correlation along one axis with taps float32 [2 radius + 1]; zero outside. One thread a voxel, blocks of 256.
//   The voxel at has place at / stride % size on the axis.
extern "C" __global__ void __launch_bounds__(256)
correlate(const float* __restrict__ field, i64 n, i64 stride, i64 size, const float* __restrict__ taps, int radius,
          float* __restrict__ out) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n) return;
    i64 place = at / stride % size, lo = place < radius ? -place : -radius;
    i64 hi = size - 1 - place < radius ? size - 1 - place : radius;
    float sum = 0.0f;
    for (i64 k = lo; k <= hi; k++) sum += taps[k + radius] * field[at + k * stride];
    out[at] = sum;
}

// Means over pairs along one axis, an odd last voxel counting half. One thread a voxel of out, blocks of 256.
//   field [.., size, stride], out [.., ceil(size / 2), stride] with n voxels.
extern "C" __global__ void __launch_bounds__(256)
halve(const float* __restrict__ field, i64 n, i64 stride, i64 size, float* __restrict__ out) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n) return;
    i64 half = (size + 1) / 2, inner = at % stride, place = at / stride % half, outer = at / stride / half;
    i64 from = (outer * size + 2 * place) * stride + inner;
    out[at] = 0.5f * (field[from] + (2 * place + 1 < size ? field[from + stride] : 0.0f));
}

// What a Gaussian at each voxel would take off the squared error, where no neighbour of 26 would take more, else 0.
//   field [z, y, x]: correlation with it; norm_*: its squared norm along each axis; floor: least gain that counts.
//   One thread a voxel, blocks of 256.
extern "C" __global__ void __launch_bounds__(256)
peaks(const float* __restrict__ field, i64 nz, i64 ny, i64 nx, const float* __restrict__ norm_z,
      const float* __restrict__ norm_y, const float* __restrict__ norm_x, float floor, float* __restrict__ gain) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= nz * ny * nx) return;
    i64 z = at / (ny * nx), y = at / nx % ny, x = at % nx;
    float here = field[at] * field[at], value = here / (norm_z[z] * norm_y[y] * norm_x[x]);
    if (value > floor) {
        for (i64 a = z > 0 ? z - 1 : 0; a <= (z + 1 < nz ? z + 1 : z); a++)
            for (i64 b = y > 0 ? y - 1 : 0; b <= (y + 1 < ny ? y + 1 : y); b++)
                for (i64 c = x > 0 ? x - 1 : 0; c <= (x + 1 < nx ? x + 1 : x); c++) {
                    float there = field[(a * ny + b) * nx + c];
                    if (there * there > here) value = 0.0f;
                }
    } else {
        value = 0.0f;
    }
    gain[at] = value;
}

// Copies n words of 32 bits where the flag says so; where not, reads nothing. One thread a word, blocks of 256.
extern "C" __global__ void __launch_bounds__(256)
copy_if(const int* __restrict__ flag, const unsigned* __restrict__ from, i64 n, unsigned* __restrict__ to) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at < n && *flag) to[at] = from[at];
}
