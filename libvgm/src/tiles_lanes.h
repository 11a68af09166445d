/* Lanes of binary32 by the compiler's vectors, so that inner loops stay in registers: eight, or sixteen with LANES_WIDE. What is computed of a
 * lane does not depend on how many there are. Included once for each instruction set. */
#define LANE_BYTES (LANES_WIDE ? 64 : 32)
typedef float NAME(vec) __attribute__((vector_size(LANE_BYTES)));
typedef float NAME(vec_anywhere) __attribute__((vector_size(LANE_BYTES), aligned(4), may_alias));
typedef int32_t NAME(ints) __attribute__((vector_size(LANE_BYTES)));
#undef LANE_BYTES

#define vec NAME(vec)
#define ints NAME(ints)

LANES vec NAME(splat)(float v)
{
    return v - (vec){0};
}

#if !LANES_WIDE
LANES vec NAME(iota)(void)
{
    return (vec){0, 1, 2, 3, 4, 5, 6, 7};
}
#endif

LANES vec NAME(load)(const float *from)
{
    return *(const NAME(vec_anywhere) *)from;
}

LANES void NAME(store)(float *to, vec v)
{
    *(NAME(vec_anywhere) *)to = v;
}

/* a where the mask is set, else 0. */
LANES vec NAME(keep)(ints mask, vec a)
{
    return (vec)((ints)a & mask);
}

LANES vec NAME(larger)(vec a, vec b)
{
#if LANES_WIDE
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif LANES_AVX
    return __builtin_ia32_maxps256(a, b);
#else
    ints mask = a > b;
    return (vec)(((ints)a & mask) | ((ints)b & ~mask));
#endif
}

LANES vec NAME(smaller)(vec a, vec b)
{
#if LANES_WIDE
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif LANES_AVX
    return __builtin_ia32_minps256(a, b);
#else
    ints mask = a < b;
    return (vec)(((ints)a & mask) | ((ints)b & ~mask));
#endif
}

/* exp by lanes; relative error under 4e-7 on [-86, 86], clamped outside. */
LANES vec NAME(exp)(vec x)
{
    vec n, r, p;
    x = NAME(smaller)(NAME(larger)(x, NAME(splat)(-86.0f)), NAME(splat)(86.0f));
    n = (x * 1.4426950408889634f + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23: rounds to whole numbers */
    r = x - n * 0.693359375f;                                  /* ln 2 in two parts */
    r = r - n * -2.12194440e-4f;
    p = r * (1.0f / 720.0f) + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * (vec)((__builtin_convertvector(n, ints) + 127) << 23);
}

/* 2 ** x by lanes for x <= 0; relative error under 2e-7 down to -120, and clamped there. */
LANES vec NAME(exp2)(vec x)
{
    vec shifted, f, p;
    x = NAME(larger)(x, NAME(splat)(-120.0f));
    shifted = x + 12582912.0f; /* the nearest integer is in the low bits */
    f = x - (shifted - 12582912.0f);
    p = f * 0.00132254012f + 0.00967566817f;
    p = p * f + 0.0555086403f;
    p = p * f + 0.240221306f;
    p = p * f + 0.693146923f;
    p = p * f + 1.0000000565f;
    return (vec)((ints)p + ((ints)shifted << 23));
}
