// Which tiles each primitive touches: count, scan, fill, and a fixed order inside each tile.
//
// Tiles are numbered z-major over a grid; the tile (a, b, c) covers the voxels a * tile - phase .. + tile of the box on each
// axis. With the phase (box_lo mod tile) tiles lie where they would for the whole volume, so a region sees the same lists.
#include "primitive.cuh"

#ifndef SORT_SHARED
#define SORT_SHARED 2048  // longest list that is sorted in shared memory
#endif
#define SCAN_ITEMS 1024

struct TileRange {
    int lo[3], n[3];
};

__device__ __forceinline__ i64 tile_range(const int* anchor, const float* row, const int* shape, const int* tile,
                                          const int* phase, float margin, TileRange* out) {
    i64 total = 1;
    for (int k = 0; k < 3; k++) {
        int first, stop;
        voxel_span(anchor[k], row[FZ + k], row[HZ + k], shape[k], margin, &first, &stop);
        if (stop <= first) return 0;
        out->lo[k] = (int)(((i64)first + phase[k]) / tile[k]);
        out->n[k] = (int)(((i64)stop - 1 + phase[k]) / tile[k]) - out->lo[k] + 1;
        total *= out->n[k];
    }
    return total;
}

__device__ __forceinline__ i64 tile_number(const TileRange* range, const int* grid, i64 k) {
    i64 x = k % range->n[2], rest = k / range->n[2];
    i64 y = rest % range->n[1], z = rest / range->n[1];
    return ((range->lo[0] + z) * grid[1] + range->lo[1] + y) * grid[2] + range->lo[2] + x;
}

// Adds to counts uint64 [tiles] how many primitives meet each tile. One warp a primitive.
//   layout int32 [12]: shape, tile, phase, grid (z, y, x each); margin: voxels added to the half-widths (0; 1 for points).
extern "C" __global__ void __launch_bounds__(256)
bin_count(const int* __restrict__ anchors, const float* __restrict__ table, i64 n, const int* __restrict__ layout,
          float margin, u64* __restrict__ counts) {
    i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) >> 5;
    if (i >= n) return;
    TileRange range;
    i64 total = tile_range(anchors + i * 3, table + i * COLUMNS, layout, layout + 3, layout + 6, margin, &range);
    for (i64 k = threadIdx.x & 31; k < total; k += 32) atomicAdd(counts + tile_number(&range, layout + 9, k), 1ull);
}

// Writes primitive numbers into their tiles' lists, in any order. One warp a primitive.
//   cursor uint64 [tiles]: offsets on entry; ids int32 [capacity]: what does not fit is left out (the last offset tells).
extern "C" __global__ void __launch_bounds__(256)
bin_fill(const int* __restrict__ anchors, const float* __restrict__ table, i64 n, const int* __restrict__ layout,
         float margin, u64* __restrict__ cursor, int* __restrict__ ids, i64 capacity) {
    i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) >> 5;
    if (i >= n) return;
    TileRange range;
    i64 total = tile_range(anchors + i * 3, table + i * COLUMNS, layout, layout + 3, layout + 6, margin, &range);
    for (i64 k = threadIdx.x & 31; k < total; k += 32) {
        u64 at = atomicAdd(cursor + tile_number(&range, layout + 9, k), 1ull);
        if ((i64)at < capacity) ids[at] = (int)i;
    }
}

// Ascending sort of each tile's list (spec, section 8.2: the order of the sum). One block of 256 a tile.
//   offsets int64 [tiles + 1], ids int32 [capacity]. Bitonic; every comparator ascends, so any length will do.
extern "C" __global__ void __launch_bounds__(256)
sort_tiles(const i64* __restrict__ offsets, int* __restrict__ ids, i64 capacity) {
    __shared__ int staged[SORT_SHARED];
    i64 first = offsets[blockIdx.x], n = offsets[blockIdx.x + 1] - first;
    if (n < 2 || first + n > capacity) return;
    int* list = ids + first;
    int* a = list;
    if (n <= SORT_SHARED) {
        for (i64 k = threadIdx.x; k < n; k += blockDim.x) staged[k] = list[k];
        a = staged;
        __syncthreads();
    }
    for (int run = 1; ((i64)1 << (run - 1)) < n; run++) {
        for (int step = run - 1; step >= 0; step--) {
            const i64 mask = ((i64)1 << step) - 1, pairs = ((n + 2 * mask + 1) >> (step + 1)) << step;
            for (i64 k = threadIdx.x; k < pairs; k += blockDim.x) {
                i64 left = ((k & ~mask) << 1) + (k & mask);
                i64 right = step == run - 1 ? ((k & ~mask) << 1) + 2 * mask + 1 - (k & mask) : left + mask + 1;
                if (right < n && a[left] > a[right]) {
                    int swap = a[left];
                    a[left] = a[right];
                    a[right] = swap;
                }
            }
            __syncthreads();
        }
    }
    if (a == staged)
        for (i64 k = threadIdx.x; k < n; k += blockDim.x) list[k] = staged[k];
}

// Exclusive scan of the 256 values of a block; every thread gets its own and the sum of all.
__device__ __forceinline__ i64 block_scan(i64 value, i64* scratch, i64* total) {
    int t = threadIdx.x;
    scratch[t] = value;
    __syncthreads();
    for (int step = 1; step < 256; step *= 2) {
        i64 add = t >= step ? scratch[t - step] : 0;
        __syncthreads();
        scratch[t] += add;
        __syncthreads();
    }
    *total = scratch[255];
    i64 before = scratch[t] - value;
    __syncthreads();
    return before;
}

// Exclusive scan inside runs of SCAN_ITEMS: counts int64 [n] to out [n], sums [ceil(n / SCAN_ITEMS)]. One block of 256 a run.
extern "C" __global__ void __launch_bounds__(256)
scan_runs(const i64* __restrict__ counts, i64 n, i64* __restrict__ out, i64* __restrict__ sums) {
    __shared__ i64 scratch[256];
    i64 first = (i64)blockIdx.x * SCAN_ITEMS + (i64)threadIdx.x * 4, total, mine = 0, value[4];
    for (int k = 0; k < 4; k++) {
        value[k] = first + k < n ? counts[first + k] : 0;
        mine += value[k];
    }
    i64 before = block_scan(mine, scratch, &total);
    for (int k = 0; k < 4; k++) {
        if (first + k < n) out[first + k] = before;
        before += value[k];
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// Exclusive scan of sums int64 [runs] in place, and their total to total[0]. One block of 256.
extern "C" __global__ void __launch_bounds__(256) scan_sums(i64* __restrict__ sums, i64 runs, i64* __restrict__ total) {
    __shared__ i64 scratch[256];
    i64 carried = 0, all;
    for (i64 start = 0; start < runs; start += 256) {
        i64 k = start + threadIdx.x;
        i64 before = block_scan(k < runs ? sums[k] : 0, scratch, &all);
        if (k < runs) sums[k] = carried + before;
        carried += all;
    }
    if (threadIdx.x == 0) total[0] = carried;
}

// Adds the sums of the runs before: out int64 [n] becomes the scan of the whole. One block of 256 a run.
extern "C" __global__ void __launch_bounds__(256)
scan_add(i64* __restrict__ out, i64 n, const i64* __restrict__ sums) {
    for (int k = 0; k < 4; k++) {
        i64 at = (i64)blockIdx.x * SCAN_ITEMS + k * 256 + threadIdx.x;
        if (at < n) out[at] += sums[blockIdx.x];
    }
}
