/* Writes lattice chunks (vgm-1-lattice.md, sections 4 to 6). */
#ifndef VGM_LATTICE_ENCODER_H
#define VGM_LATTICE_ENCODER_H

#include "../src/codings.h"
#include "range_encoder.h"

enum { VGM_LATTICE_CLASSES = 41 };

/* Symbols of `count` primitives, one after the other. */
typedef struct {
    int64_t count;
    const int64_t *classes, *amplitudes;
    const int64_t *shapes;  /* six each: log z, y, x; skew yz, xz, xy */
    const int64_t *lattice; /* three each: coordinates in the primitive's lattice */
    const int64_t *centres; /* three each: what these are, in 2^-16 voxel from the brick's centre */
} vgm_lattice_symbols;

/* Write a chunk, but for the end of its code. `steps`: log, skew, position of each class; `order`: which primitive each one of the
 * decoder's is. Returns -1, or which primitive cannot be (the code then ends with it). Where memory is refused, the encoder has failed. */
int64_t vgm_encode_lattice(vgm_encoder *e, const vgm_lattice_tables *tables, const int64_t brick[3], const int64_t margins[6],
                           const int64_t (*steps)[3], const vgm_lattice_symbols *symbols, int64_t *order);

/* Factors and lattice vectors (six each, in 2^-16 voxel) of shapes; -1, or the first that is out of range (and what follows is not set). */
int64_t vgm_lattice_geometry(const vgm_lattice_tables *tables, const int64_t (*steps)[3], int64_t count, const int64_t *classes,
                             const int64_t *shapes, int64_t *factors, int64_t *bases);

/* Canonical records of factors, centres and amplitudes; those that binary16 does not hold have infinite values. */
void vgm_lattice_canonical(int64_t count, const int64_t *factors, const int64_t *centres, const int64_t *amplitudes, double dc,
                           uint8_t *records);

#endif
