/* Which instructions functions may be compiled for beside those that every machine has; chosen at run time. */
#ifndef VGM_INSTRUCTIONS_H
#define VGM_INSTRUCTIONS_H

#if !defined(__GNUC__)
#error "libvgm is written with the compiler's vectors: GCC or Clang (on Windows clang-cl) is needed"
#endif

#ifndef VGM_INSTRUCTIONS /* the most that may be used: 0 none, 1 AVX2, 2 AVX-512 */
#define VGM_INSTRUCTIONS 2
#endif

#if defined(__x86_64__) || defined(__i386__)
#define VGM_HAVE_AVX2 (VGM_INSTRUCTIONS >= 1)
#define VGM_HAVE_AVX512 (VGM_INSTRUCTIONS >= 2)
#else
#define VGM_HAVE_AVX2 0
#define VGM_HAVE_AVX512 0
#endif

#if VGM_HAVE_AVX512
static inline int vgm_has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw");
}
#endif

#endif
