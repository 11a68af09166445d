/* The evaluation of tiles.h, included once for each instruction set: NAME gives the names of this one, LANES how its functions are made. */
#include "tiles_lanes.h"

#define SIZED(x) NAME(x##_tile)
#define SIZE_Z VGM_TILE_Z
#define SIZE_Y VGM_TILE_Y
#define SIZE_X VGM_TILE_X
#define STRIDE VGM_TILE_STRIDE
#include "tiles_add.h"
#undef SIZED
#undef SIZE_Z
#undef SIZE_Y
#undef SIZE_X
#undef STRIDE

#define SIZED(x) NAME(x##_patch)
#define SIZE_Z VGM_PATCH_Z
#define SIZE_Y VGM_PATCH_Y
#define SIZE_X VGM_PATCH_X
#define STRIDE VGM_PATCH_STRIDE
#include "tiles_add.h"
#undef SIZED
#undef SIZE_Z
#undef SIZE_Y
#undef SIZE_X
#undef STRIDE

#include "tiles_coarse.h"

/* Integers are stored by way of binary32: what that loses is far below what the sums have lost. */
#define STORE(label, kind, least, largest)                                                                                                    \
    PART void NAME(label)(kind * to, int64_t count, const float *sum, int64_t step, float base, float gain)                          \
    {                                                                                                                                \
        typedef kind row __attribute__((vector_size(8 * sizeof(kind)), aligned(1)));                                                 \
        int64_t k = 0;                                                                                                               \
        if (step == 1)                                                                                                               \
            for (; k + 8 <= count; k += 8) {                                                                                         \
                vec v = NAME(splat)(base) + NAME(splat)(gain) * NAME(load)(sum + k);                                                 \
                v = NAME(smaller)(NAME(larger)(v, NAME(splat)(least)), NAME(splat)(largest)) + 12582912.0f;                          \
                *(row *)(to + k) = __builtin_convertvector((ints)v - 0x4b400000, row);                                               \
            }                                                                                                                        \
        for (; k < count; k++) {                                                                                                     \
            float v = base + gain * sum[k * step];                                                                                   \
            v = v > least ? v : least;                                                                                                \
            v = v < largest ? v : largest;                                                                                           \
            to[k] = (kind)((v + 12582912.0f) - 12582912.0f);                                                                         \
        }                                                                                                                            \
    }

STORE(store_u8, uint8_t, 0.0f, 255.0f)
STORE(store_u16, uint16_t, 0.0f, 65535.0f)
STORE(store_i16, int16_t, -32768.0f, 32767.0f)
#undef STORE

PART void NAME(store_row)(const vgm_block *b, int64_t to, int64_t count, const float *sum)
{
    if (b->type == VGM_UINT8)
        NAME(store_u8)((uint8_t *)b->out + to, count, sum, b->step[2], (float)b->base, (float)b->gain);
    else if (b->type == VGM_UINT16)
        NAME(store_u16)((uint16_t *)b->out + to, count, sum, b->step[2], (float)b->base, (float)b->gain);
    else if (b->type == VGM_INT16)
        NAME(store_i16)((int16_t *)b->out + to, count, sum, b->step[2], (float)b->base, (float)b->gain);
    else
        for (int64_t k = 0; k < count; k++)
            ((float *)b->out)[to + k] = (float)(b->base + b->gain * (double)sum[k * b->step[2]]);
}

/* Evaluate one tile, of the number `tile` in the block. */
static TARGET void NAME(evaluate_tile)(const vgm_block *b, uint64_t tile, const wanted *want, const vgm_patch *patch, vgm_tile_room *room)
{
    uint64_t first = b->offsets[tile], last = b->offsets[tile + 1];
    int many = last - first > FLUSH;
    tile_part t;
    t.sum = room->sum;
    t.cutoff = b->cutoff;
    t.edge = vgm_exp(-0.5 * b->cutoff);
    for (int a = 0; a < 3; a++)
        t.at[a] = (double)want->first[a];
    t.z_start = (int)(b->lo[0] + want->from[0] * b->step[0] - want->first[0]);
    t.z_stop = (int)(b->lo[0] + (want->to[0] - 1) * b->step[0] - want->first[0]) + 1;
    t.y_stop = (int)(b->lo[1] + (want->to[1] - 1) * b->step[1] - want->first[1]) + 1;
    t.x_start = (int)(b->lo[2] + want->from[2] * b->step[2] - want->first[2]);
    t.x_stop = (int)(b->lo[2] + (want->to[2] - 1) * b->step[2] - want->first[2]) + 1;
    for (int z = t.z_start; z < t.z_stop; z++) {
        int at = z * VGM_TILE_Y * VGM_TILE_STRIDE, n = t.y_stop * VGM_TILE_STRIDE;
        if (patch == NULL || !patch->filled)
            memset(room->sum + at, 0, (size_t)n * sizeof room->sum[0]);
        if (many)
            memset(room->total + at, 0, (size_t)n * sizeof room->total[0]);
    }
    if (patch != NULL && patch->filled)
        NAME(prolong_tile)(patch, &t, room);
    if (patch != NULL && patch->others)
        NAME(add_others)(b, patch, &t);
    for (uint64_t e = first; e < last; e++) {
        if (e + AHEAD < last) { /* the Gaussians of a tile are scattered over those of its chunks */
            const char *next = (const char *)(b->gaussians + b->ids[e + AHEAD]);
            __builtin_prefetch(next);
            __builtin_prefetch(next + 64);
        }
        NAME(add_tile)(b->gaussians + b->ids[e], &t);
        if (many && ((e - first) % FLUSH == FLUSH - 1 || e == last - 1))
            for (int z = t.z_start; z < t.z_stop; z++) {
                float *sum = room->sum + z * VGM_TILE_Y * VGM_TILE_STRIDE;
                double *total = room->total + z * VGM_TILE_Y * VGM_TILE_STRIDE;
                for (int k = 0; k < t.y_stop * VGM_TILE_STRIDE; k++) {
                    total[k] += (double)sum[k];
                    sum[k] = e == last - 1 ? (float)total[k] : 0.0f;
                }
            }
    }
    fetch_plane(b, want, want->from[0]);
    for (int64_t z = want->from[0]; z < want->to[0]; z++) {
        if (z + 1 < want->to[0])
            fetch_plane(b, want, z + 1);
        for (int64_t y = want->from[1]; y < want->to[1]; y++) {
            int64_t row = (b->lo[0] + z * b->step[0] - want->first[0]) * VGM_TILE_Y + b->lo[1] + y * b->step[1] - want->first[1];
            NAME(store_row)(b, b->pitch[2] + z * b->pitch[0] + y * b->pitch[1] + want->from[2], want->to[2] - want->from[2],
                            room->sum + row * VGM_TILE_STRIDE + t.x_start);
        }
    }
}

#undef vec
#undef ints
