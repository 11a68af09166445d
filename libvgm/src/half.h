/* binary16 <-> binary32/64 in integer arithmetic: the same bits on every machine. */
#ifndef VGM_HALF_H
#define VGM_HALF_H

#include <stdint.h>
#include <string.h>

static inline float vgm_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, mantissa = half & 1023u, bits;
    float value;
    if (exponent == 0) {
        value = (float)mantissa * 0x1p-24f;
        memcpy(&bits, &value, 4);
        bits |= sign;
    } else if (exponent == 31) {
        bits = sign | 0x7f800000u | mantissa << 13;
    } else {
        bits = sign | (exponent + 112u) << 23 | mantissa << 13;
    }
    memcpy(&value, &bits, 4);
    return value;
}

/* Rounded once, to nearest, ties to even; infinite from 65520 on. */
static inline uint16_t vgm_half_of_double(double value)
{
    uint64_t bits, mantissa, rest, half;
    uint16_t sign;
    int exponent, drop;
    memcpy(&bits, &value, 8);
    sign = (uint16_t)(bits >> 48 & 0x8000u);
    exponent = (int)(bits >> 52 & 2047u) - 1023;
    mantissa = bits & 0xfffffffffffffu;
    if (exponent == 1024)
        return (uint16_t)(sign | (mantissa ? 0x7e00u : 0x7c00u));
    if (exponent >= 16)
        return (uint16_t)(sign | 0x7c00u);
    if (exponent < -25)
        return sign;
    mantissa |= (uint64_t)1 << 52;
    drop = exponent >= -14 ? 42 : 28 - exponent; /* bits below the last place */
    half = mantissa >> drop;
    rest = mantissa & (((uint64_t)1 << drop) - 1);
    if (rest > (uint64_t)1 << (drop - 1) || (rest == (uint64_t)1 << (drop - 1) && (half & 1)))
        half++;
    if (exponent >= -14)
        half += (uint64_t)(exponent + 14) << 10; /* half has its leading 1, which counts as one exponent */
    return (uint16_t)(sign | half);
}

#endif
