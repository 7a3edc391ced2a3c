/**
 * Loops compiled for several x86 levels, the best chosen at load time. Only for static functions,
 * and of different names throughout the library: clang makes their resolvers public.
 */
#ifndef Q8_BASE_SIMD_H
#define Q8_BASE_SIMD_H

#include <stdint.h> /* __GLIBC__, which any of its headers defines */

/* Needs glibc's indirect functions, and those crash at load under gcc's thread sanitizer. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute) &&                       \
    !defined(__SANITIZE_THREAD__)
#if __has_attribute(target_clones)
#define Q8_SIMD_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#endif
#ifndef Q8_SIMD_CLONES
#define Q8_SIMD_CLONES
#endif

/* Where a compiler's vector code is not good enough: functions in intrinsics for one level, chosen
 * by __builtin_cpu_supports(), with a plain version that gives the same. */
#if defined(__x86_64__) && defined(__GNUC__)
#define Q8_SIMD_X86
#include <immintrin.h>
#endif

#endif
