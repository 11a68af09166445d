/* A box of voxels of a file: select chunks, decode them, evaluate tiles (vgm-1.md, 5.2 and 8). */
#include <math.h>
#include <string.h>

#include "file.h"
#include "half.h"
#include "means.h"
#include "tiles.h"

static const uint64_t MAX_PAIRS = (uint64_t)1 << 24; /* of tiles and Gaussians in one pass, unless one group has more */
static const uint64_t MAX_GROUPS = (uint64_t)1 << 11;
static const int64_t GROUP[3] = {VGM_GROUP_Z, VGM_GROUP_Y, VGM_GROUP_X};

typedef struct {
    uint64_t chunk;
    int64_t group_lo[3], group_hi[3]; /* where it may be */
    uint64_t first;                 /* of its primitives in the arrays of the region */
} part;

typedef struct {
    int64_t lo[3], hi[3];
} group_box;

enum { DEPTH = 256 }; /* of boxes yet to do: each is at most half of the one that it was cut from */

struct vgm_region {
    const vgm_file *file;
    vgm_grid grid;
    double base, gain;
    int64_t lo[3], hi[3];
    part *parts;
    uint64_t count, primitives;
    double *means;
    float *scales, *rotations, *intensities;
    group_box todo[DEPTH];
    int depth;
    /* of the pass that is being rendered */
    vgm_gaussian *gaussians;
    vgm_pair *pairs;
    uint64_t *offsets;
    uint32_t *ids;
    vgm_block block;
    /* of a grid coarser than that of an overview: means of its voxels in a box */
    vgm_region *fine;
    int64_t step;
    void *voxels;
};

vgm_status vgm_get_grid(const vgm_file *f, unsigned level, uint64_t shape[3], vgm_error *error)
{
    if (level > VGM_MAX_GRID)
        return vgm_fail(error, VGM_USAGE, "level %u: expected 0 to %d", level, VGM_MAX_GRID);
    for (int a = 0; a < 3; a++)
        shape[a] = (f->info.shape[2 + a] + ((uint64_t)1 << level) - 1) >> level;
    return vgm_ok(error);
}

/* Half-open box of the grid's voxels outside of which a chunk is zero (section 8.4). */
static void reach_of(const vgm_file *f, const vgm_chunk *k, unsigned level, const vgm_grid *grid, int64_t lo[3], int64_t hi[3])
{
    double p = sqrt(grid->cutoff * grid->widening), margin = 1e-6;
    uint64_t shape[3];
    vgm_get_grid(f, level, shape, NULL);
    for (int a = 0; a < 3; a++) {
        double low = ((double)k->support_lo[a] - 1.0 - p - margin - grid->origin) / grid->step;
        double high = ((double)k->support_hi[a] + p + margin - grid->origin) / grid->step, size = (double)shape[a];
        if (level == 0) {
            lo[a] = (int64_t)k->support_lo[a];
            hi[a] = (int64_t)k->support_hi[a];
            continue;
        }
        low = k->support_lo[a] == 0 ? 0.0 : floor(low) + 1.0;
        high = k->support_hi[a] == f->info.shape[2 + a] ? size : ceil(high);
        lo[a] = (int64_t)(low < 0.0 ? 0.0 : low > size ? size : low);
        hi[a] = (int64_t)(high < 0.0 ? 0.0 : high > size ? size : high);
    }
}

static vgm_status select_chunks(vgm_region *r, uint64_t t, uint64_t c, unsigned level, const group_box *box, vgm_error *error)
{
    const vgm_file *f = r->file;
    uint64_t many = 0;
    for (uint64_t i = 0; i < f->info.chunks; i++)
        many += f->chunks[i].t == t && f->chunks[i].c == c && f->chunks[i].level <= f->info.grid_levels[level];
    r->parts = vgm_take(&f->allocator, (size_t)many, sizeof *r->parts, error);
    if (r->parts == NULL)
        return VGM_MEMORY;
    for (uint64_t i = 0; i < f->info.chunks; i++) {
        const vgm_chunk *k = f->chunks + i;
        part *p = r->parts + r->count;
        int64_t lo[3], hi[3];
        int meets = k->t == t && k->c == c && k->level <= f->info.grid_levels[level];
        if (!meets)
            continue;
        reach_of(f, k, level, &r->grid, lo, hi);
        for (int a = 0; a < 3; a++) {
            int64_t first = box->lo[a] * GROUP[a], stop = box->hi[a] * GROUP[a];
            meets = meets && (lo[a] > first ? lo[a] : first) < (hi[a] < stop ? hi[a] : stop);
            p->group_lo[a] = lo[a] / GROUP[a];
            p->group_hi[a] = (hi[a] - 1) / GROUP[a] + 1;
        }
        if (!meets)
            continue;
        p->chunk = i;
        p->first = r->primitives;
        r->primitives += k->count;
        r->count++;
    }
    if (r->primitives > UINT32_MAX)
        return vgm_fail(error, VGM_USAGE, "%llu primitives in one region: ask for a smaller one", (unsigned long long)r->primitives);
    r->means = vgm_take(&f->allocator, (size_t)r->primitives, 3 * sizeof(double), error);
    r->scales = vgm_take(&f->allocator, (size_t)r->primitives, 3 * sizeof(float), error);
    r->rotations = vgm_take(&f->allocator, (size_t)r->primitives, 4 * sizeof(float), error);
    r->intensities = vgm_take(&f->allocator, (size_t)r->primitives, sizeof(float), error);
    if (r->means == NULL || r->scales == NULL || r->rotations == NULL || r->intensities == NULL)
        return VGM_MEMORY;
    return VGM_OK;
}

/* Of a grid coarser than that of the overview: the region of the overview whose voxels it takes the means of. */
static vgm_status open_means(vgm_region *r, uint64_t t, uint64_t c, unsigned finer, vgm_error *error)
{
    const vgm_file *overview = r->file->overview;
    uint64_t lo[3], hi[3];
    r->step = (int64_t)1 << finer;
    for (int a = 0; a < 3; a++) {
        uint64_t size = overview->info.shape[2 + a];
        lo[a] = (uint64_t)r->lo[a] << finer;
        hi[a] = (uint64_t)r->hi[a] << finer < size ? (uint64_t)r->hi[a] << finer : size;
    }
    return vgm_open_region(overview, t, c, 0, lo, hi, &r->fine, error);
}

vgm_status vgm_open_region(const vgm_file *f, uint64_t t, uint64_t c, unsigned level, const uint64_t lo[3], const uint64_t hi[3],
                           vgm_region **region, vgm_error *error)
{
    vgm_region *r;
    uint64_t shape[3];
    float base, gain;
    group_box box;
    vgm_status status = vgm_get_grid(f, level, shape, error);
    *region = NULL;
    if (status == VGM_OK)
        status = vgm_get_image(f, t, c, &base, &gain, error);
    if (status != VGM_OK)
        return status;
    for (int a = 0; a < 3; a++) {
        if (lo[a] >= hi[a] || hi[a] > shape[a])
            return vgm_fail(error, VGM_USAGE, "box %llu to %llu on axis %d of a grid of %llu voxels", (unsigned long long)lo[a],
                            (unsigned long long)hi[a], a, (unsigned long long)shape[a]);
        box.lo[a] = (int64_t)lo[a] / GROUP[a];
        box.hi[a] = ((int64_t)hi[a] - 1) / GROUP[a] + 1;
    }
    if ((hi[0] - lo[0]) * (hi[1] - lo[1]) > ((uint64_t)1 << 60) / (hi[2] - lo[2]))
        return vgm_fail(error, VGM_USAGE, "a box of more than 2^60 voxels");
    if (f->overview != NULL && level == f->info.overview_grid)
        return vgm_open_region(f->overview, t, c, 0, lo, hi, region, error);
    r = vgm_take(&f->allocator, 1, sizeof *r, error);
    if (r == NULL)
        return VGM_MEMORY;
    r->file = f;
    r->base = (double)base;
    r->gain = (double)gain;
    r->grid.cutoff = f->info.cutoff;
    r->grid.step = (double)((uint64_t)1 << level);
    r->grid.origin = (r->grid.step - 1.0) / 2.0;
    r->grid.widening = (r->grid.step * r->grid.step - 1.0) / 12.0;
    for (int a = 0; a < 3; a++) {
        r->lo[a] = (int64_t)lo[a];
        r->hi[a] = (int64_t)hi[a];
    }
    if (f->overview != NULL && level > f->info.overview_grid)
        status = open_means(r, t, c, level - f->info.overview_grid, error);
    else
        status = select_chunks(r, t, c, level, &box, error);
    if (status != VGM_OK) {
        vgm_close_region(r);
        return status;
    }
    r->todo[0] = box;
    r->depth = 1;
    *region = r;
    return vgm_ok(error);
}

static void end_pass(vgm_region *r)
{
    const vgm_allocator *a = &r->file->allocator;
    vgm_give(a, r->ids);
    vgm_give(a, r->offsets);
    vgm_give(a, r->pairs);
    vgm_give(a, r->gaussians);
    r->ids = NULL;
    r->offsets = NULL;
    r->pairs = NULL;
    r->gaussians = NULL;
}

void vgm_close_region(vgm_region *r)
{
    vgm_allocator a;
    if (r == NULL)
        return;
    a = r->file->allocator;
    end_pass(r);
    vgm_close_region(r->fine);
    vgm_give(&a, r->voxels);
    vgm_give(&a, r->intensities);
    vgm_give(&a, r->rotations);
    vgm_give(&a, r->scales);
    vgm_give(&a, r->means);
    vgm_give(&a, r->parts);
    vgm_give(&a, r);
}

uint64_t vgm_region_chunks(const vgm_region *r)
{
    return r->fine != NULL ? r->fine->count : r->count;
}

uint64_t vgm_region_bytes(const vgm_region *r)
{
    static const uint64_t sizes[] = {0, 1, 2, 4, 2};
    return (uint64_t)(r->hi[0] - r->lo[0]) * (uint64_t)(r->hi[1] - r->lo[1]) * (uint64_t)(r->hi[2] - r->lo[2]) *
           sizes[r->file->info.type];
}

static double half_at(const uint8_t *record, int field)
{
    return (double)vgm_half_to_float((uint16_t)(record[2 * field] | record[2 * field + 1] << 8));
}

vgm_status vgm_region_decode(vgm_region *r, uint64_t number, vgm_error *error)
{
    const vgm_file *f = r->file;
    const vgm_chunk *k;
    uint8_t *records;
    vgm_status status;
    if (r->fine != NULL)
        return vgm_region_decode(r->fine, number, error);
    if (number >= r->count)
        return vgm_fail(error, VGM_USAGE, "chunk %llu: the region has %llu chunks", (unsigned long long)number,
                        (unsigned long long)r->count);
    k = f->chunks + r->parts[number].chunk;
    records = vgm_take(&f->allocator, (size_t)k->count, VGM_RECORD_BYTES, error);
    if (records == NULL)
        return VGM_MEMORY;
    status = vgm_read_records(f, r->parts[number].chunk, records, error);
    for (uint64_t i = 0; status == VGM_OK && i < k->count; i++) {
        const uint8_t *record = records + VGM_RECORD_BYTES * i;
        uint64_t at = r->parts[number].first + i;
        for (int a = 0; a < 3; a++) {
            double centre = (double)(2 * k->brick_lo[a] + k->brick_shape[a] - 1) / 2.0;
            r->means[3 * at + (uint64_t)a] = half_at(record, a) + centre;
            r->scales[3 * at + (uint64_t)a] = (float)half_at(record, 3 + a);
        }
        for (int a = 0; a < 4; a++)
            r->rotations[4 * at + (uint64_t)a] = (float)half_at(record, 6 + a);
        r->intensities[at] = (float)half_at(record, 10);
    }
    vgm_give(&f->allocator, records);
    return status;
}

static uint64_t groups_in(const group_box *b)
{
    uint64_t yx = (uint64_t)(b->hi[1] - b->lo[1]) * (uint64_t)(b->hi[2] - b->lo[2]);
    return (uint64_t)(b->hi[0] - b->lo[0]) > UINT64_MAX / yx ? UINT64_MAX : (uint64_t)(b->hi[0] - b->lo[0]) * yx;
}

/* Cut a box in two along its first axis of more than one group, the second half to be done later. */
static void cut(vgm_region *r, group_box *b)
{
    int axis = b->hi[0] - b->lo[0] > 1 ? 0 : b->hi[1] - b->lo[1] > 1 ? 1 : 2;
    group_box rest = *b;
    b->hi[axis] = rest.lo[axis] = b->lo[axis] + (b->hi[axis] - b->lo[axis]) / 2;
    r->todo[r->depth++] = rest;
}

/* Gaussians for the groups of a box; returns how many pairs there can be. */
static uint64_t gather(vgm_region *r, const group_box *b)
{
    uint64_t pairs = 0;
    int64_t last[3] = {r->hi[0] - 1, r->hi[1] - 1, r->hi[2] - 1};
    for (uint64_t n = 0; n < r->count; n++) {
        const part *p = r->parts + n;
        uint64_t at = p->first;
        vgm_primitives primitives = {r->means + 3 * at, r->scales + 3 * at, r->rotations + 4 * at, r->intensities + at, 0};
        int64_t lo[3], hi[3];
        primitives.count = (size_t)r->file->chunks[p->chunk].count;
        for (int a = 0; a < 3; a++) {
            lo[a] = p->group_lo[a] > b->lo[a] ? p->group_lo[a] : b->lo[a];
            hi[a] = p->group_hi[a] < b->hi[a] ? p->group_hi[a] : b->hi[a];
        }
        pairs += vgm_gather(&primitives, &r->grid, lo, hi, r->lo, last, r->gaussians + at);
    }
    return pairs;
}

static vgm_status sort_pairs(vgm_region *r, uint64_t room, const group_box *b, vgm_error *error)
{
    const vgm_allocator *a = &r->file->allocator;
    int64_t size[3];
    uint64_t pairs, *cursor, tiles = (VGM_GROUP_TILES + 1) * groups_in(b);
    for (int k = 0; k < 3; k++)
        size[k] = b->hi[k] - b->lo[k];
    r->pairs = vgm_take(a, (size_t)room, sizeof *r->pairs, error);
    r->offsets = vgm_take(a, (size_t)tiles + 1, sizeof *r->offsets, error);
    cursor = vgm_take(a, (size_t)tiles, sizeof *cursor, error);
    if (r->pairs == NULL || r->offsets == NULL || cursor == NULL) {
        vgm_give(a, cursor);
        return VGM_MEMORY;
    }
    pairs = vgm_list_pairs(r->gaussians, 0, r->primitives, r->grid.cutoff, b->lo, size, r->pairs, r->offsets + 1);
    for (uint64_t k = 0; k < tiles; k++) {
        r->offsets[k + 1] += r->offsets[k];
        cursor[k] = r->offsets[k];
    }
    r->ids = vgm_take(a, (size_t)pairs, sizeof *r->ids, error);
    if (r->ids != NULL)
        vgm_sort_pairs(r->pairs, pairs, cursor, r->ids);
    vgm_give(a, cursor);
    vgm_give(a, r->pairs);
    r->pairs = NULL;
    return r->ids != NULL ? VGM_OK : VGM_MEMORY;
}

/* All voxels that means are taken of; the tiles are planes of means. */
static vgm_status evaluate_fine(vgm_region *r, uint64_t *tiles, vgm_error *error)
{
    uint64_t some = 0;
    vgm_status status = VGM_OK;
    r->depth = 0;
    r->voxels = vgm_take(&r->file->allocator, (size_t)vgm_region_bytes(r->fine), 1, error);
    if (r->voxels == NULL)
        return VGM_MEMORY;
    while (status == VGM_OK && (status = vgm_region_next(r->fine, &some, error)) == VGM_OK && some > 0)
        status = vgm_region_render(r->fine, 0, some, r->voxels, error);
    *tiles = status == VGM_OK ? (uint64_t)(r->hi[0] - r->lo[0]) : 0;
    return status;
}

vgm_status vgm_region_next(vgm_region *r, uint64_t *tiles, vgm_error *error)
{
    group_box b;
    uint64_t pairs;
    vgm_status status;
    end_pass(r);
    *tiles = 0;
    if (r->depth == 0)
        return vgm_ok(error);
    if (r->fine != NULL)
        return evaluate_fine(r, tiles, error);
    b = r->todo[--r->depth];
    r->gaussians = vgm_take(&r->file->allocator, (size_t)r->primitives, sizeof *r->gaussians, error);
    if (r->gaussians == NULL)
        return VGM_MEMORY;
    while (groups_in(&b) > MAX_GROUPS)
        cut(r, &b);
    while ((pairs = gather(r, &b)) > MAX_PAIRS && groups_in(&b) > 1)
        cut(r, &b);
    status = sort_pairs(r, pairs, &b, error);
    if (status != VGM_OK)
        return status;
    r->block.offsets = r->offsets;
    r->block.ids = r->ids;
    r->block.gaussians = r->gaussians;
    r->block.cutoff = r->grid.cutoff;
    r->block.base = r->base;
    r->block.gain = r->gain;
    r->block.type = r->file->info.type;
    for (int a = 0; a < 3; a++) {
        int64_t first = b.lo[a] * GROUP[a], stop = b.hi[a] * GROUP[a];
        r->block.group_lo[a] = b.lo[a];
        r->block.groups[a] = b.hi[a] - b.lo[a];
        r->block.step[a] = 1;
        r->block.lo[a] = first > r->lo[a] ? first : r->lo[a];
        r->block.count[a] = (stop < r->hi[a] ? stop : r->hi[a]) - r->block.lo[a];
    }
    r->block.pitch[1] = r->hi[2] - r->lo[2];
    r->block.pitch[0] = r->block.pitch[1] * (r->hi[1] - r->lo[1]);
    r->block.pitch[2] = (r->block.lo[0] - r->lo[0]) * r->block.pitch[0] + (r->block.lo[1] - r->lo[1]) * r->block.pitch[1] +
                        r->block.lo[2] - r->lo[2];
    *tiles = groups_in(&b);
    return vgm_ok(error);
}

vgm_status vgm_region_render(const vgm_region *r, uint64_t first, uint64_t last, void *out, vgm_error *error)
{
    vgm_block block = r->block;
    const vgm_allocator *a = &r->file->allocator;
    vgm_tile_room *room;
    if (r->fine != NULL && r->voxels != NULL && first <= last && last <= (uint64_t)(r->hi[0] - r->lo[0])) {
        int64_t size[3];
        for (int k = 0; k < 3; k++)
            size[k] = r->fine->hi[k] - r->fine->lo[k];
        vgm_means(r->file->info.type, r->voxels, size, r->step, first, last, out);
        return vgm_ok(error);
    }
    if (r->offsets == NULL || first > last || last > (uint64_t)block.groups[0] * (uint64_t)block.groups[1] * (uint64_t)block.groups[2])
        return vgm_fail(error, VGM_USAGE, "tiles %llu to %llu: there are none of these now", (unsigned long long)first,
                        (unsigned long long)last);
    room = a->take(a->state, sizeof *room);
    if (room == NULL)
        return vgm_fail(error, VGM_MEMORY, "no memory for a tile");
    block.out = out;
    vgm_evaluate_tiles(&block, first, last, room);
    vgm_give(a, room);
    return vgm_ok(error);
}

vgm_status vgm_read(const vgm_file *f, uint64_t t, uint64_t c, unsigned level, const uint64_t lo[3], const uint64_t hi[3], void *out,
                    size_t bytes, vgm_error *error)
{
    vgm_region *r;
    uint64_t tiles = 0;
    vgm_status status = vgm_open_region(f, t, c, level, lo, hi, &r, error);
    if (status != VGM_OK)
        return status;
    if (bytes < vgm_region_bytes(r))
        status = vgm_fail(error, VGM_USAGE, "room for %llu bytes, the box has %llu", (unsigned long long)bytes,
                          (unsigned long long)vgm_region_bytes(r));
    for (uint64_t k = 0; k < vgm_region_chunks(r) && status == VGM_OK; k++)
        status = vgm_region_decode(r, k, error);
    while (status == VGM_OK && (status = vgm_region_next(r, &tiles, error)) == VGM_OK && tiles > 0)
        status = vgm_region_render(r, 0, tiles, out, error);
    vgm_close_region(r);
    return status;
}
