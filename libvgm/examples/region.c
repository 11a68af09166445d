/* Reads a box of the first image: region FILE.vgm z0 z1 y0 y1 x0 x1 > voxels.raw */
#include <stdio.h>
#include <stdlib.h>
#include <vgm.h>

static int read_file(void *file, uint64_t offset, size_t length, void *to)
{
    return fseek(file, (long)offset, SEEK_SET) != 0 || fread(to, 1, length, file) != length;
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {0, 1, 2, 4, 2};
    FILE *stream = argc == 8 ? fopen(argv[1], "rb") : NULL;
    vgm_source source = {read_file, stream, 0};
    vgm_file *file = NULL;
    vgm_error error = {VGM_USAGE, "usage: region FILE.vgm z0 z1 y0 y1 x0 x1"};
    if (stream != NULL && fseek(stream, 0, SEEK_END) == 0) {
        source.size = (uint64_t)ftell(stream);
        if (vgm_open(&source, NULL, 0, &file, &error) == VGM_OK) {
            uint64_t lo[3], hi[3];
            for (int a = 0; a < 3; a++)
                lo[a] = strtoull(argv[2 + 2 * a], NULL, 10), hi[a] = strtoull(argv[3 + 2 * a], NULL, 10);
            size_t bytes = (size_t)((hi[0] - lo[0]) * (hi[1] - lo[1]) * (hi[2] - lo[2])) * sizes[vgm_get_info(file)->type];
            void *voxels = malloc(bytes);
            if (voxels != NULL && vgm_read(file, 0, 0, 0, lo, hi, voxels, bytes, &error) == VGM_OK)
                fwrite(voxels, 1, bytes, stdout);
            free(voxels);
            vgm_close(file);
        }
        fclose(stream);
    }
    if (error.status != VGM_OK)
        fprintf(stderr, "%s\n", error.text);
    return error.status;
}
