#include "voxels.h"

#include <string.h>

#include "../src/instructions.h"

enum { LANES = 16, WIDTH = 64, PIECE = 1024 /* of a row, a multiple of LANES */ };

/* Of a structural similarity: sums of x, y, x x + y y and x y; rows of windows that are worked out at a time. */
enum { MOMENTS = 4, STRIP = 16 };

size_t vgm_windows_room(int64_t width, const int64_t window[3])
{
    int64_t rows = window[0] * STRIP + STRIP + window[1] - 1 + 1;
    return (size_t)(MOMENTS * rows * width);
}

#define PIECE_OF(length, x) ((length) - (x) < PIECE ? (length) - (x) : PIECE)

typedef float lanes __attribute__((vector_size(64)));
typedef float lanes_anywhere __attribute__((vector_size(64), aligned(4), may_alias));
typedef double wide_lanes __attribute__((vector_size(128)));
typedef int32_t lane_marks __attribute__((vector_size(64)));
typedef int32_t marks_anywhere __attribute__((vector_size(64), aligned(4), may_alias));

#define PART static inline TARGET __attribute__((always_inline))

#define TARGET
#define NAME(x) x##_generic
#include "voxels_template.h"
#undef TARGET
#undef NAME

#if VGM_HAVE_AVX2
#define TARGET __attribute__((target("avx2")))
#define NAME(x) x##_avx2
#include "voxels_template.h"
#undef TARGET
#undef NAME
#endif

#if VGM_HAVE_AVX512
#define TARGET __attribute__((target("avx2,avx512f,avx512vl,avx512dq,avx512bw")))
#define NAME(x) x##_avx512
#include "voxels_template.h"
#undef TARGET
#undef NAME
#endif

static int most_instructions = 2;

void vgm_limit_voxel_passes(int most)
{
    most_instructions = most;
}

const vgm_voxel_passes *vgm_best_voxel_passes(void)
{
#if VGM_HAVE_AVX512
    if (most_instructions >= 2 && vgm_has_avx512())
        return &passes_avx512;
#endif
#if VGM_HAVE_AVX2
    if (most_instructions >= 1 && __builtin_cpu_supports("avx2"))
        return &passes_avx2;
#endif
    return &passes_generic;
}
