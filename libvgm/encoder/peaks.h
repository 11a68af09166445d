/* Peaks of a matched filter, and which of them no better one covers. */
#ifndef VGM_PEAKS_H
#define VGM_PEAKS_H

#include <stdint.h>

/* Voxels of planes [z0, z1) of a correlation whose gain (its square over the three norms) is above `floor` and no less than that of their
 * 26 neighbours: their places and gains, up to `room`. Returns how many. */
int64_t vgm_find_peaks(const float *correlation, const int64_t shape[3], const double *const norms[3], int64_t z0, int64_t z1,
                       double floor, int64_t room, int32_t (*places)[3], double *gains);

/* Of Gaussians in the order given, those that no kept one covers, up to `limit`: each covers the cells of `taken` (`step` voxels a side)
 * within `reach` standard deviations. Returns how many; -1 where memory is refused. */
int64_t vgm_uncovered(const double (*centres)[3], const double (*sigmas)[3], const int64_t *order, int64_t count, int64_t limit,
                      const double step[3], double reach, uint8_t *taken, const int64_t cells[3], int64_t *kept);

#endif
