/* Which instructions functions may be compiled for beside those that every machine has; chosen at run time. */
#ifndef VGM_INSTRUCTIONS_H
#define VGM_INSTRUCTIONS_H

#if !defined(__GNUC__)
#error "libvgm is written with the compiler's vectors: GCC or Clang (on Windows clang-cl) is needed"
#endif

#if (defined(__x86_64__) || defined(__i386__)) && !defined(VGM_GENERIC_ONLY)
#define VGM_HAVE_AVX2 1
#else
#define VGM_HAVE_AVX2 0
#endif

#endif
