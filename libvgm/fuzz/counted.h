/* An allocator that counts, and what a file may cost (vgm-1.md, section 10). */
#ifndef VGM_COUNTED_H
#define VGM_COUNTED_H

#include <vgm.h>

/* Bytes of memory for each byte of a file: to open it and decode one chunk at a time, its records included; and to evaluate a box, which
 * takes the primitives of all chunks that it meets. Beside that: the tables of the lattice coding and the state of a zstd decoder; the nodes
 * of one points chunk; the pairs of one pass over tiles. */
enum { COUNTED_RECORDS = 400, COUNTED_VOXELS = 1700 };
static const uint64_t COUNTED_FIXED = (uint64_t)4 << 20, COUNTED_NODES = (uint64_t)56 << 20, COUNTED_PASS = (uint64_t)200 << 20;

typedef struct {
    uint64_t now, peak; /* bytes */
} counted;

vgm_allocator counted_allocator(counted *count);

#endif
