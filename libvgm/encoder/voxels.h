/* Passes over blocks of voxels (smooth, dot, differences): the same bytes whatever the machine. */
#ifndef VGM_VOXELS_H
#define VGM_VOXELS_H

#include <stddef.h>
#include <stdint.h>

/* Voxels [z, y, x] of a larger array: rows are `pitch[1]` items apart, planes `pitch[0]`. */
typedef struct {
    float *at;
    ptrdiff_t pitch[2];
    int64_t shape[3];
} vgm_field;

/* Bytes that belong to the voxels of a field. */
typedef struct {
    const uint8_t *at;
    ptrdiff_t pitch[2];
} vgm_marks;

/* Constants of a structural similarity: of the luminance term, of the structure term, and of samples' (co)variances. */
typedef struct {
    float middle, c1, c2, unbiased;
} vgm_similarity;

typedef struct {
    /* Sum of products, of 16 lanes that take every 16th voxel of a row each: in binary32 along it, in binary64 over rows. */
    double (*dot)(const vgm_field *a, const vgm_field *b);
    /* Sums of squares, of all voxels and of marked ones. */
    void (*squares)(const vgm_field *a, const vgm_marks *mask, double *all, double *marked);
    /* 0 where a voxel is at an end and its residual is 0. */
    void (*mask_saturated)(const vgm_field *field, const vgm_field *residual, const vgm_marks *saturated);
    /* Planes from z0 of weights (NULL: 1) times the field, less `differences` times its Laplacian inside of the field. */
    void (*metric)(const vgm_field *field, const vgm_field *weights, float differences, int64_t z0, const vgm_field *out);
    /* Planes [z0, z1) of a correlation with symmetric taps, `reach` to either side, along each axis; 0 outside of the block.
     * `room`: shape[1] * (shape[2] + 2 reach[2]) values. */
    void (*correlate)(const vgm_field *from, const float *const taps[3], const int64_t reach[3], int64_t z0, int64_t z1,
                      const vgm_field *out, float *room);
    /* Planes [z0, z1) of whether the squares over the variance, those up to `sure` counted for no more than `most`, summed over a window around each voxel,
     * are more than a limit (0 or 1); the outermost voxels stand for those outside. `room`: (window[0] + 1) * shape[1] * shape[2] + shape[2] + window[2] values. */
    void (*supported)(const vgm_field *values, const vgm_field *variance, const int64_t window[3], float limit, float most, float sure,
                      int64_t z0, int64_t z1, uint8_t *out, float *room);
    /* The structural similarity of two blocks, summed over all windows that lie in them (`vgm_windows_room` values of room); `middle` is
     * what was taken off the values. */
    double (*similarity)(const vgm_field *x, const vgm_field *y, const int64_t window[3], const vgm_similarity *terms, float *room);
    /* The largest square of `count` values; 0 of none. */
    float (*largest_square)(const float *values, int64_t count);
    /* Of `count` voxels, from row[1] on, whether each one's square is `least` or more, and that of none before and after it, and in the four
     * rows beside, from their first on, is larger (0 or 1). */
    void (*row_peaks)(const float *row, const float *const beside[4], int64_t count, float least, uint8_t *peaks);
} vgm_voxel_passes;

size_t vgm_windows_room(int64_t width, const int64_t window[3]);

/* Those for the best instructions that the machine has and that may be used: at most none (0), AVX2 (1), AVX-512 (2). */
const vgm_voxel_passes *vgm_best_voxel_passes(void);
void vgm_limit_voxel_passes(int most);

#endif
