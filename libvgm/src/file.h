/* An open file: what its header, metadata and index say (vgm-1.md, sections 2 to 5). */
#ifndef VGM_FILE_H
#define VGM_FILE_H

#include "codings.h"
#include "cursor.h"

enum { VGM_COLUMNS = 18 };

typedef struct {
    const char *name; /* NULL, as the color -1, where it is not known */
    int64_t color;
} vgm_channel;

typedef struct {
    const char *name;
    float value;
} vgm_quality;

typedef struct {
    uint64_t coding;
    const uint8_t *data;
    size_t length;
} vgm_shared;

struct vgm_file {
    vgm_source source;
    vgm_allocator allocator;
    vgm_info info;
    const uint8_t *memory; /* of a file in memory, else NULL */
    uint8_t *head;         /* metadata and index */
    char *text;            /* strings of the metadata, each ended with 0 */
    float *images;         /* base, gain */
    vgm_noise *noise; /* of each image, where the file says it */
    vgm_channel *channels;
    vgm_quality *qualities;
    vgm_shared *shared;
    vgm_chunk *chunks;
    const vgm_lattice_tables *tables; /* where there are lattice chunks */
    vgm_lattice_tables *own_tables;   /* the same, where the file made them */
    int within;                       /* whether this is the overview of another file */
    const uint8_t *overview_data;     /* in `head`; NULL where there is none */
    vgm_file *overview;
};

/* vgm_open_memory with tables made before (NULL: none), which outlive the file: making them takes longer than opening it. */
vgm_status vgm_open_with_tables(const void *data, size_t length, const vgm_lattice_tables *tables, const vgm_allocator *allocator,
                                unsigned flags, vgm_file **file, vgm_error *error);

vgm_status vgm_read_metadata(vgm_file *file, const uint8_t *data, size_t length, vgm_error *error);
vgm_status vgm_read_index(vgm_file *file, const uint8_t *data, size_t length, uint64_t payload_start, vgm_error *error);

#endif
