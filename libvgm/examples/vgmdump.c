/* Says what a file holds, checks all of it, and writes what it decodes to.
 *
 *     vgmdump FILE.vgm                     header, metadata and index as JSON
 *     vgmdump FILE.vgm records             the records of all chunks, in order
 *     vgmdump FILE.vgm voxels LEVEL        all images of a grid, each in the file's type
 *
 * Ends with the vgm_status of what went wrong. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vgm.h>

static void put_text(const char *text)
{
    if (text == NULL) {
        printf("null");
        return;
    }
    putchar('"');
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 32)
            printf("\\u%04x", *text);
        else
            putchar(*text);
    putchar('"');
}

static void put_three(const char *name, const uint64_t v[3])
{
    printf(", \"%s\": [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", name, v[0], v[1], v[2]);
}

static void put_number(double v)
{
    if (v - v != 0.0)
        printf(v > 0.0 ? "Infinity" : "-Infinity");
    else
        printf("%.17g", v);
}

static vgm_status put_json(const vgm_file *file, vgm_error *error)
{
    static const char *const types[] = {"", "uint8", "uint16", "float32", "int16"};
    const vgm_info *info = vgm_get_info(file);
    vgm_status status = VGM_OK;
    const char *name;
    const uint8_t *data;
    uint64_t coding;
    size_t length;
    int64_t color;
    float base, gain;
    printf("{\"shape\": [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", info->shape[0], info->shape[1],
           info->shape[2], info->shape[3], info->shape[4]);
    printf(", \"dtype\": \"%s\", \"axes\": \"%s%sZYX\", \"voxel_size\": [", types[info->type], info->has_t ? "T" : "",
           info->has_c ? "C" : "");
    for (int a = 0; a < 3; a++) {
        printf(a ? ", " : "");
        if (info->voxel_size[a] > 0.0)
            put_number(info->voxel_size[a]);
        else
            printf("null");
    }
    printf("], \"unit\": ");
    put_text(info->unit);
    if (info->time_interval > 0.0) {
        printf(", \"time\": [");
        put_number(info->time_interval);
        printf(", ");
        put_text(info->time_unit);
        printf("]");
    }
    if (info->grids > 0) {
        printf(", \"grid_levels\": [");
        for (unsigned n = 1; n <= info->grids; n++)
            printf("%s%u", n > 1 ? ", " : "", info->grid_levels[n]);
        printf("]");
    }
    if (info->overview_grid > 0)
        printf(", \"overview\": [%u, %" PRIu64 "]", info->overview_grid, info->overview_length);
    printf(", \"channels\": [");
    for (uint64_t k = 0; vgm_get_channel(file, k, &name, &color); k++) {
        printf(k ? ", [" : "[");
        put_text(name);
        if (color >= 0)
            printf(", %" PRId64 "]", color);
        else
            printf(", null]");
    }
    printf("], \"source_name\": ");
    put_text(info->source_name);
    printf(", \"cutoff\": ");
    put_number(info->cutoff);
    printf(", \"images\": [");
    for (uint64_t t = 0; t < info->shape[0]; t++)
        for (uint64_t c = 0; c < info->shape[1]; c++) {
            vgm_get_image(file, t, c, &base, &gain, NULL);
            printf("%s[%.9g, %.9g]", t + c ? ", " : "", (double)base, (double)gain);
        }
    printf("], \"shared\": {");
    for (uint64_t k = 0; (data = vgm_get_shared(file, k, &coding, &length)) != NULL; k++) {
        printf("%s\"%" PRIu64 "\": \"", k ? ", " : "", coding);
        for (size_t i = 0; i < length; i++)
            printf("%02x", data[i]);
        printf("\"");
    }
    printf("}, \"noise\": [");
    for (uint64_t t = 0; t < info->shape[0] && info->has_noise; t++)
        for (uint64_t c = 0; c < info->shape[1]; c++) {
            vgm_noise n;
            vgm_get_noise(file, t, c, &n, NULL);
            printf("%s{\"background\": %.9g, \"sigma\": %.17g, \"gain\": %.17g, \"correlation\": [%d, %d, %d]}", t + c ? ", " : "",
                   (double)n.background, n.sigma, n.gain, n.correlation[0], n.correlation[1], n.correlation[2]);
        }
    printf("], \"software\": ");
    put_text(info->software);
    printf(", \"settings\": ");
    put_text(info->settings);
    printf(", \"quality\": {");
    for (uint64_t k = 0; (name = vgm_get_quality(file, k, &base)) != NULL; k++) {
        printf(k ? ", " : "");
        put_text(name);
        printf(": ");
        put_number((double)base);
    }
    printf("}, \"chunks\": [");
    for (uint64_t k = 0; k < info->chunks && status == VGM_OK; k++) {
        vgm_chunk c;
        status = vgm_get_chunk(file, k, &c, error);
        printf("%s{\"t\": %" PRIu32 ", \"c\": %" PRIu32 ", \"level\": %" PRIu32 ", \"coding\": %" PRIu32, k ? ", " : "", c.t, c.c,
               c.level, c.coding);
        put_three("brick_lo", c.brick_lo);
        put_three("brick_shape", c.brick_shape);
        printf(", \"count\": %" PRIu64, c.count);
        put_three("support_lo", c.support_lo);
        put_three("support_hi", c.support_hi);
        printf(", \"length\": %" PRIu64 ", \"crc32\": %" PRIu32 "}", c.length, c.crc32);
    }
    printf("]}\n");
    return status;
}

static vgm_status put_records(const vgm_file *file, vgm_error *error)
{
    vgm_status status = VGM_OK;
    vgm_chunk c;
    for (uint64_t k = 0; k < vgm_get_info(file)->chunks && status == VGM_OK; k++) {
        uint8_t *records;
        status = vgm_get_chunk(file, k, &c, error);
        records = malloc((size_t)c.count * VGM_RECORD_BYTES);
        if (records == NULL)
            return VGM_MEMORY;
        status = vgm_read_records(file, k, records, error);
        if (status == VGM_OK)
            fwrite(records, VGM_RECORD_BYTES, (size_t)c.count, stdout);
        free(records);
    }
    return status;
}

static vgm_status put_voxels(const vgm_file *file, unsigned level, const char *seed, vgm_error *error)
{
    static const size_t sizes[] = {0, 1, 2, 4, 2};
    const vgm_info *info = vgm_get_info(file);
    uint64_t lo[3] = {0, 0, 0}, hi[3];
    size_t bytes;
    void *voxels;
    vgm_status status = vgm_get_grid(file, level, hi, error);
    if (status != VGM_OK)
        return status;
    bytes = (size_t)(hi[0] * hi[1] * hi[2]) * sizes[info->type];
    voxels = malloc(bytes);
    if (voxels == NULL)
        return VGM_MEMORY;
    for (uint64_t t = 0; t < info->shape[0]; t++)
        for (uint64_t c = 0; c < info->shape[1] && status == VGM_OK; c++) {
            status = vgm_read(file, t, c, level, lo, hi, voxels, bytes, error);
            if (status == VGM_OK && seed != NULL)
                status = vgm_add_grain(file, t, c, (uint32_t)strtoul(seed, NULL, 10), lo, hi, voxels, bytes, error);
            if (status == VGM_OK)
                fwrite(voxels, 1, bytes, stdout);
        }
    free(voxels);
    return status;
}

/* All bytes of a file, in memory. */
static void *all_of(const char *path, size_t *length)
{
    FILE *stream = fopen(path, "rb");
    char *data = NULL, *more;
    size_t room = 0, got;
    *length = 0;
    if (stream == NULL)
        return NULL;
    do {
        if (*length == room && (more = realloc(data, room = 2 * room + 65536)) != NULL)
            data = more;
        else if (*length == room)
            break;
        got = fread(data + *length, 1, room - *length, stream);
        *length += got;
    } while (got > 0);
    fclose(stream);
    return data;
}

int main(int argc, char **argv)
{
    vgm_error error = {VGM_OK, ""};
    vgm_file *file = NULL;
    size_t length;
    void *data = argc > 1 ? all_of(argv[1], &length) : NULL;
    vgm_status status;
    if (data == NULL) {
        fprintf(stderr, "usage: vgmdump FILE.vgm [records | voxels LEVEL | grain SEED]\n");
        return VGM_USAGE;
    }
    status = vgm_open_memory(data, length, NULL, 0, &file, &error);
    if (status == VGM_OK && argc == 2)
        status = put_json(file, &error);
    else if (status == VGM_OK && strcmp(argv[2], "records") == 0)
        status = put_records(file, &error);
    else if (status == VGM_OK && strcmp(argv[2], "grain") == 0)
        status = put_voxels(file, 0, argc > 3 ? argv[3] : "0", &error);
    else if (status == VGM_OK)
        status = put_voxels(file, argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0, NULL, &error);
    if (status != VGM_OK)
        fprintf(stderr, "%s\n", error.text);
    vgm_close(file);
    free(data);
    return (int)status;
}
