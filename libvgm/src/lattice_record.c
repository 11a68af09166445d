#include "lattice_record.h"

#include <math.h>

#include "half.h"
#include "instructions.h"

/* Lanes go through the same operations together, each rounded on its own: the file is compiled without contraction. */
typedef double column[VGM_BATCH];

#define EACH for (int i = 0; i < VGM_BATCH; i++)

/* Becomes a part of functions for the instructions that the machine has; the operations stay the same. */
#define ANY_TARGET static inline __attribute__((always_inline))

static const double ROOT_I0 = 0x1.2e0ba61625c5dp+1; /* pi^0.75 */

ANY_TARGET void rotate_columns(column m[3][3], int p, int q)
{
    column c, s;
    EACH
    {
        double a = m[0][p][i] * m[0][p][i] + m[1][p][i] * m[1][p][i] + m[2][p][i] * m[2][p][i];
        double b = m[0][q][i] * m[0][q][i] + m[1][q][i] * m[1][q][i] + m[2][q][i] * m[2][q][i];
        double g = m[0][p][i] * m[0][q][i] + m[1][p][i] * m[1][q][i] + m[2][p][i] * m[2][q][i];
        double z = (b - a) / (2.0 * (g == 0.0 ? 1.0 : g));
        double t = 1.0 / (fabs(z) + sqrt(1.0 + z * z));
        double cosine;
        t = z < 0.0 ? -t : t;
        cosine = 1.0 / sqrt(1.0 + t * t);
        c[i] = g == 0.0 ? 1.0 : cosine;
        s[i] = g == 0.0 ? 0.0 : cosine * t;
    }
    for (int r = 0; r < 3; r++)
        EACH
        {
            double u = m[r][p][i], v = m[r][q][i];
            m[r][p][i] = c[i] * u - s[i] * v;
            m[r][q][i] = s[i] * u + c[i] * v;
        }
}

/* (w, i, j, k) of a rotation matrix, the first that is not 0 positive. */
ANY_TARGET void quaternion(double r[3][3], double q[4])
{
    double trace = r[0][0] + r[1][1] + r[2][2], d, first = 0.0;
    if (trace > r[0][0] && trace > r[1][1] && trace > r[2][2]) {
        d = sqrt(1.0 + trace) * 2.0;
        q[0] = d / 4.0;
        q[1] = (r[2][1] - r[1][2]) / d;
        q[2] = (r[0][2] - r[2][0]) / d;
        q[3] = (r[1][0] - r[0][1]) / d;
    } else if (r[0][0] >= r[1][1] && r[0][0] >= r[2][2]) {
        d = sqrt(1.0 + r[0][0] - r[1][1] - r[2][2]) * 2.0;
        q[0] = (r[2][1] - r[1][2]) / d;
        q[1] = d / 4.0;
        q[2] = (r[0][1] + r[1][0]) / d;
        q[3] = (r[0][2] + r[2][0]) / d;
    } else if (r[1][1] >= r[2][2]) {
        d = sqrt(1.0 + r[1][1] - r[0][0] - r[2][2]) * 2.0;
        q[0] = (r[0][2] - r[2][0]) / d;
        q[1] = (r[0][1] + r[1][0]) / d;
        q[2] = d / 4.0;
        q[3] = (r[1][2] + r[2][1]) / d;
    } else {
        d = sqrt(1.0 + r[2][2] - r[0][0] - r[1][1]) * 2.0;
        q[0] = (r[1][0] - r[0][1]) / d;
        q[1] = (r[0][2] + r[2][0]) / d;
        q[2] = (r[1][2] + r[2][1]) / d;
        q[3] = d / 4.0;
    }
    for (int k = 0; k < 4 && first == 0.0; k++)
        first = q[k];
    if (first < 0.0)
        for (int k = 0; k < 4; k++)
            q[k] = -q[k];
}

ANY_TARGET int records_of(const vgm_lattice_batch *batch, double step, uint8_t *records)
{
    static const int places[3][2] = {{0, 1}, {1, 2}, {0, 1}};
    column m[3][3], scale[3], intensity;
    int bad = -1;
    EACH
    {
        double f[6];
        int there = i < batch->filled; /* lanes that are not in use get numbers that do no harm */
        for (int a = 0; a < 6; a++)
            f[a] = (double)(there ? batch->factor[a][i] : a < 3 ? 65536 : 0) * 0x1p-16;
        m[0][0][i] = f[0];
        m[0][1][i] = m[0][2][i] = m[1][2][i] = 0.0;
        m[1][0][i] = f[3];
        m[1][1][i] = f[1];
        m[2][0][i] = f[4];
        m[2][1][i] = f[5];
        m[2][2][i] = f[2];
        intensity[i] = (double)(there ? batch->amplitude[i] : 0) * step / (ROOT_I0 * sqrt(f[0] * f[1] * f[2]));
    }
    for (int sweep = 0; sweep < 6; sweep++) {
        rotate_columns(m, 0, 1);
        rotate_columns(m, 0, 2);
        rotate_columns(m, 1, 2);
    }
    for (int a = 0; a < 3; a++)
        EACH scale[a][i] = sqrt(m[0][a][i] * m[0][a][i] + m[1][a][i] * m[1][a][i] + m[2][a][i] * m[2][a][i]);
    for (int i = 0; i < batch->filled; i++) {
        double values[11], r[3][3];
        int rank[3] = {0, 1, 2};
        for (int k = 0; k < 3; k++) {
            int a = places[k][0], b = places[k][1];
            if (scale[rank[b]][i] > scale[rank[a]][i]) {
                int t = rank[a];
                rank[a] = rank[b];
                rank[b] = t;
            }
        }
        for (int a = 0; a < 3; a++) {
            values[a] = (double)batch->centre[a][i] * 0x1p-16;
            values[3 + a] = scale[rank[a]][i];
        }
        for (int a = 0; a < 2; a++)
            for (int b = 0; b < 3; b++)
                r[b][a] = m[b][rank[a]][i] / values[3 + a];
        r[0][2] = r[1][0] * r[2][1] - r[2][0] * r[1][1];
        r[1][2] = r[2][0] * r[0][1] - r[0][0] * r[2][1];
        r[2][2] = r[0][0] * r[1][1] - r[1][0] * r[0][1];
        quaternion(r, values + 6);
        values[10] = intensity[i];
        for (int k = 0; k < 11; k++) {
            uint16_t half = vgm_half_of_double(values[k]);
            if ((half & 0x7c00u) == 0x7c00u && bad < 0)
                bad = i;
            if (half == 0x8000u)
                half = 0;
            records[22 * i + 2 * k] = (uint8_t)half;
            records[22 * i + 2 * k + 1] = (uint8_t)(half >> 8);
        }
    }
    return bad;
}

static int records_generic(const vgm_lattice_batch *batch, double step, uint8_t *records)
{
    return records_of(batch, step, records);
}

#if VGM_HAVE_AVX2
__attribute__((target("avx2"))) static int records_avx2(const vgm_lattice_batch *batch, double step, uint8_t *records)
{
    return records_of(batch, step, records);
}
#endif

int vgm_lattice_records(const vgm_lattice_batch *batch, double step, uint8_t *records)
{
#if VGM_HAVE_AVX2
    if (__builtin_cpu_supports("avx2"))
        return records_avx2(batch, step, records);
#endif
    return records_generic(batch, step, records);
}
