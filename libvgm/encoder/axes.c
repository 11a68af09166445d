#include "axes.h"

#include <math.h>

enum { SWEEPS = 12 }; /* of which few are run: it ends when the off-diagonal is nothing beside the diagonal */

static void rotate(double s[3][3], double v[3][3], int p, int q)
{
    double theta = 0.5 * (s[q][q] - s[p][p]) / s[p][q];
    double t = 1.0 / (fabs(theta) + sqrt(theta * theta + 1.0)), c, d;
    if (theta < 0.0)
        t = -t;
    c = 1.0 / sqrt(t * t + 1.0);
    d = t * c;
    for (int k = 0; k < 3; k++) {
        double x = s[k][p], y = s[k][q];
        s[k][p] = c * x - d * y;
        s[k][q] = d * x + c * y;
    }
    for (int k = 0; k < 3; k++) {
        double x = s[p][k], y = s[q][k];
        s[p][k] = c * x - d * y;
        s[q][k] = d * x + c * y;
        x = v[k][p];
        y = v[k][q];
        v[k][p] = c * x - d * y;
        v[k][q] = d * x + c * y;
    }
}

void vgm_principal_axes(int64_t count, const double *matrices, double *lengths, double *directions)
{
    for (int64_t n = 0; n < count; n++) {
        const double *b = matrices + 9 * n;
        double s[3][3], v[3][3];
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++) {
                s[i][j] = b[i] * b[j] + b[3 + i] * b[3 + j] + b[6 + i] * b[6 + j];
                v[i][j] = i == j ? 1.0 : 0.0;
            }
        for (int sweep = 0; sweep < SWEEPS; sweep++) {
            double off = s[0][1] * s[0][1] + s[0][2] * s[0][2] + s[1][2] * s[1][2];
            if (!(off > 1e-30 * (s[0][0] * s[0][0] + s[1][1] * s[1][1] + s[2][2] * s[2][2])))
                break;
            for (int p = 0; p < 2; p++)
                for (int q = p + 1; q < 3; q++)
                    if (s[p][q] != 0.0)
                        rotate(s, v, p, q);
        }
        for (int k = 0; k < 3; k++) {
            lengths[3 * n + k] = sqrt(s[k][k] < 0.0 ? 0.0 : s[k][k]);
            for (int i = 0; i < 3; i++)
                directions[9 * n + 3 * k + i] = v[i][k];
        }
    }
}
