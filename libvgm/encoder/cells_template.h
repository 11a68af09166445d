/* Passes of cells.h over rows, included once for each instruction set: the same operations, each rounded by itself, so that all find the same. */

/* Voxels [x, x + n) of a row. */
PART void NAME(read_row)(const vgm_stored *v, int64_t z, int64_t y, int64_t x, int64_t n, float *restrict out)
{
    const char *row = (const char *)v->at + z * v->pitch[0] + y * v->pitch[1] + x * v->bytes;
    if (v->bytes == 1) {
        const uint8_t *from = (const uint8_t *)row;
        for (int64_t k = 0; k < n; k++)
            out[k] = (float)from[k];
    } else if (v->bytes == 2) {
        const uint16_t *from = (const uint16_t *)row;
        for (int64_t k = 0; k < n; k++)
            out[k] = (float)from[k];
    } else
        memcpy(out, row, (size_t)n * sizeof *out);
}

TARGET static void NAME(normalise)(const vgm_stored *voxels, float base, float scale, float *restrict out)
{
    for (int64_t z = 0; z < voxels->shape[0]; z++)
        for (int64_t y = 0; y < voxels->shape[1]; y++, out += voxels->shape[2]) {
            if (y + ROWS_AHEAD < voxels->shape[1]) {
                const char *ahead = (const char *)voxels->at + z * voxels->pitch[0] + (y + ROWS_AHEAD) * voxels->pitch[1];
                for (int64_t k = 0; k < voxels->shape[2] * voxels->bytes; k += 64)
                    __builtin_prefetch(ahead + k);
            }
            NAME(read_row)(voxels, z, y, 0, voxels->shape[2], out);
            for (int64_t x = 0; x < voxels->shape[2]; x++)
                out[x] = (out[x] - base) * scale;
        }
}

/* A row of means over pairs: of the given rows (four, or two, or one twice) first along z, then along y, then along x; `n` values there are, and
 * where one has no partner half of it counts. NULL is a row that is not there. */
TARGET static void NAME(halved_row)(const float *const rows[2][2], const int halved[3], int64_t n, float *restrict room, float *restrict out)
{
    for (int dy = 0; dy <= halved[1]; dy++) {
        const float *a = rows[dy][0], *b = rows[dy][1];
        float *restrict to = room + dy * n;
        if (a == NULL) /* beyond the last row */
            for (int64_t x = 0; x < n; x++)
                to[x] = 0.0f;
        else if (!halved[0])
            memcpy(to, a, (size_t)n * sizeof *to);
        else if (b == NULL)
            for (int64_t x = 0; x < n; x++)
                to[x] = a[x] * 0.5f;
        else
            for (int64_t x = 0; x < n; x++)
                to[x] = (a[x] + b[x]) * 0.5f;
    }
    if (halved[1])
        for (int64_t x = 0; x < n; x++)
            room[x] = (room[x] + room[n + x]) * 0.5f;
    if (!halved[2]) {
        memcpy(out, room, (size_t)n * sizeof *out);
        return;
    }
    for (int64_t x = 0; x < n / 2; x++)
        out[x] = (room[2 * x] + room[2 * x + 1]) * 0.5f;
    if (n % 2)
        out[n / 2] = room[n - 1] * 0.5f;
}
