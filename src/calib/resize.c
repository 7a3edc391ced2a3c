/**
 * Bilinear resizing in ncnn's fixed point: weights of 11 bits, rows resized horizontally to 16 bits
 * (4 fractional ones dropped, 7 left), then mixed vertically. ncnn's plain, SSE2 and NEON code all
 * give these bits.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "calib/picture.h"

enum { WEIGHT_ONE = 1 << 11 };

/** For one output coordinate: two source coordinates, the same where there is but one, and their
 *  weights. */
struct tap {
    int at[2];
    short weight[2];
};

/** A source row resized horizontally, kept because the next output row often needs it again. */
struct row {
    short *v;
    int y; /**< of the source; -1: none yet */
};

struct resizer {
    const unsigned char *src;
    const struct tap *taps; /**< of x */
    int src_w, dst_w, channels;
    struct row row[2];
};

/** Positions in double, the fraction in float, weights rounded apart: they may add up to one more
 *  than WEIGHT_ONE. */
static void fill_taps(struct tap *taps, int n_src, long long n_full, long long first, int n)
{
    const double scale = (double)n_src / (double)n_full;
    for (int i = 0; i < n; i++) {
        float fraction = (float)(((double)(first + i) + 0.5) * scale - 0.5);
        int at = (int)floorf(fraction);
        fraction -= (float)at;
        if (at < 0) {
            at = 0;
            fraction = 0;
        }
        if (at >= n_src - 1) {
            at = n_src - 2;
            fraction = 1;
        }
        taps[i].at[0] = at < 0 ? 0 : at; /* a source of one pixel: its weight is 0 here */
        taps[i].at[1] = at + 1;
        taps[i].weight[0] = (short)((1 - fraction) * WEIGHT_ONE + 0.5f);
        taps[i].weight[1] = (short)(fraction * WEIGHT_ONE + 0.5f);
    }
}

/** Inlined with a constant number of channels. */
static inline __attribute__((always_inline)) void
resize_row_of(const struct tap *taps, const unsigned char *src, short *dst, int width, int channels)
{
    for (int x = 0; x < width; x++, dst += channels) {
        const struct tap *t = &taps[x];
        const unsigned char *a = src + (size_t)t->at[0] * (size_t)channels;
        const unsigned char *b = src + (size_t)t->at[1] * (size_t)channels;
        for (int c = 0; c < channels; c++)
            dst[c] = (short)((a[c] * t->weight[0] + b[c] * t->weight[1]) >> 4);
    }
}

#ifdef Q8_SIMD_X86
/* Two pixels that lie together, of 3 channels, in one register. 8 bytes are read of their 6, and of
 * a result 8 written of 6: not for the last pixels of a row. */
__attribute__((target("ssse3"))) static void
resize_pixels_ssse3(const struct tap *taps, const unsigned char *src, short *dst, int n)
{
    const __m128i pairs = _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    for (int x = 0; x < n; x++, dst += 3) {
        const void *from = src + (size_t)taps[x].at[0] * 3;
        int weights;
        memcpy(&weights, taps[x].weight, sizeof(weights));
        const __m128i pixels = _mm_shuffle_epi8(_mm_loadl_epi64(from), pairs);
        const __m128i sums = _mm_madd_epi16(pixels, _mm_set1_epi32(weights));
        const __m128i rounded = _mm_srai_epi32(sums, 4);
        _mm_storel_epi64((__m128i *)(void *)dst, _mm_packs_epi32(rounded, rounded));
    }
}
#endif

/** Of 3 channels. */
static void resize_pixels(const struct resizer *r, const unsigned char *src, short *dst)
{
    int done = 0;
#ifdef Q8_SIMD_X86
    if (__builtin_cpu_supports("ssse3")) {
        done = r->dst_w - 1; /* the places that are read from do not fall */
        while (done > 0 && r->taps[done - 1].at[0] + 3 > r->src_w)
            done--;
        resize_pixels_ssse3(r->taps, src, dst, done);
    }
#endif
    resize_row_of(r->taps + done, src, dst + (size_t)done * 3, r->dst_w - done, 3);
}

static void resize_row(const struct resizer *r, struct row *row, int y)
{
    const size_t stride = (size_t)r->src_w * (size_t)r->channels;
    const unsigned char *src = r->src + (size_t)y * stride;
    switch (r->channels) {
    case 1:
        resize_row_of(r->taps, src, row->v, r->dst_w, 1);
        break;
    case 3:
        resize_pixels(r, src, row->v);
        break;
    default:
        resize_row_of(r->taps, src, row->v, r->dst_w, 4);
        break;
    }
    row->y = y;
}

/** Each product loses its low 16 bits before they are added, as ncnn's SIMD does it. */
Q8_SIMD_CLONES
static void mix_rows(const short *restrict a, const short *restrict b, const short *weight,
                     unsigned char *restrict dst, size_t n)
{
    const short wa = weight[0], wb = weight[1];
    for (size_t i = 0; i < n; i++) {
        const short high_a = (short)((a[i] * wa) >> 16);
        const short high_b = (short)((b[i] * wb) >> 16);
        dst[i] = (unsigned char)((short)(high_a + high_b + 2) >> 2);
    }
}

/** Has the two source rows of an output row ready, making only those that are not there. */
static void fetch_rows(struct resizer *r, const struct tap *t)
{
    if (r->row[0].y != t->at[0] && r->row[1].y == t->at[0]) {
        const struct row swap = r->row[0];
        r->row[0] = r->row[1];
        r->row[1] = swap;
    }
    for (int k = 0; k < 2; k++) {
        if (r->row[k].y != t->at[k])
            resize_row(r, &r->row[k], t->at[k]);
    }
}

static bool is_size(int width, int height)
{
    return width > 0 && height > 0 && (size_t)width <= Q8_MAX_PIXELS / (size_t)height;
}

/** Is [first, first + n) within [0, full)? */
static bool is_within(long long first, int n, long long full)
{
    return first >= 0 && full >= n && first <= full - n;
}

q8_code q8_resize_bilinear(const unsigned char *src, int src_w, int src_h, unsigned char *dst,
                           const q8_window *window, int channels, q8_err *err)
{
    const int dst_w = window->width, dst_h = window->height;
    if (!is_size(src_w, src_h) || !is_size(dst_w, dst_h))
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "cannot resize %d x %d pixels to %d x %d", src_w,
                       src_h, dst_w, dst_h);
    if (!is_within(window->x, dst_w, window->full_width) ||
        !is_within(window->y, dst_h, window->full_height))
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "%d x %d pixels do not lie within %lld x %lld",
                       dst_w, dst_h, window->full_width, window->full_height);
    if (channels != 1 && channels != 3 && channels != 4)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "cannot resize pixels of %d channels", channels);

    const size_t n = (size_t)dst_w * (size_t)channels;
    struct tap *taps = malloc(((size_t)dst_w + (size_t)dst_h) * sizeof(*taps));
    short *rows = malloc(2 * n * sizeof(*rows));
    q8_code code = taps && rows ? Q8_OK : q8_fail_nomem(err);
    if (code == Q8_OK) {
        struct tap *const taps_y = taps + dst_w;
        struct resizer r = {src, taps, src_w, dst_w, channels, {{rows, -1}, {rows + n, -1}}};
        fill_taps(taps, src_w, window->full_width, window->x, dst_w);
        fill_taps(taps_y, src_h, window->full_height, window->y, dst_h);
        for (int y = 0; y < dst_h; y++) {
            fetch_rows(&r, &taps_y[y]);
            mix_rows(r.row[0].v, r.row[1].v, taps_y[y].weight, dst + (size_t)y * n, n);
        }
    }
    free(rows);
    free(taps);
    return code;
}
