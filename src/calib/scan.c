#include "calib/scan.h"

#include <math.h>
#include <string.h>

#include "base/simd.h"

enum { LANES = Q8_SCAN_LANES };

const q8_extent q8_no_extent = {INT32_MAX, INT32_MIN};

int32_t q8_extent_key(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits ^ ((bits >> 31) & INT32_MAX);
}

float q8_extent_value(int32_t key)
{
    const int32_t bits = key ^ ((key >> 31) & INT32_MAX);
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x + 0.0f;
}

uint32_t q8_extent_abs_bits(q8_extent e)
{
    const int32_t lo = e.lo < 0 ? ~e.lo : e.lo;
    const int32_t hi = e.hi < 0 ? ~e.hi : e.hi;
    return (uint32_t)(lo > hi ? lo : hi);
}

void q8_extent_widen(q8_extent *e, q8_extent by)
{
    e->lo = by.lo < e->lo ? by.lo : e->lo;
    e->hi = by.hi > e->hi ? by.hi : e->hi;
}

static void start(q8_scan *scan)
{
    for (int i = 0; i < LANES; i++) {
        scan->lo[i] = q8_no_extent.lo;
        scan->hi[i] = q8_no_extent.hi;
        scan->sum[i] = 0;
    }
    scan->n_bins = 0;
}

/* A value of each of the first `n` lanes. */
static inline void add_row(q8_scan *scan, const float *x, int n)
{
    for (int i = 0; i < n; i++) {
        const int32_t key = q8_extent_key(x[i]);
        scan->lo[i] = key < scan->lo[i] ? key : scan->lo[i];
        scan->hi[i] = key > scan->hi[i] ? key : scan->hi[i];
        scan->sum[i] += x[i];
    }
}

/* A constant count becomes vector code. */
Q8_SIMD_CLONES
static void add_rows(q8_scan *scan, const float *x, size_t rows)
{
    for (size_t row = 0; row < rows; row++)
        add_row(scan, x + row * LANES, LANES);
}

/* Bins of what is not 0, behind those that are there. */
static void add_bins(q8_scan *scan, const float *x, size_t n, float scale, int32_t *bin)
{
    size_t count = scan->n_bins;
    for (size_t i = 0; i < n; i++) {
        const float at = fabsf(x[i]) * scale;
        bin[count] = at < 0x1p31f ? (int32_t)at : INT32_MIN;
        count += x[i] != 0;
    }
    scan->n_bins = count;
}

void q8_scan_values_plain(q8_scan *scan, const float *x, size_t n, float scale, int32_t *bin)
{
    start(scan);
    add_rows(scan, x, n / LANES);
    add_row(scan, x + n / LANES * LANES, (int)(n % LANES));
    add_bins(scan, x, n, scale, bin);
}

#ifdef Q8_SIMD_X86
/* Zeros, half of all values after a ReLU, are squeezed out in registers. */
__attribute__((target("avx512f"))) static void scan_avx512(q8_scan *scan, const float *x, size_t n,
                                                           float scale, int32_t *bin)
{
    const __m512 factor = _mm512_set1_ps(scale), zero = _mm512_setzero_ps();
    const __m512i no_sign = _mm512_set1_epi32(INT32_MAX);
    __m512i lo = _mm512_set1_epi32(INT32_MAX), hi = _mm512_set1_epi32(INT32_MIN);
    __m512 sum = zero;
    size_t count = 0, i = 0;
    for (; i + LANES <= n; i += LANES) {
        const __m512 v = _mm512_loadu_ps(x + i);
        const __m512i bits = _mm512_castps_si512(v);
        const __m512i key =
            _mm512_xor_si512(bits, _mm512_and_si512(_mm512_srai_epi32(bits, 31), no_sign));
        lo = _mm512_min_epi32(lo, key);
        hi = _mm512_max_epi32(hi, key);
        sum = _mm512_add_ps(sum, v);
        const __m512i at = _mm512_cvttps_epi32(_mm512_mul_ps(_mm512_abs_ps(v), factor));
        const __mmask16 some = _mm512_cmp_ps_mask(v, zero, _CMP_NEQ_UQ);
        /* Whole registers: storing only some lanes is slow on some processors. */
        _mm512_storeu_si512(bin + count, _mm512_maskz_compress_epi32(some, at));
        count += (size_t)__builtin_popcount(some);
    }
    _mm512_storeu_si512(scan->lo, lo);
    _mm512_storeu_si512(scan->hi, hi);
    _mm512_storeu_ps(scan->sum, sum);
    scan->n_bins = count;
    add_row(scan, x + i, (int)(n - i));
    add_bins(scan, x + i, n - i, scale, bin);
}
#endif

void q8_scan_values(q8_scan *scan, const float *x, size_t n, float scale, int32_t *bin)
{
#ifdef Q8_SIMD_X86
    if (__builtin_cpu_supports("avx512f")) {
        scan_avx512(scan, x, n, scale, bin);
        return;
    }
#endif
    q8_scan_values_plain(scan, x, n, scale, bin);
}
