/* libvgm: reads .vgm files (spec/vgm-1.md), version 1 of the format.
 *
 * Order of axes and coordinates is z, y, x. Sizes are bytes or voxels, as named; all sizes are 64-bit. A box is half open. Nothing is
 * global: a handle may be used by one thread at a time but where "thread-safe" is said, different handles by any. Every function that
 * can fail returns a vgm_status and, if `error` is not NULL, leaves the same status and one line of text in it; what it should have
 * given is then NULL or not touched. Memory is taken from the allocator that the file was opened with, never in proportion to a number
 * in a file that was not checked first, and given back by the vgm_close... function of the handle. */
#ifndef VGM_H
#define VGM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(VGM_SHARED) && defined(_WIN32)
#define VGM_API __declspec(dllexport)
#elif defined(__GNUC__)
#define VGM_API __attribute__((visibility("default")))
#else
#define VGM_API
#endif

#define VGM_VERSION "0.1.0"

typedef enum {
    VGM_OK = 0,
    VGM_DAMAGED,     /* not a valid file: section 10 of the specification */
    VGM_CHECKSUM,    /* a checksum differs */
    VGM_UNSUPPORTED, /* a version, flag, tag, type or coding that this library does not know */
    VGM_USAGE,       /* an argument that makes no sense */
    VGM_READ,        /* the read callback failed */
    VGM_MEMORY       /* the allocator gave NULL */
} vgm_status;

typedef struct {
    vgm_status status;
    char text[232]; /* UTF-8, one line, ends with 0 */
} vgm_error;

/* Takes memory as malloc does (aligned for any type, NULL where there is none) and gives it back as free does. Called from every thread
 * that calls the library. */
typedef struct {
    void *(*take)(void *state, size_t bytes);
    void (*give)(void *state, void *block);
    void *state;
} vgm_allocator;

/* Where the bytes are: `read` writes bytes [offset, offset + length) of `size` to `to` and returns 0, or anything else if it cannot.
 * Called from every thread that calls the library. */
typedef struct {
    int (*read)(void *state, uint64_t offset, size_t length, void *to);
    void *state;
    uint64_t size;
} vgm_source;

enum { VGM_PREFIX = 1, VGM_RECORD_BYTES = 22, VGM_MAX_GRID = 31, VGM_MAX_OVERVIEW = 1 << 21 /* voxels of one image of an overview */ };

typedef enum { VGM_UINT8 = 1, VGM_UINT16 = 2, VGM_FLOAT32 = 3, VGM_INT16 = 4 } vgm_type;

typedef struct {
    vgm_type type;           /* of the voxels */
    uint64_t shape[5];       /* T, C, Z, Y, X */
    int has_t, has_c;        /* whether the source had these axes */
    int has_noise;           /* whether the file says what its noise was */
    unsigned grids;          /* coarser ones that the file says the levels of; where 0, they take all chunks */
    uint8_t grid_levels[VGM_MAX_GRID + 1]; /* the highest level of the chunks that each grid takes; 255 where it takes all */
    unsigned overview_grid;  /* the grid that an overview within the file holds, from which it and coarser ones are read; 0: none */
    uint64_t overview_length; /* bytes of it */
    double cutoff;           /* C of section 8 */
    double voxel_size[3];    /* 0 where it is not known */
    double time_interval;    /* from one time point to the next; 0 where it is not known */
    const char *unit;        /* UTF-8; NULL where it is not known; these strings live as long as the file is open */
    const char *time_unit;
    const char *source_name; /* comes from a stranger: never a path to write to */
    const char *software, *settings;
    uint64_t chunks;         /* those whose payload is there */
    uint64_t chunks_missing; /* more than 0 only in a prefix: then what is read is a preview */
    uint64_t qualities, shared, channels;
    uint64_t metadata_length, index_length, payload_length;
} vgm_info;

typedef struct {
    uint32_t t, c, level, coding, crc32;
    uint64_t brick_lo[3], brick_shape[3], support_lo[3], support_hi[3];
    uint64_t count;          /* primitives */
    uint64_t length, offset; /* bytes of the payload; where they start in the file */
} vgm_chunk;

/* What the original's noise was, in units of its voxels (section 4.6); correlations in hundredths. */
typedef struct {
    float background;
    double sigma, gain;
    int correlation[3];
} vgm_noise;

typedef struct vgm_file vgm_file;
typedef struct vgm_region vgm_region;

/* Open a file: reads and checks header, metadata and index. `allocator` NULL is malloc and free. `source` is copied. With VGM_PREFIX in
 * `flags` a file that ends early is taken (section 9). */
VGM_API vgm_status vgm_open(const vgm_source *source, const vgm_allocator *allocator, unsigned flags, vgm_file **file, vgm_error *error);
VGM_API void vgm_close(vgm_file *file);
/* Open `length` bytes of memory, which stay where they are and as they are until the file is closed. */
VGM_API vgm_status vgm_open_memory(const void *data, size_t length, const vgm_allocator *allocator, unsigned flags, vgm_file **file,
                                   vgm_error *error);

/* What a file says; thread-safe. Numbers count from 0; past the last one the answer is NULL, or VGM_USAGE. */
VGM_API const vgm_info *vgm_get_info(const vgm_file *file);
VGM_API const vgm_file *vgm_get_overview(const vgm_file *file); /* the file within, which lives as long as this one; NULL: there is none */
VGM_API vgm_status vgm_get_chunk(const vgm_file *file, uint64_t chunk, vgm_chunk *into, vgm_error *error);
VGM_API vgm_status vgm_get_image(const vgm_file *file, uint64_t t, uint64_t c, float *base, float *gain, vgm_error *error);
VGM_API vgm_status vgm_get_noise(const vgm_file *file, uint64_t t, uint64_t c, vgm_noise *into, vgm_error *error);
VGM_API const char *vgm_get_quality(const vgm_file *file, uint64_t number, float *value);                     /* its name */
VGM_API const uint8_t *vgm_get_shared(const vgm_file *file, uint64_t number, uint64_t *coding, size_t *length); /* parameters of a coding */
VGM_API int vgm_get_channel(const vgm_file *file, uint64_t number, const char **name, int64_t *color); /* 1, or 0; NULL, -1: not known */

/* Read, check and decode the records of one chunk (section 7): `count` x VGM_RECORD_BYTES bytes. Thread-safe. */
VGM_API vgm_status vgm_read_records(const vgm_file *file, uint64_t chunk, uint8_t *records, vgm_error *error);

/* Grid `level` (section 8.4) of the file: Z, Y, X. It takes the chunks whose level is at most info->grid_levels[level], or none, from
 * info->overview_grid on. */
VGM_API vgm_status vgm_get_grid(const vgm_file *file, unsigned level, uint64_t shape[3], vgm_error *error);

/* Read a box of voxels lo .. hi of a grid of one image into `out`, C order, in the type of the file; `bytes` is what there is room for.
 * Takes memory for some 2^24 pairs of tiles and primitives at most (or for one tile's), and for the chunks of the grid's levels that the
 * box meets. */
VGM_API vgm_status vgm_read(const vgm_file *file, uint64_t t, uint64_t c, unsigned level, const uint64_t lo[3], const uint64_t hi[3],
                            void *out, size_t bytes, vgm_error *error);

/* Put grain of a seed into voxels lo .. hi of grid 0 of one image, as vgm_read gave them: noise like the original's (section 8.6). VGM_USAGE where the
 * file does not say what that was. */
VGM_API vgm_status vgm_add_grain(const vgm_file *file, uint64_t t, uint64_t c, uint32_t seed, const uint64_t lo[3], const uint64_t hi[3],
                                 void *voxels, size_t bytes, vgm_error *error);

/* vgm_read in steps, for callers with threads of their own. In this order: open; decode every chunk 0 .. vgm_region_chunks - 1; then, as
 * long as vgm_region_next gives tiles, render each of the tiles 0 .. *tiles - 1, a range at a time. (Of a grid coarser than that of an
 * overview vgm_region_next does most of it: all its voxels that the box covers, of which the tiles are means.) vgm_region_decode and
 * vgm_region_render are thread-safe, each chunk and each tile being one thread's. The voxels do not depend on how the tiles are shared
 * out. `out` is as in vgm_read, and the same in every call. The file stays open as long as the region. */
VGM_API vgm_status vgm_open_region(const vgm_file *file, uint64_t t, uint64_t c, unsigned level, const uint64_t lo[3],
                                   const uint64_t hi[3], vgm_region **region, vgm_error *error);
VGM_API void vgm_close_region(vgm_region *region);
VGM_API uint64_t vgm_region_chunks(const vgm_region *region);
VGM_API uint64_t vgm_region_bytes(const vgm_region *region); /* of `out` */
VGM_API vgm_status vgm_region_decode(vgm_region *region, uint64_t chunk, vgm_error *error);
VGM_API vgm_status vgm_region_next(vgm_region *region, uint64_t *tiles, vgm_error *error); /* 0: all is done */
VGM_API vgm_status vgm_region_render(const vgm_region *region, uint64_t first, uint64_t last, void *out, vgm_error *error);

#ifdef __cplusplus
}
#endif
#endif
