/* The occupancy gate's network: local features and a place -> 32 -> 32 -> one probability, rectified between.
 *
 * Sums go in one order and nothing is contracted, so that every processor trains the same weights. */
#ifndef VGM_NETWORK_H
#define VGM_NETWORK_H

#include <stdint.h>

enum {
    VGM_NET_LOCAL = 8, /* features of a cell itself */
    VGM_NET_PLACE = 7, /* of its place along each axis */
    VGM_NET_INPUTS = VGM_NET_LOCAL + 3 * VGM_NET_PLACE,
    VGM_NET_HIDDEN = 32,
    /* Weights in their order: the first layer [inputs][hidden] and its bias, the second [hidden][hidden] and its, the third [hidden] and its. */
    VGM_NET_SECOND = (VGM_NET_INPUTS + 1) * VGM_NET_HIDDEN,
    VGM_NET_THIRD = VGM_NET_SECOND + (VGM_NET_HIDDEN + 1) * VGM_NET_HIDDEN,
    VGM_NET_WEIGHTS = VGM_NET_THIRD + VGM_NET_HIDDEN + 1
};

/* One step of Adam (betas 0.9 and 0.98) on the mean cross entropy of rows [n][inputs]: those picked of the empty ones, then of the occupied.
 * `first` and `second` [weights] are the moments, `step` counts from 1. */
void vgm_network_step(const float *empty, const float *occupied, const int64_t *picked_empty, const int64_t *picked_occupied, int64_t n, double rate,
                      int64_t step, float *weights, float *first, float *second);

/* Probabilities in 1/255 of cells [Z][Y][X] of a box. `local` is [VGM_NET_LOCAL][Z][Y][X], `places` [Z + Y + X][VGM_NET_PLACE]. */
void vgm_network_answer(const float *local, const float *places, const int64_t shape[3], const float *weights, float *room, uint8_t *out);

/* Use no wider instructions than these: 0 none, 1 AVX2, 2 what there is. */
void vgm_network_limit_instructions(int most);

/* Numbers in the room of vgm_network_answer. */
static inline int64_t vgm_network_room(const int64_t shape[3])
{
    return (shape[0] + shape[1] + shape[2]) * VGM_NET_HIDDEN;
}

#endif
