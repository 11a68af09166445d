/* Large Gaussians on coarser grids, and back (tiles.h). Included once for each instruction set. */

/* Twice as many lines: lines 2 i of `out` are lines i + 2 of `in`, and lines 2 i + 1 the midpoints of lines i .. i + 5, for i in [first, stop).
 * A line has `n` floats, a multiple of 8. */
PART void NAME(prolong_lines)(const float *in, int in_pitch, float *out, int out_pitch, int n, int first, int stop)
{
    vec c0 = NAME(splat)(MIDDLE_0), c1 = NAME(splat)(MIDDLE_1), c2 = NAME(splat)(MIDDLE_2);
    for (int x = 0; x < n; x += 8) {
        const float *from = in + first * in_pitch + x;
        float *to = out + 2 * first * out_pitch + x;
        vec v0 = NAME(load)(from), v1 = NAME(load)(from + in_pitch), v2 = NAME(load)(from + 2 * in_pitch);
        vec v3 = NAME(load)(from + 3 * in_pitch), v4 = NAME(load)(from + 4 * in_pitch);
        from += 5 * in_pitch;
        for (int i = first; i < stop; i++, from += in_pitch, to += 2 * out_pitch) {
            vec v5 = NAME(load)(from);
            NAME(store)(to, v2);
            NAME(store)(to + out_pitch, c0 * (v2 + v3) + c1 * (v1 + v4) + c2 * (v0 + v5));
            v0 = v1;
            v1 = v2;
            v2 = v3;
            v3 = v4;
            v4 = v5;
        }
    }
}

/* The same along x: `n` floats of `out`, an even number. */
PART void NAME(prolong_row)(const float *restrict in, float *restrict out, int n)
{
    for (int i = 0; i < n / 2; i++) {
        out[2 * i] = in[i + 2];
        out[2 * i + 1] = MIDDLE_0 * (in[i + 2] + in[i + 3]) + MIDDLE_1 * (in[i + 1] + in[i + 4]) + MIDDLE_2 * (in[i] + in[i + 5]);
    }
}

/* From the patch of every fourth voxel to planes [first, stop) and rows [0, rows) of that of every second, or one more. */
PART void NAME(prolong_patch)(vgm_patch *p, int first, int stop, int rows)
{
    enum { PLANE = VGM_PATCH_Y * VGM_PATCH_STRIDE };
    int low = first >> 1, high = (stop + 1) >> 1, pairs = (rows + 1) >> 1;
    for (int z = low; z < high + 5; z++) {
        for (int y = 0; y < pairs + 5; y++)
            NAME(prolong_row)(p->quarter + z * PLANE + y * VGM_PATCH_STRIDE, p->rows + y * VGM_PATCH_STRIDE, VGM_PATCH_STRIDE);
        NAME(prolong_lines)(p->rows, VGM_PATCH_STRIDE, p->planes + z * PLANE, VGM_PATCH_STRIDE, VGM_PATCH_STRIDE, 0, pairs);
    }
    NAME(prolong_lines)(p->planes, PLANE, p->half, PLANE, 2 * pairs * VGM_PATCH_STRIDE, low, high);
}

/* Sum the large Gaussians of a group that its patch takes, for the voxels numbered [first, stop) on each axis of the group. */
static TARGET void NAME(fill_patch)(const vgm_block *b, const int first[3], const int stop[3], vgm_patch *p)
{
    int start[3], end[3], quarters = 0;
    tile_part t;
    t.cutoff = b->cutoff;
    t.edge = vgm_exp(-0.5 * b->cutoff);
    for (int coarseness = 2; coarseness > 0; coarseness--) {
        double room = ERROR_ROOM;
        for (int a = 0; a < 3; a++) {
            start[a] = first[a] >> coarseness;
            end[a] = ((stop[a] + 1) >> 1) + 5;
            if (coarseness == 2)
                end[a] = ((end[a] + 1) >> 1) + 5;
        }
        t.sum = coarseness == 2 ? p->quarter : p->half;
        t.z_start = start[0];
        t.z_stop = end[0];
        t.y_stop = end[1];
        t.x_start = start[2];
        t.x_stop = end[2];
        for (int a = 0; a < 3; a++)
            t.at[a] = (double)((p->at[a] >> coarseness) - coarseness - 1);
        if (coarseness == 1 && quarters)
            NAME(prolong_patch)(p, start[0], end[0], end[1]);
        else
            for (int z = t.z_start; z < t.z_stop; z++)
                memset(t.sum + z * VGM_PATCH_Y * VGM_PATCH_STRIDE, 0, (size_t)(t.y_stop * VGM_PATCH_STRIDE) * sizeof *t.sum);
        for (uint64_t e = b->offsets[p->list]; e < b->offsets[p->list + 1]; e++) {
            vgm_gaussian g = b->gaussians[b->ids[e]];
            if (!takes_room(&g, p->kink, &room) || g.coarseness != coarseness)
                continue;
            quarters |= coarseness == 2;
            vgm_coarsen(&g);
            NAME(add_patch)(&g, &t);
        }
    }
}

/* A tile's sums from the patch of its group, where they are wanted. */
PART void NAME(prolong_tile)(const vgm_patch *p, const tile_part *t, vgm_tile_room *room)
{
    enum { PLANE = VGM_TILE_Y * VGM_TILE_STRIDE };
    int oz = (int)((int64_t)t->at[0] - p->at[0]) / 2, oy = (int)((int64_t)t->at[1] - p->at[1]) / 2;
    int ox = (int)((int64_t)t->at[2] - p->at[2]) / 2;
    int y_stop = (t->y_stop + 1) >> 1, z_start = t->z_start >> 1, z_stop = (t->z_stop + 1) >> 1;
    for (int z = z_start; z < z_stop + 5; z++) {
        for (int y = 0; y < y_stop + 5; y++) {
            float *row = room->rows + y * VGM_TILE_STRIDE;
            NAME(prolong_row)(p->half + ((oz + z) * VGM_PATCH_Y + oy + y) * VGM_PATCH_STRIDE + ox, row, VGM_TILE_X);
            NAME(store)(row + VGM_TILE_X, NAME(splat)(0.0f));
        }
        NAME(prolong_lines)(room->rows, VGM_TILE_STRIDE, room->planes + z * PLANE, VGM_TILE_STRIDE, VGM_TILE_STRIDE, 0, y_stop);
    }
    NAME(prolong_lines)(room->planes, PLANE, room->sum, PLANE, 2 * y_stop * VGM_TILE_STRIDE, z_start, z_stop);
}

/* Add the large Gaussians of a tile's group that are not in its patch. */
PART void NAME(add_others)(const vgm_block *b, const vgm_patch *p, const tile_part *t)
{
    double room = ERROR_ROOM;
    for (uint64_t e = b->offsets[p->list]; e < b->offsets[p->list + 1]; e++) {
        const vgm_gaussian *g = b->gaussians + b->ids[e];
        if (!p->filled || !takes_room(g, p->kink, &room))
            NAME(add_tile)(g, t);
    }
}
