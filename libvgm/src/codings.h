/* The chunk codings: from a payload to its records (vgm-1.md, 6 and 7). */
#ifndef VGM_CODINGS_H
#define VGM_CODINGS_H

#include "memory.h"

enum { VGM_CODING_RAW, VGM_CODING_PLANES, VGM_CODING_LATTICE, VGM_CODING_POINTS };

/* What is the same for every lattice chunk of every file and takes milliseconds to make: tables of vgm-1-lattice.md. */
typedef struct vgm_lattice_tables vgm_lattice_tables;
vgm_lattice_tables *vgm_new_lattice_tables(const vgm_allocator *allocator, vgm_error *error);

typedef struct {
    unsigned coding;
    const uint8_t *payload, *shared;
    size_t length, shared_length;
    uint64_t count;
    uint64_t brick_shape[3];
    const vgm_lattice_tables *tables; /* of a lattice chunk */
    const char *where;              /* for error texts */
} vgm_payload;

/* Decode and check `count` records. */
vgm_status vgm_decode_payload(const vgm_payload *payload, uint8_t *records, const vgm_allocator *allocator, vgm_error *error);

vgm_status vgm_decode_lattice(const vgm_payload *payload, uint8_t *records, const vgm_allocator *allocator, vgm_error *error);
vgm_status vgm_decode_points(const vgm_payload *payload, uint8_t *records, const vgm_allocator *allocator, vgm_error *error);

/* Whether records are what section 7 allows. */
vgm_status vgm_check_records(const uint8_t *records, uint64_t count, const char *where, vgm_error *error);

#endif
