/* What reading a file costs (vgm-1.md, section 10): bounds FILE.vgm
 *
 * Opens it, decodes every chunk, and evaluates one voxel; prints the most bytes that were taken and processor seconds, for the records and for
 * the voxel; ends with 1 where memory goes past what counted.h allows for the file's size. A file that is rejected costs no more. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "counted.h"

static uint8_t *read_whole(const char *path, size_t *length)
{
    FILE *stream = fopen(path, "rb");
    uint8_t *data = NULL;
    long size = -1;
    if (stream == NULL)
        return NULL;
    if (fseek(stream, 0, SEEK_END) == 0 && (size = ftell(stream)) >= 0 && fseek(stream, 0, SEEK_SET) == 0)
        data = malloc((size_t)size + 1);
    if (data != NULL && fread(data, 1, (size_t)size, stream) != (size_t)size) {
        free(data);
        data = NULL;
    }
    fclose(stream);
    *length = (size_t)size;
    return data;
}

/* Decode every chunk; 1 where there is a chunk of points. */
static int decode_all(const vgm_file *file, const vgm_allocator *allocator)
{
    const vgm_info *info = vgm_get_info(file);
    int points = 0;
    for (uint64_t k = 0; k < info->chunks; k++) {
        vgm_chunk c;
        uint8_t *records;
        vgm_get_chunk(file, k, &c, NULL);
        points |= c.coding == 3;
        records = allocator->take(allocator->state, (size_t)c.count * VGM_RECORD_BYTES);
        if (records != NULL)
            vgm_read_records(file, k, records, NULL);
        allocator->give(allocator->state, records);
    }
    return points;
}

static double seconds(clock_t since)
{
    return (double)(clock() - since) / CLOCKS_PER_SEC;
}

int main(int argc, char **argv)
{
    counted count;
    vgm_allocator allocator = counted_allocator(&count);
    size_t length = 0;
    uint8_t *data = argc == 2 ? read_whole(argv[1], &length) : NULL, voxel[sizeof(float)];
    uint64_t fixed = COUNTED_FIXED, records, lo[3], hi[3];
    clock_t start = clock();
    vgm_file *file;
    vgm_error error;
    if (data == NULL) {
        fprintf(stderr, "usage: bounds FILE.vgm\n");
        return VGM_USAGE;
    }
    if (vgm_open_memory(data, length, &allocator, 0, &file, &error) == VGM_OK)
        fixed += decode_all(file, &allocator) ? COUNTED_NODES : 0;
    records = count.peak;
    printf("%llu %.6f", (unsigned long long)records, seconds(start));
    start = clock();
    count.peak = count.now;
    if (file != NULL) {
        for (int a = 0; a < 3; a++) {
            lo[a] = vgm_get_info(file)->shape[2 + a] / 2;
            hi[a] = lo[a] + 1;
        }
        vgm_read(file, 0, 0, 0, lo, hi, voxel, sizeof voxel, NULL);
        vgm_close(file);
    }
    printf(" %llu %.6f\n", (unsigned long long)count.peak, seconds(start));
    free(data);
    if (count.now > 0)
        fprintf(stderr, "%llu bytes were not given back\n", (unsigned long long)count.now);
    return count.now > 0 || records > COUNTED_RECORDS * length + fixed || count.peak > COUNTED_VOXELS * length + fixed;
}
