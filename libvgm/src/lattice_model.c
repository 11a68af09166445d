#include "lattice_model.h"

vgm_lattice_tables *vgm_new_lattice_tables(const vgm_allocator *allocator, vgm_error *error)
{
    static const int64_t spreads[SPLITS] = {1, 2, 4, 12, 60};
    vgm_lattice_tables *tables = vgm_take(allocator, 1, sizeof *tables, error);
    int32_t z = -12 * 65536;
    if (tables == NULL)
        return NULL;
    for (int k = 0; k < 1 << TABLED_BITS; k++)
        tables->powers[k] = (uint32_t)exp2_fixed(k << (16 - TABLED_BITS));
    for (int k = 0; k < 256; k++) {
        while (logistic(z) < (2 * k + 1) * 2048)
            z += 256;
        tables->z[k] = z;
    }
    for (int k = 0; k <= 256; k++)
        tables->rates[k] = 65536 / (k + 16);
    for (int s = 0; s < SPLITS; s++)
        for (int64_t n = 2; n <= TABLED; n++) {
            int64_t w[TABLED + 1], total = 0, below = 0, S = spreads[s];
            w[n >> 1] = 1 << 28;
            for (int64_t k = n >> 1; k > 0; k--)
                w[k - 1] = w[k] * k * (2 * (n - k) + S) / ((n - k + 1) * (2 * (k - 1) + S));
            for (int64_t k = n >> 1; k < n; k++)
                w[k + 1] = w[k] * (n - k) * (2 * k + S) / ((k + 1) * (2 * (n - k - 1) + S));
            for (int64_t k = 0; k <= n; k++)
                total += w[k];
            for (int64_t k = 0; k <= n; k++) {
                tables->below[n][k][s] = (int32_t)(k + below * (VGM_TOTAL - n - 1) / total);
                below += w[k];
            }
            tables->below[n][n + 1][s] = VGM_TOTAL;
        }
    return tables;
}

void vgm_fresh_lattice_models(lattice_models *m)
{
    for (int b = 0; b < 4; b++)
        for (int s = 0; s < SPLITS; s++)
            m->mixture[b][s] = 13107;
    for (int n = 0; n < 7; n++) {
        for (int k = 0; k < FEATURES; k++) {
            m->numbers[n].a[k] = WEIGHTS[n][0][k];
            m->numbers[n].b[k] = WEIGHTS[n][1][k];
        }
        m->numbers[n].seen = 0;
    }
    m->sign[0] = m->sign[2] = 0;
    m->sign[1] = 19661;
    for (int c = 0; c < 4; c++)
        for (int k = 0; k < 32; k++) {
            m->amplitudes[c][k].p = (uint16_t)(AMPLITUDES[c][k] * 256);
            m->amplitudes[c][k].n = 10;
        }
}
