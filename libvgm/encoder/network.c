#include "network.h"

#include <math.h>
#include <string.h>

#include "../src/gaussian.h"
#include "../src/instructions.h"

static const double FIRST_BETA = 0.9, SECOND_BETA = 0.98, LEAST = 1e-8;

#define PART static inline TARGET __attribute__((always_inline))

#define TARGET
#define NAME(x) x##_generic
#include "network_template.h"
#undef TARGET
#undef NAME

#if VGM_HAVE_AVX2
#define TARGET __attribute__((target("avx2")))
#define NAME(x) x##_avx2
#include "network_template.h"
#undef TARGET
#undef NAME
#endif

typedef struct {
    void (*gradient)(const float *, const int64_t *, int64_t, float, const float *, const float *, float *);
    void (*answer)(const float *, const float *, const int64_t *, const float *, float *, uint8_t *);
} functions;

static int most_instructions = 2;

void vgm_network_limit_instructions(int most)
{
    most_instructions = most;
}

static functions best_functions(void)
{
#if VGM_HAVE_AVX2
    if (most_instructions >= 1 && __builtin_cpu_supports("avx2"))
        return (functions){gradient_avx2, answer_avx2};
#endif
    return (functions){gradient_generic, answer_generic};
}

void vgm_network_step(const float *empty, const float *occupied, const int64_t *picked_empty, const int64_t *picked_occupied, int64_t n, double rate,
                      int64_t step, float *weights, float *first, float *second)
{
    functions best = best_functions();
    float gradient[VGM_NET_WEIGHTS], turned[VGM_NET_HIDDEN * VGM_NET_HIDDEN];
    double one = 1.0, two = 1.0;
    for (int64_t k = 0; k < step; k++) {
        one *= FIRST_BETA;
        two *= SECOND_BETA;
    }
    one = 1.0 - one;
    two = 1.0 - two;
    memset(gradient, 0, sizeof gradient);
    for (int k = 0; k < VGM_NET_HIDDEN; k++)
        for (int j = 0; j < VGM_NET_HIDDEN; j++)
            turned[j * VGM_NET_HIDDEN + k] = weights[VGM_NET_SECOND + k * VGM_NET_HIDDEN + j];
    best.gradient(empty, picked_empty, n, 0.0f, weights, turned, gradient);
    best.gradient(occupied, picked_occupied, n, 1.0f, weights, turned, gradient);
    for (int k = 0; k < VGM_NET_WEIGHTS; k++) {
        double g = gradient[k] / (2.0 * (double)n);
        first[k] = (float)(FIRST_BETA * first[k] + (1.0 - FIRST_BETA) * g);
        second[k] = (float)(SECOND_BETA * second[k] + (1.0 - SECOND_BETA) * g * g);
        weights[k] = (float)(weights[k] - rate * (first[k] / one) / (sqrt(second[k] / two) + LEAST));
    }
}

void vgm_network_answer(const float *local, const float *places, const int64_t shape[3], const float *weights, float *room, uint8_t *out)
{
    best_functions().answer(local, places, shape, weights, room, out);
}
