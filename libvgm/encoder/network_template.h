/* The network's layers, included once for each instruction set: sums of each unit go in the same order in all of them. */

/* out[j] += sum of in[k] w[k][j]. */
PART void NAME(layer)(const float *in, int n, const float *w, float *out)
{
    float sums[VGM_NET_HIDDEN];
    memcpy(sums, out, sizeof sums);
    for (int k = 0; k < n; k++)
        for (int j = 0; j < VGM_NET_HIDDEN; j++)
            sums[j] += in[k] * w[k * VGM_NET_HIDDEN + j];
    memcpy(out, sums, sizeof sums);
}

PART void NAME(rectify)(float *v)
{
    for (int j = 0; j < VGM_NET_HIDDEN; j++)
        v[j] = v[j] > 0.0f ? v[j] : 0.0f;
}

/* What follows the first layer's sums: the logit; both layers' units stay. */
PART float NAME(rest)(const float *weights, float *one, float *two)
{
    float sums[8];
    NAME(rectify)(one);
    memcpy(two, weights + VGM_NET_SECOND + VGM_NET_HIDDEN * VGM_NET_HIDDEN, VGM_NET_HIDDEN * sizeof *two);
    NAME(layer)(one, VGM_NET_HIDDEN, weights + VGM_NET_SECOND, two);
    NAME(rectify)(two);
    for (int j = 0; j < 8; j++) {
        const float *w = weights + VGM_NET_THIRD + j;
        sums[j] = (two[j] * w[0] + two[8 + j] * w[8]) + (two[16 + j] * w[16] + two[24 + j] * w[24]);
    }
    return weights[VGM_NET_WEIGHTS - 1] + (((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7])));
}

/* w[k][j] += in[k] d[j]. */
PART void NAME(outer)(const float *in, int n, const float *d, float *w)
{
    for (int k = 0; k < n; k++)
        for (int j = 0; j < VGM_NET_HIDDEN; j++)
            w[k * VGM_NET_HIDDEN + j] += in[k] * d[j];
}

static TARGET void NAME(gradient)(const float *rows, const int64_t *picked, int64_t n, float target, const float *weights, const float *turned,
                                  float *gradient)
{
    float one[VGM_NET_HIDDEN], two[VGM_NET_HIDDEN], d[VGM_NET_HIDDEN], e[VGM_NET_HIDDEN];
    for (int64_t i = 0; i < n; i++) {
        const float *row = rows + picked[i] * VGM_NET_INPUTS;
        float logit, out;
        memcpy(one, weights + VGM_NET_INPUTS * VGM_NET_HIDDEN, sizeof one);
        NAME(layer)(row, VGM_NET_INPUTS, weights, one);
        logit = NAME(rest)(weights, one, two);
        out = (float)(1.0 / (1.0 + vgm_exp(-(double)logit))) - target;
        for (int j = 0; j < VGM_NET_HIDDEN; j++) {
            gradient[VGM_NET_THIRD + j] += out * two[j];
            d[j] = two[j] > 0.0f ? out * weights[VGM_NET_THIRD + j] : 0.0f;
            e[j] = 0.0f;
        }
        gradient[VGM_NET_WEIGHTS - 1] += out;
        NAME(outer)(one, VGM_NET_HIDDEN, d, gradient + VGM_NET_SECOND);
        NAME(layer)(d, VGM_NET_HIDDEN, turned, e);
        for (int j = 0; j < VGM_NET_HIDDEN; j++) {
            gradient[VGM_NET_SECOND + VGM_NET_HIDDEN * VGM_NET_HIDDEN + j] += d[j];
            e[j] = one[j] > 0.0f ? e[j] : 0.0f;
            gradient[VGM_NET_INPUTS * VGM_NET_HIDDEN + j] += e[j];
        }
        NAME(outer)(row, VGM_NET_INPUTS, e, gradient);
    }
}

static TARGET void NAME(answer)(const float *local, const float *places, const int64_t shape[3], const float *weights, float *room, uint8_t *out)
{
    int64_t cells = shape[0] * shape[1] * shape[2], at = 0;
    float in[VGM_NET_LOCAL], one[VGM_NET_HIDDEN], two[VGM_NET_HIDDEN], row[VGM_NET_HIDDEN];
    float *const axes[3] = {room, room + shape[0] * VGM_NET_HIDDEN, room + (shape[0] + shape[1]) * VGM_NET_HIDDEN};
    memset(room, 0, (size_t)vgm_network_room(shape) * sizeof *room);
    for (int a = 0; a < 3; a++)
        for (int64_t i = 0; i < shape[a]; i++, places += VGM_NET_PLACE)
            NAME(layer)(places, VGM_NET_PLACE, weights + (VGM_NET_LOCAL + a * VGM_NET_PLACE) * VGM_NET_HIDDEN, axes[a] + i * VGM_NET_HIDDEN);
    for (int64_t z = 0; z < shape[0]; z++)
        for (int64_t y = 0; y < shape[1]; y++) {
            for (int j = 0; j < VGM_NET_HIDDEN; j++)
                row[j] = weights[VGM_NET_INPUTS * VGM_NET_HIDDEN + j] + axes[0][z * VGM_NET_HIDDEN + j] + axes[1][y * VGM_NET_HIDDEN + j];
            for (int64_t x = 0; x < shape[2]; x++, at++) {
                for (int k = 0; k < VGM_NET_LOCAL; k++)
                    in[k] = local[k * cells + at];
                for (int j = 0; j < VGM_NET_HIDDEN; j++)
                    one[j] = row[j] + axes[2][x * VGM_NET_HIDDEN + j];
                NAME(layer)(in, VGM_NET_LOCAL, weights, one);
                out[at] = (uint8_t)(255.0 / (1.0 + vgm_exp(-(double)NAME(rest)(weights, one, two))) + 0.5);
            }
        }
}
