#include "calib/scan.h"

#include <math.h>
#include <string.h>

#include "base/simd.h"

enum { LANES = Q8_SCAN_LANES, AHEAD = 16 };

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

void q8_scan_rows_plain(q8_scan *scan, const float *x, size_t rows, size_t step, int lanes,
                        float scale, int32_t *bin)
{
    start(scan);
    for (size_t row = 0; row < rows; row++) {
        add_row(scan, x + row * step, lanes);
        add_bins(scan, x + row * step, (size_t)lanes, scale, bin);
    }
}

#ifdef Q8_SIMD_X86
/* Where a scan has come to. */
struct vectors {
    __m512i lo, hi;
    __m512 sum;
    size_t n_bins;
};

/* Zeros, half of all values after a ReLU, are squeezed out in registers. */
__attribute__((target("avx512f"), always_inline)) static inline void
add_vector(struct vectors *v, const float *x, __mmask16 lanes, __m512 factor, int32_t *bin)
{
    const __m512 value = _mm512_maskz_loadu_ps(lanes, x);
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i no_sign = _mm512_set1_epi32(INT32_MAX);
    const __m512i key =
        _mm512_xor_si512(bits, _mm512_and_si512(_mm512_srai_epi32(bits, 31), no_sign));
    v->lo = _mm512_mask_min_epi32(v->lo, lanes, v->lo, key);
    v->hi = _mm512_mask_max_epi32(v->hi, lanes, v->hi, key);
    v->sum = _mm512_add_ps(v->sum, value);
    const __m512i at = _mm512_cvttps_epi32(_mm512_mul_ps(_mm512_abs_ps(value), factor));
    const __mmask16 some = _mm512_cmp_ps_mask(value, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    /* Whole registers: storing only some lanes is slow on some processors. */
    _mm512_storeu_si512(bin + v->n_bins, _mm512_maskz_compress_epi32(some, at));
    v->n_bins += (size_t)__builtin_popcount(some);
}

/* Rows, and then a shorter one of `last`, which may be 0. */
__attribute__((target("avx512f"))) static void scan_avx512(q8_scan *scan, const float *x,
                                                           size_t rows, size_t step, int lanes,
                                                           int last, float scale, int32_t *bin)
{
    const __m512 factor = _mm512_set1_ps(scale);
    const __mmask16 mask = (__mmask16)((1U << lanes) - 1);
    struct vectors v = {_mm512_set1_epi32(q8_no_extent.lo), _mm512_set1_epi32(q8_no_extent.hi),
                        _mm512_setzero_ps(), 0};
    for (size_t row = 0; row < rows; row++) {
        /* Rows are too far apart for the processor to guess the next. */
        if (step > LANES)
            _mm_prefetch((const char *)(x + (row + AHEAD) * step), _MM_HINT_T0);
        add_vector(&v, x + row * step, mask, factor, bin);
    }
    if (last > 0)
        add_vector(&v, x + rows * step, (__mmask16)((1U << last) - 1), factor, bin);
    _mm512_storeu_si512(scan->lo, v.lo);
    _mm512_storeu_si512(scan->hi, v.hi);
    _mm512_storeu_ps(scan->sum, v.sum);
    scan->n_bins = v.n_bins;
}
#endif

void q8_scan_values(q8_scan *scan, const float *x, size_t n, float scale, int32_t *bin)
{
#ifdef Q8_SIMD_X86
    if (__builtin_cpu_supports("avx512f")) {
        scan_avx512(scan, x, n / LANES, LANES, LANES, (int)(n % LANES), scale, bin);
        return;
    }
#endif
    q8_scan_values_plain(scan, x, n, scale, bin);
}

void q8_scan_rows(q8_scan *scan, const float *x, size_t rows, size_t step, int lanes, float scale,
                  int32_t *bin)
{
#ifdef Q8_SIMD_X86
    if (__builtin_cpu_supports("avx512f")) {
        scan_avx512(scan, x, rows, step, lanes, 0, scale, bin);
        return;
    }
#endif
    q8_scan_rows_plain(scan, x, rows, step, lanes, scale, bin);
}
