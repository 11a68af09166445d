/* From lattice integers to the canonical record (vgm-1-lattice.md, section 7). */
#ifndef VGM_LATTICE_RECORD_H
#define VGM_LATTICE_RECORD_H

#include <stdint.h>

enum { VGM_BATCH = 16 };

/* Integers of up to VGM_BATCH primitives, one primitive in each column. */
typedef struct {
    int64_t factor[6][VGM_BATCH]; /* zz, yy, xx, yz, xz, xy in 2^-16 voxel */
    int64_t centre[3][VGM_BATCH]; /* in 2^-16 voxel */
    int64_t amplitude[VGM_BATCH];
    int filled;
} vgm_lattice_batch;

/* Write the batch's records; -1, or the number of the first with a value that binary16 does not hold (written as infinite). */
int vgm_lattice_records(const vgm_lattice_batch *batch, double step, uint8_t *records);

#endif
