#include "means.h"

#include <math.h>

#define MEAN_OF(NAME, TYPE, SUM, ROUND)                                                                          \
    static void NAME(const TYPE *voxels, const int64_t size[3], const int64_t lo[3], const int64_t hi[3], TYPE *out) \
    {                                                                                                            \
        SUM sum = 0;                                                                                             \
        double count = (double)(hi[0] - lo[0]) * (double)(hi[1] - lo[1]) * (double)(hi[2] - lo[2]);              \
        for (int64_t z = lo[0]; z < hi[0]; z++)                                                                  \
            for (int64_t y = lo[1]; y < hi[1]; y++)                                                              \
                for (int64_t x = lo[2]; x < hi[2]; x++)                                                          \
                    sum += (SUM)voxels[(z * size[1] + y) * size[2] + x];                                         \
        *out = (TYPE)ROUND((double)sum / count);                                                                 \
    }

MEAN_OF(mean_u8, uint8_t, int64_t, nearbyint)
MEAN_OF(mean_u16, uint16_t, int64_t, nearbyint)
MEAN_OF(mean_i16, int16_t, int64_t, nearbyint)
MEAN_OF(mean_f32, float, double, )

void vgm_means(vgm_type type, const void *voxels, const int64_t size[3], int64_t step, uint64_t first, uint64_t last, void *out)
{
    int64_t ny = (size[1] - 1) / step + 1, nx = (size[2] - 1) / step + 1;
    for (int64_t z = (int64_t)first; z < (int64_t)last; z++)
        for (int64_t y = 0; y < ny; y++)
            for (int64_t x = 0; x < nx; x++) {
                int64_t at = (z * ny + y) * nx + x, lo[3] = {z * step, y * step, x * step}, hi[3];
                for (int a = 0; a < 3; a++)
                    hi[a] = lo[a] + step < size[a] ? lo[a] + step : size[a];
                if (type == VGM_UINT8)
                    mean_u8(voxels, size, lo, hi, (uint8_t *)out + at);
                else if (type == VGM_UINT16)
                    mean_u16(voxels, size, lo, hi, (uint16_t *)out + at);
                else if (type == VGM_INT16)
                    mean_i16(voxels, size, lo, hi, (int16_t *)out + at);
                else
                    mean_f32(voxels, size, lo, hi, (float *)out + at);
            }
}
