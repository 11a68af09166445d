/* Metadata (vgm-1.md, section 4). */
#include <math.h>
#include <string.h>

#include "file.h"

static const char *const UNITS[9] = {NULL, "\xc2\xb5m", "nm", "mm", "\xc3\x85", "pm", "cm", "m", "pixel"};
static const char *const TIME_UNITS[8] = {NULL, "s", "ms", "\xc2\xb5s", "ns", "min", "h", "d"};
static const char *const QUALITIES[9] = {NULL, "psnr", "psnr_fg", "ssim", "mip_ssim", "max_error", "bias", "rmse", "occupancy"};

/* Where strings are copied to; there is room for all that the metadata can hold. */
typedef struct {
    char *at;
} text_room;

static const char *keep_text(text_room *room, const uint8_t *data, size_t length, vgm_cursor *c)
{
    char *text = room->at;
    if (c->status != VGM_OK)
        return NULL;
    if (!vgm_is_text(data, length)) {
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: text is not UTF-8, or holds a NUL", c->where);
        return NULL;
    }
    memcpy(text, data, length);
    text[length] = 0;
    room->at += length + 1;
    return text;
}

static const char *take_text(text_room *room, vgm_cursor *c)
{
    uint64_t length = vgm_take_varint(c);
    const uint8_t *data = vgm_take_bytes(c, length);
    return keep_text(room, data, (size_t)length, c);
}

static const char *rest_text(text_room *room, vgm_cursor *c)
{
    size_t length = vgm_left(c);
    const uint8_t *data = vgm_take_bytes(c, length);
    return keep_text(room, data, length, c);
}

static void read_shared(vgm_file *f, vgm_cursor *c)
{
    uint64_t n = 0;
    while (vgm_left(c) > 0 && c->status == VGM_OK) {
        vgm_shared *s = f->shared + n;
        vgm_cursor value;
        s->coding = vgm_take_varint(c);
        value = vgm_take_counted(c);
        s->data = value.at;
        s->length = vgm_left(&value);
        if (c->status == VGM_OK && (s->coding > 255 || (n > 0 && s->coding <= s[-1].coding)))
            c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: coding %llu, expected ascending ones of at most 255", c->where,
                                 (unsigned long long)s->coding);
        n++;
    }
    f->info.shared = c->status == VGM_OK ? n : 0;
}

/* The unit of an id, which the rest of the field says where it is 15. */
static const char *take_unit(unsigned id, const char *const *known, unsigned last, text_room *room, vgm_cursor *c)
{
    if (id == 15)
        return rest_text(room, c);
    if (c->status == VGM_OK && id > last)
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: unit %u, expected 0 to %u or 15", c->where, id, last);
    return c->status == VGM_OK ? known[id] : NULL;
}

static void read_voxel_size(vgm_file *f, text_room *room, vgm_cursor *c)
{
    unsigned flags = vgm_take_u8(c), unit = flags >> 4;
    double *size = f->info.voxel_size;
    if (flags & 8 && (flags & 6) != 6)
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: x is said to be as y, but one is not known", c->where);
    for (int a = 0; a < 3; a++) {
        if (!(flags >> a & 1))
            continue;
        size[a] = a == 2 && flags & 8 ? size[1] : vgm_take_decimal(c);
        if (c->status == VGM_OK && !(size[a] > 0.0 && isfinite(size[a])))
            c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: a voxel size is not positive and finite", c->where);
    }
    f->info.unit = take_unit(unit, UNITS, 8, room, c);
}

static void read_time_interval(vgm_file *f, text_room *room, vgm_cursor *c)
{
    unsigned unit = vgm_take_u8(c);
    f->info.time_interval = vgm_take_decimal(c);
    if (c->status == VGM_OK && !(f->info.time_interval > 0.0 && isfinite(f->info.time_interval)))
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: the time interval is not positive and finite", c->where);
    f->info.time_unit = take_unit(unit, TIME_UNITS, 7, room, c);
}

static void read_channels(vgm_file *f, text_room *room, vgm_cursor *c)
{
    uint64_t n = 0;
    while (vgm_left(c) > 0 && c->status == VGM_OK && n < f->info.shape[1]) {
        vgm_channel *channel = f->channels + n++;
        unsigned flags = vgm_take_u8(c);
        channel->color = -1;
        if (flags > 3)
            c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: flags %u, expected at most 3", c->where, flags);
        if (flags & 1)
            channel->name = take_text(room, c);
        if (flags & 2) {
            const uint8_t *rgb = vgm_take_bytes(c, 3);
            if (rgb != NULL)
                channel->color = (int64_t)rgb[0] << 16 | rgb[1] << 8 | rgb[2];
        }
    }
    if (c->status == VGM_OK && (n != f->info.shape[1] || vgm_left(c) > 0))
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: expected %llu channels", c->where, (unsigned long long)f->info.shape[1]);
    f->info.channels = c->status == VGM_OK ? n : 0;
}

static void sift(const char **names, uint64_t at, uint64_t n)
{
    for (uint64_t child; (child = 2 * at + 1) < n; at = child) {
        const char *name = names[at];
        if (child + 1 < n && strcmp(names[child], names[child + 1]) < 0)
            child++;
        if (strcmp(name, names[child]) >= 0)
            return;
        names[at] = names[child];
        names[child] = name;
    }
}

/* Whether two of `n` names are the same; sorts them. */
static int any_twice(const char **names, uint64_t n)
{
    for (uint64_t k = n / 2; k-- > 0;)
        sift(names, k, n);
    for (uint64_t k = n; k-- > 1;) {
        const char *largest = names[0];
        names[0] = names[k];
        names[k] = largest;
        sift(names, 0, k);
    }
    for (uint64_t k = 1; k < n; k++)
        if (strcmp(names[k - 1], names[k]) == 0)
            return 1;
    return 0;
}

static void check_names(const vgm_file *f, uint64_t n, vgm_cursor *c)
{
    const char **names = vgm_take(&f->allocator, (size_t)n, sizeof *names, c->error);
    if (names == NULL) {
        c->status = VGM_MEMORY;
        return;
    }
    for (uint64_t k = 0; k < n; k++)
        names[k] = f->qualities[k].name;
    if (any_twice(names, n))
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: a quality is there twice", c->where);
    vgm_give(&f->allocator, names);
}

static void read_qualities(vgm_file *f, text_room *room, vgm_cursor *c)
{
    uint64_t n = 0;
    while (vgm_left(c) > 0 && c->status == VGM_OK) {
        vgm_quality *q = f->qualities + n;
        unsigned id = vgm_take_u8(c);
        if (id > 8) {
            c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: quality %u, expected 0 to 8", c->where, id);
            break;
        }
        q->name = id == 0 ? take_text(room, c) : QUALITIES[id];
        for (int k = 1; k <= 8 && id == 0 && c->status == VGM_OK; k++)
            if (strcmp(q->name, QUALITIES[k]) == 0)
                c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: %s as text, expected its id", c->where, q->name);
        q->value = vgm_take_f32(c);
        if (c->status == VGM_OK && isnan(q->value))
            c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: %s is not a number", c->where, q->name);
        n++;
    }
    if (c->status == VGM_OK)
        check_names(f, n, c);
    f->info.qualities = c->status == VGM_OK ? n : 0;
}

static int is_base_name(const char *name)
{
    return name[0] != 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strchr(name, '/') == NULL;
}

static void read_noise(vgm_file *f, vgm_cursor *c)
{
    uint64_t images = f->info.shape[0] * f->info.shape[1];
    for (uint64_t k = 0; k < images && c->status == VGM_OK; k++) {
        vgm_noise *n = f->noise + k;
        const uint8_t *correlation;
        n->background = vgm_take_f32(c);
        n->sigma = vgm_take_decimal(c);
        n->gain = vgm_take_decimal(c);
        correlation = vgm_take_bytes(c, 3);
        if (correlation == NULL)
            return;
        if (!isfinite(n->background) || !(n->sigma > 0.0 && isfinite(n->sigma)) || !(n->gain >= 0.0 && isfinite(n->gain)))
            c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: noise that cannot be", c->where);
        for (int a = 0; a < 3; a++) {
            n->correlation[a] = correlation[a] - (correlation[a] >= 128 ? 256 : 0);
            if (n->correlation[a] < -50 || n->correlation[a] > 67)
                c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: correlation %d, expected -50 to 67 hundredths", c->where,
                                     n->correlation[a]);
        }
    }
    f->info.has_noise = c->status == VGM_OK;
}

static void read_grid_levels(vgm_file *f, vgm_cursor *c)
{
    size_t grids = (size_t)vgm_left(c);
    const uint8_t *levels = vgm_take_bytes(c, grids);
    if (grids < 1 || grids > VGM_MAX_GRID) {
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: levels of %llu grids, expected 1 to %d", c->where, (unsigned long long)grids,
                             VGM_MAX_GRID);
        return;
    }
    for (size_t n = 1; n <= VGM_MAX_GRID; n++)
        f->info.grid_levels[n] = levels[(n < grids ? n : grids) - 1];
    f->info.grids = (unsigned)grids;
}

static void read_overview(vgm_file *f, vgm_cursor *c)
{
    unsigned grid = vgm_take_u8(c);
    if (c->status != VGM_OK)
        return;
    if (f->within)
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: an overview that has an overview itself", c->where);
    else if (grid < 1 || grid > VGM_MAX_GRID)
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: overview of grid %u, expected 1 to %d", c->where, grid, VGM_MAX_GRID);
    f->info.overview_grid = grid;
    f->info.overview_length = vgm_left(c);
    f->overview_data = c->at;
    c->at = c->end;
}

static void read_tag(vgm_file *f, uint64_t tag, text_room *room, vgm_cursor *c)
{
    switch (tag) {
    case 1:
        read_shared(f, c);
        break;
    case 2:
        read_voxel_size(f, room, c);
        break;
    case 4:
        read_channels(f, room, c);
        break;
    case 6:
        f->info.source_name = rest_text(room, c);
        if (f->info.source_name != NULL && !is_base_name(f->info.source_name))
            c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: the source name is not one of a file", c->where);
        break;
    case 8:
        f->info.software = rest_text(room, c);
        break;
    case 10:
        f->info.settings = rest_text(room, c);
        break;
    case 12:
        read_qualities(f, room, c);
        break;
    case 14:
        read_noise(f, c);
        break;
    case 16:
        read_time_interval(f, room, c);
        break;
    case 18:
        read_grid_levels(f, c);
        break;
    case 20:
        read_overview(f, c);
        break;
    default:
        if (tag & 1)
            c->status = vgm_fail(c->error, VGM_UNSUPPORTED, "metadata: must-understand tag %llu is not known to this release",
                                 (unsigned long long)tag);
        c->at = c->end;
    }
    if (c->status == VGM_OK && vgm_left(c) > 0)
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: %llu bytes too many", c->where, (unsigned long long)vgm_left(c));
}

static vgm_status read_sizes(vgm_file *f, vgm_cursor *c)
{
    unsigned type = vgm_take_u8(c), axes = vgm_take_u8(c);
    uint64_t *shape = f->info.shape, voxels = 1;
    if (c->status != VGM_OK)
        return c->status;
    if (type < 1 || type > 4)
        return vgm_fail(c->error, VGM_UNSUPPORTED, "metadata: data type %u is not known to this release", type);
    if (axes > 3)
        return vgm_fail(c->error, VGM_DAMAGED, "metadata: axis flags %u, expected at most 3", axes);
    f->info.type = (vgm_type)type;
    f->info.has_t = axes & 1;
    f->info.has_c = axes > 1;
    for (int a = 0; a < 5; a++) {
        shape[a] = (a == 0 && !f->info.has_t) || (a == 1 && !f->info.has_c) ? 1 : vgm_take_varint(c);
        if (c->status != VGM_OK)
            return c->status;
        if (shape[a] < 1 || shape[a] > 0x7fffffff || shape[a] > ((uint64_t)1 << 60) / voxels)
            return vgm_fail(c->error, VGM_DAMAGED, "metadata: every axis is 1 to 2^31 - 1, at most 2^60 voxels");
        voxels *= shape[a];
    }
    f->info.cutoff = vgm_take_decimal(c);
    if (c->status == VGM_OK && !(f->info.cutoff >= 1.0 && f->info.cutoff <= 50.0))
        return vgm_fail(c->error, VGM_DAMAGED, "metadata: cutoff %g, expected 1 to 50", f->info.cutoff);
    return c->status;
}

vgm_status vgm_read_metadata(vgm_file *f, const uint8_t *data, size_t length, vgm_error *error)
{
    vgm_cursor c = vgm_cursor_of(data, length, "metadata", error);
    text_room room;
    uint64_t last = 0, images;
    int first = 1;
    vgm_status status = read_sizes(f, &c);
    if (status != VGM_OK)
        return status;
    memset(f->info.grid_levels, 0xff, sizeof f->info.grid_levels);
    images = f->info.shape[0] * f->info.shape[1];
    if (images > vgm_left(&c) / 8)
        return vgm_fail(error, VGM_DAMAGED, "metadata: %llu images in %llu bytes", (unsigned long long)images,
                        (unsigned long long)vgm_left(&c));
    f->images = vgm_take(&f->allocator, (size_t)images, 2 * sizeof(float), error);
    /* an entry takes at least two bytes in each of these, a text at least one, and its end */
    f->noise = vgm_take(&f->allocator, (size_t)images, sizeof *f->noise, error);
    f->channels = vgm_take(&f->allocator, (size_t)f->info.shape[1], sizeof *f->channels, error);
    f->shared = vgm_take(&f->allocator, length / 2 + 1, sizeof *f->shared, error);
    f->qualities = vgm_take(&f->allocator, length / 5 + 1, sizeof *f->qualities, error);
    f->text = room.at = vgm_take(&f->allocator, 2 * length + 8, 1, error);
    if (f->images == NULL || f->noise == NULL || f->channels == NULL || f->shared == NULL || f->qualities == NULL || f->text == NULL)
        return VGM_MEMORY;
    for (uint64_t k = 0; k < 2 * images; k++) {
        f->images[k] = vgm_take_f32(&c);
        if (!isfinite(f->images[k]))
            return vgm_fail(error, VGM_DAMAGED, "metadata: base or gain of an image is not finite");
    }
    while (vgm_left(&c) > 0) {
        char where[32] = "metadata tag";
        uint64_t tag = vgm_take_varint(&c);
        vgm_cursor value = vgm_take_counted(&c);
        if (c.status != VGM_OK)
            return c.status;
        if (!first && tag <= last)
            return vgm_fail(error, VGM_DAMAGED, "metadata: tag %llu after tag %llu, expected ascending tags", (unsigned long long)tag,
                            (unsigned long long)last);
        first = 0;
        last = tag;
        value.where = where;
        read_tag(f, tag, &room, &value);
        if (value.status != VGM_OK)
            return value.status;
    }
    return VGM_OK;
}
