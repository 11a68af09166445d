/* The passes of voxels.h, included once for each instruction set: the same operations, each rounded by itself, so that all find the
 * same. */

PART float *NAME(row)(const vgm_field *f, int64_t z, int64_t y)
{
    return f->at + z * f->pitch[0] + y * f->pitch[1];
}

PART const uint8_t *NAME(marks)(const vgm_marks *m, int64_t z, int64_t y)
{
    return m->at + z * m->pitch[0] + y * m->pitch[1];
}

PART lanes NAME(load)(const float *from)
{
    return *(const lanes_anywhere *)from;
}

PART lane_marks NAME(load_marks)(const int32_t *from)
{
    return *(const marks_anywhere *)from;
}

PART void NAME(widen_some)(const uint8_t *restrict from, int64_t count, int32_t *restrict to)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = from[i];
}

/* Marks of a piece of a row as wide as lanes are; a vector of them at least, with zeros at its end. */
PART void NAME(widen)(const uint8_t *from, int64_t count, int32_t *to)
{
    int64_t i = 0;
    for (; i + WIDTH <= count; i += WIDTH)
        NAME(widen_some)(from + i, WIDTH, to + i);
    if (i < count && count >= WIDTH)
        NAME(widen_some)(from + count - WIDTH, WIDTH, to + count - WIDTH);
    else
        NAME(widen_some)(from + i, count - i, to + i);
    for (i = count; i < LANES; i++)
        to[i] = 0;
}

PART void NAME(store)(float *to, lanes v)
{
    *(lanes_anywhere *)to = v;
}

/* The lanes where the mask is not set, else 0. */
PART lanes NAME(without)(lanes v, lane_marks mask)
{
    return (lanes)((lane_marks)v & ~mask);
}

PART double NAME(sum_of_lanes)(wide_lanes v)
{
    double each[LANES];
    memcpy(each, &v, sizeof v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            each[i] += each[i + half];
    return each[0];
}

/* A row shorter than LANES, with zeros after it. */
PART lanes NAME(load_some)(const float *from, int64_t count)
{
    float some[LANES] = {0};
    for (int64_t i = 0; i < count; i++)
        some[i] = from[i];
    return NAME(load)(some);
}

PART void NAME(store_some)(float *to, lanes v, int64_t count)
{
    float some[LANES];
    NAME(store)(some, v);
    for (int64_t i = 0; i < count; i++)
        to[i] = some[i];
}

/* Set where the last LANES values of a row were taken before, of which `left` were not. */
PART lane_marks NAME(taken_before)(int64_t left)
{
    lane_marks lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return lane < (int32_t)(LANES - left);
}

TARGET static double NAME(dot)(const vgm_field *f, const vgm_field *g)
{
    wide_lanes total = {0};
    int64_t n = f->shape[2];
    for (int64_t z = 0; z < f->shape[0]; z++)
        for (int64_t y = 0; y < f->shape[1]; y++) {
            const float *a = NAME(row)(f, z, y), *b = NAME(row)(g, z, y);
            lanes even = {0}, odd = {0};
            int64_t x = 0;
            for (; x + 2 * LANES <= n; x += 2 * LANES) {
                even += NAME(load)(a + x) * NAME(load)(b + x);
                odd += NAME(load)(a + x + LANES) * NAME(load)(b + x + LANES);
            }
            if (x + LANES <= n) {
                even += NAME(load)(a + x) * NAME(load)(b + x);
                x += LANES;
            }
            if (x < n && n >= LANES)
                odd += NAME(without)(NAME(load)(a + n - LANES) * NAME(load)(b + n - LANES), NAME(taken_before)(n - x));
            else if (x < n)
                odd += NAME(load_some)(a, n) * NAME(load_some)(b, n);
            total += __builtin_convertvector(even + odd, wide_lanes);
        }
    return NAME(sum_of_lanes)(total);
}

PART void NAME(add_squares)(const float *a, const int32_t *m, int64_t n, lanes all[2], lanes marked[2])
{
    lanes v;
    int64_t x = 0;
    for (; x + 2 * LANES <= n; x += 2 * LANES)
        for (int odd = 0; odd < 2; odd++) {
            v = NAME(load)(a + x + odd * LANES) * NAME(load)(a + x + odd * LANES);
            all[odd] += v;
            marked[odd] += NAME(without)(v, NAME(load_marks)(m + x + odd * LANES) == 0);
        }
    if (x + LANES <= n) {
        v = NAME(load)(a + x) * NAME(load)(a + x);
        all[0] += v;
        marked[0] += NAME(without)(v, NAME(load_marks)(m + x) == 0);
        x += LANES;
    }
    if (x == n)
        return;
    v = n >= LANES ? NAME(without)(NAME(load)(a + n - LANES), NAME(taken_before)(n - x)) : NAME(load_some)(a, n);
    all[1] += v * v;
    marked[1] += NAME(without)(v * v, NAME(load_marks)(n >= LANES ? m + n - LANES : m) == 0);
}

TARGET static void NAME(squares)(const vgm_field *f, const vgm_marks *mask, double *all, double *marked)
{
    wide_lanes total = {0}, inside = {0};
    int32_t wide[PIECE];
    for (int64_t z = 0; z < f->shape[0]; z++)
        for (int64_t y = 0; y < f->shape[1]; y++) {
            lanes sum[2] = {{0}}, kept[2] = {{0}};
            for (int64_t x = 0; x < f->shape[2]; x += PIECE) {
                int64_t n = PIECE_OF(f->shape[2], x);
                NAME(widen)(NAME(marks)(mask, z, y) + x, n, wide);
                NAME(add_squares)(NAME(row)(f, z, y) + x, wide, n, sum, kept);
            }
            total += __builtin_convertvector(sum[0] + sum[1], wide_lanes);
            inside += __builtin_convertvector(kept[0] + kept[1], wide_lanes);
        }
    *all = NAME(sum_of_lanes)(total);
    *marked = NAME(sum_of_lanes)(inside);
}

PART lanes NAME(larger)(lanes a, lanes b)
{
    lane_marks first = a > b;
    return (lanes)(((lane_marks)a & first) | ((lane_marks)b & ~first));
}

TARGET static float NAME(largest_square)(const float *a, int64_t n)
{
    lanes most = {0};
    float each[LANES];
    int64_t x = 0;
    for (; x + LANES <= n; x += LANES)
        most = NAME(larger)(NAME(load)(a + x) * NAME(load)(a + x), most);
    if (x < n) {
        lanes rest = n >= LANES ? NAME(load)(a + n - LANES) : NAME(load_some)(a, n);
        most = NAME(larger)(rest * rest, most);
    }
    NAME(store)(each, most);
    for (int i = 1; i < LANES; i++)
        each[0] = each[i] > each[0] ? each[i] : each[0];
    return each[0];
}

PART lanes NAME(masked)(lanes field, lanes residual, lane_marks saturated)
{
    return NAME(without)(field, (saturated != 0) & (residual == 0.0f));
}

PART void NAME(hold_piece)(float *f, const float *r, const int32_t *e, int64_t n)
{
    int64_t x = 0, last = n - LANES;
    for (; x + LANES <= n; x += LANES)
        NAME(store)(f + x, NAME(masked)(NAME(load)(f + x), NAME(load)(r + x), NAME(load_marks)(e + x)));
    if (x < n && last >= 0) /* twice does no harm */
        NAME(store)(f + last, NAME(masked)(NAME(load)(f + last), NAME(load)(r + last), NAME(load_marks)(e + last)));
    else if (x < n)
        NAME(store_some)(f, NAME(masked)(NAME(load_some)(f, n), NAME(load_some)(r, n), NAME(load_marks)(e)), n);
}

TARGET static void NAME(mask_saturated)(const vgm_field *field, const vgm_field *residual, const vgm_marks *saturated)
{
    int32_t wide[PIECE];
    for (int64_t z = 0; z < field->shape[0]; z++)
        for (int64_t y = 0; y < field->shape[1]; y++)
            for (int64_t x = 0; x < field->shape[2]; x += PIECE) {
                int64_t n = PIECE_OF(field->shape[2], x);
                NAME(widen)(NAME(marks)(saturated, z, y) + x, n, wide);
                NAME(hold_piece)(NAME(row)(field, z, y) + x, NAME(row)(residual, z, y) + x, wide, n);
            }
}

/* `beside`: the rows before and after along z and y, or the row itself where there is none. */
PART void NAME(add_differences)(float *out, const float *f, const float *const beside[4], float weight, int64_t nx)
{
    for (int64_t x = 0; x < nx; x++) {
        float v = out[x];
        for (int k = 0; k < 4; k++)
            v += weight * (f[x] - beside[k][x]);
        out[x] = v;
    }
    for (int64_t x = 1; x < nx; x++)
        out[x] += weight * (f[x] - f[x - 1]);
    for (int64_t x = 0; x < nx - 1; x++)
        out[x] += weight * (f[x] - f[x + 1]);
}

TARGET static void NAME(metric)(const vgm_field *field, const vgm_field *weights, float differences, int64_t z0, const vgm_field *out)
{
    int64_t nz = field->shape[0], ny = field->shape[1], nx = field->shape[2];
    for (int64_t z = z0; z < z0 + out->shape[0]; z++)
        for (int64_t y = 0; y < ny; y++) {
            float *to = NAME(row)(out, z - z0, y);
            const float *f = NAME(row)(field, z, y), *beside[4];
            if (weights != NULL) {
                const float *w = NAME(row)(weights, z, y);
                for (int64_t x = 0; x < nx; x++)
                    to[x] = f[x] * w[x];
            } else {
                for (int64_t x = 0; x < nx; x++)
                    to[x] = f[x];
            }
            if (differences == 0.0f)
                continue;
            beside[0] = z > 0 ? NAME(row)(field, z - 1, y) : f;
            beside[1] = z + 1 < nz ? NAME(row)(field, z + 1, y) : f;
            beside[2] = y > 0 ? NAME(row)(field, z, y - 1) : f;
            beside[3] = y + 1 < ny ? NAME(row)(field, z, y + 1) : f;
            NAME(add_differences)(to, f, beside, differences, nx);
        }
}

/* `pieces` (at most 4) times LANES values at `to`: those at `from`, and at multiples of `step` to either side, nearest first. Where only
 * `before` and `after` steps are within the block nothing is added for what is outside. */
PART void NAME(convolve_pieces)(const float *from, ptrdiff_t step, int64_t before, int64_t after, const float *taps, int64_t reach,
                                float *to, const int pieces)
{
    int64_t both = before < after ? before : after, one = before > after ? before : after, k = 1;
    ptrdiff_t other = before > after ? -step : step;
    lanes sum[4];
    for (int i = 0; i < pieces; i++)
        sum[i] = taps[reach] * NAME(load)(from + i * LANES);
    for (; k <= both && k <= reach; k++)
        for (int i = 0; i < pieces; i++)
            sum[i] += taps[reach + k] * (NAME(load)(from - k * step + i * LANES) + NAME(load)(from + k * step + i * LANES));
    for (; k <= one && k <= reach; k++)
        for (int i = 0; i < pieces; i++)
            sum[i] += taps[reach + k] * NAME(load)(from + k * other + i * LANES);
    for (int i = 0; i < pieces; i++)
        NAME(store)(to + i * LANES, sum[i]);
}

/* `n` values at `to`: those at `from`, and at multiples of `step` to either side where they are within `before` and `after` steps. */
PART void NAME(convolve)(const float *from, ptrdiff_t step, int64_t before, int64_t after, const float *taps, int64_t reach, float *to,
                         int64_t n)
{
    int64_t x = 0;
    for (; x + 4 * LANES <= n; x += 4 * LANES)
        NAME(convolve_pieces)(from + x, step, before, after, taps, reach, to + x, 4);
    if (x < n && n >= 4 * LANES) { /* twice does no harm, and four pieces take little more than one */
        x = n - 4 * LANES;
        NAME(convolve_pieces)(from + x, step, before, after, taps, reach, to + x, 4);
        return;
    }
    for (; x + LANES <= n; x += LANES)
        NAME(convolve_pieces)(from + x, step, before, after, taps, reach, to + x, 1);
    if (x < n && n >= LANES) {
        x = n - LANES;
        NAME(convolve_pieces)(from + x, step, before, after, taps, reach, to + x, 1);
        return;
    }
    for (; x < n; x++) {
        float v = taps[reach] * from[x];
        for (int64_t k = 1; k <= reach; k++) {
            float a = k <= before ? from[x - k * step] : 0.0f, b = k <= after ? from[x + k * step] : 0.0f;
            v += taps[reach + k] * (a + b);
        }
        to[x] = v;
    }
}

TARGET static void NAME(correlate)(const vgm_field *from, const float *const taps[3], const int64_t reach[3], int64_t z0, int64_t z1,
                                   const vgm_field *out, float *room)
{
    int64_t nz = from->shape[0], ny = from->shape[1], nx = from->shape[2], wide = nx + 2 * reach[2];
    for (int64_t y = 0; y < ny; y++)
        for (int64_t x = 0; x < reach[2]; x++)
            room[y * wide + x] = room[y * wide + reach[2] + nx + x] = 0.0f;
    for (int64_t z = z0; z < z1; z++) {
        for (int64_t y = 0; y < ny; y++)
            NAME(convolve)(NAME(row)(from, z, y), from->pitch[0], z, nz - 1 - z, taps[0], reach[0], NAME(row)(out, z, y), nx);
        for (int64_t y = 0; y < ny; y++)
            NAME(convolve)(NAME(row)(out, z, y), out->pitch[1], y, ny - 1 - y, taps[1], reach[1], room + y * wide + reach[2], nx);
        for (int64_t y = 0; y < ny; y++)
            NAME(convolve)(room + y * wide + reach[2], 1, reach[2], reach[2], taps[2], reach[2], NAME(row)(out, z, y), nx);
    }
}

PART int64_t NAME(within)(int64_t i, int64_t n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* Sums over windows of a row, of its squares over the variance, or of those up to `sure` at most `most`; `wide` has room for the row and a window. */
PART void NAME(row_of_windows)(const float *v, const float *variance, float most, float sure, int64_t n, int64_t window, float *wide,
                               float *to)
{
    int64_t before = window / 2;
    for (int64_t x = 0; x < n; x++) {
        float square = v[x] * v[x] / variance[x];
        wide[before + x] = square > most && square <= sure ? most : square;
    }
    for (int64_t x = 0; x < before; x++)
        wide[x] = wide[before];
    for (int64_t x = before + n; x < n + window; x++)
        wide[x] = wide[before + n - 1];
    for (int64_t x = 0; x < n; x++)
        to[x] = wide[x];
    for (int64_t k = 1; k < window; k++)
        for (int64_t x = 0; x < n; x++)
            to[x] += wide[x + k];
}

PART void NAME(add_row)(float *restrict to, const float *restrict from, int64_t n)
{
    for (int64_t x = 0; x < n; x++)
        to[x] += from[x];
}

TARGET static void NAME(supported)(const vgm_field *values, const vgm_field *variance, const int64_t window[3], float limit, float most,
                                   float sure, int64_t z0, int64_t z1, uint8_t *out, float *room)
{
    int64_t nz = values->shape[0], ny = values->shape[1], nx = values->shape[2], plane = ny * nx, known = 0;
    int64_t before[2] = {window[0] / 2, window[1] / 2};
    float *rows = room + window[0] * plane, *wide = rows + plane;
    for (int64_t z = z0; z < z1; z++, out += plane) {
        int64_t last = NAME(within)(z - before[0] + window[0] - 1, nz);
        if (z == z0)
            known = NAME(within)(z - before[0], nz);
        for (; known <= last; known++) {
            float *sums = room + known % window[0] * plane;
            for (int64_t y = 0; y < ny; y++)
                NAME(row_of_windows)(NAME(row)(values, known, y), NAME(row)(variance, known, y), most, sure, nx, window[2], wide, rows + y * nx);
            for (int64_t y = 0; y < ny; y++) {
                memcpy(sums + y * nx, rows + NAME(within)(y - before[1], ny) * nx, (size_t)nx * sizeof *rows);
                for (int64_t k = 1; k < window[1]; k++)
                    NAME(add_row)(sums + y * nx, rows + NAME(within)(y - before[1] + k, ny) * nx, nx);
            }
        }
        for (int64_t y = 0; y < ny; y++) {
            memcpy(wide, room + NAME(within)(z - before[0], nz) % window[0] * plane + y * nx, (size_t)nx * sizeof *wide);
            for (int64_t k = 1; k < window[0]; k++)
                NAME(add_row)(wide, room + NAME(within)(z - before[0] + k, nz) % window[0] * plane + y * nx, nx);
            for (int64_t x = 0; x < nx; x++)
                out[y * nx + x] = wide[x] > limit;
        }
    }
}

/* Moments of a row of both blocks, summed over windows along it: `count` values each, `pitch` apart at `to`. */
PART void NAME(row_moments)(const float *x, const float *y, int64_t count, int64_t window, float *to, int64_t pitch)
{
    float *restrict sx = to, *restrict sy = to + pitch, *restrict squares = to + 2 * pitch, *restrict products = to + 3 * pitch;
    for (int64_t i = 0; i < count; i++)
        sx[i] = sy[i] = squares[i] = products[i] = 0.0f;
    for (int64_t k = 0; k < window; k++) {
        const float *restrict a = x + k, *restrict b = y + k;
        for (int64_t i = 0; i < count; i++) {
            sx[i] += a[i];
            sy[i] += b[i];
            squares[i] += a[i] * a[i] + b[i] * b[i];
            products[i] += a[i] * b[i];
        }
    }
}

/* Of windows' moments (each at `m`, `pitch` apart) the similarities, into `out`. */
PART void NAME(similarities)(const float *restrict m, int64_t pitch, int64_t count, float voxels, const vgm_similarity *t,
                             float *restrict out)
{
    float each = 1.0f / voxels;
    for (int64_t i = 0; i < count; i++) {
        float mx = m[i] * each, my = m[pitch + i] * each;
        float variances = m[2 * pitch + i] * each - (mx * mx + my * my);
        float covariance = m[3 * pitch + i] * each - mx * my;
        float lx = mx + t->middle, ly = my + t->middle;
        float structure = (2.0f * t->unbiased * covariance + t->c2) / (t->unbiased * variances + t->c2);
        out[i] = structure * ((2.0f * lx * ly + t->c1) / (lx * lx + ly * ly + t->c1));
    }
}

TARGET static double NAME(similarity)(const vgm_field *x, const vgm_field *y, const int64_t window[3], const vgm_similarity *terms,
                                      float *room)
{
    int64_t nz = x->shape[0], ny = x->shape[1] - window[1] + 1, nx = x->shape[2] - window[2] + 1, wide = x->shape[2];
    int64_t row = MOMENTS * wide;
    float *ring = room, *rows = ring + window[0] * STRIP * row, *sum = rows + (STRIP + window[1] - 1) * row;
    float voxels = (float)(window[0] * window[1] * window[2]);
    double total = 0.0;
    for (int64_t first = 0; first < ny; first += STRIP) {
        int64_t strip = ny - first < STRIP ? ny - first : STRIP;
        for (int64_t z = 0; z < nz; z++) {
            float *plane = ring + z % window[0] * STRIP * row;
            for (int64_t j = 0; j < strip + window[1] - 1; j++)
                NAME(row_moments)(NAME(row)(x, z, first + j), NAME(row)(y, z, first + j), nx, window[2], rows + j * row, wide);
            for (int64_t j = 0; j < strip; j++) {
                memcpy(plane + j * row, rows + j * row, (size_t)row * sizeof *rows);
                for (int64_t k = 1; k < window[1]; k++)
                    NAME(add_row)(plane + j * row, rows + (j + k) * row, row);
            }
            for (int64_t j = 0; z + 1 >= window[0] && j < strip; j++) {
                double part = 0.0;
                memcpy(sum, ring + (z + 1) % window[0] * STRIP * row + j * row, (size_t)row * sizeof *sum);
                for (int64_t k = 2; k <= window[0]; k++)
                    NAME(add_row)(sum, ring + (z + k) % window[0] * STRIP * row + j * row, row);
                NAME(similarities)(sum, wide, nx, voxels, terms, rows);
                for (int64_t i = 0; i < nx; i++)
                    part += rows[i];
                total += part;
            }
        }
    }
    return total;
}

TARGET static void NAME(row_peaks)(const float *row, const float *const beside[4], int64_t count, float least, uint8_t *restrict peaks)
{
    const float *a = beside[0], *b = beside[1], *c = beside[2], *d = beside[3];
    for (int64_t i = 0; i < count; i++) {
        float before = row[i] * row[i], own = row[i + 1] * row[i + 1], after = row[i + 2] * row[i + 2];
        float up = a[i] * a[i], down = b[i] * b[i], near = c[i] * c[i], far = d[i] * d[i];
        peaks[i] = (own >= least) & !(before > own) & !(after > own) & !(up > own) & !(down > own) & !(near > own) & !(far > own);
    }
}

static const vgm_voxel_passes NAME(passes) = {
    NAME(dot),       NAME(squares),    NAME(mask_saturated), NAME(metric),    NAME(correlate),
    NAME(supported), NAME(similarity), NAME(largest_square), NAME(row_peaks),
};
