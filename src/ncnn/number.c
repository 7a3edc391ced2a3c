#include "ncnn/number.h"

#include <float.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FLOAT_DIGITS = 9,  /* enough to tell any two floats apart */
    MAX_EXPONENT = 99, /* of a text; more than any float needs */
};

/* --- reading ---------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool q8_ncnn_parse_int(const char *text, size_t size, int *value)
{
    const bool negative = size && text[0] == '-';
    size_t i = size && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    if (i == size || size >= Q8_NCNN_VALUE_SIZE)
        return false;
    int64_t sum = 0; /* 15 digits at most: no overflow */
    for (; i < size; i++) {
        if (!is_digit(text[i]))
            return false;
        sum = sum * 10 + (text[i] - '0');
    }
    if (negative)
        sum = -sum;
    if (sum < INT_MIN || sum > INT_MAX)
        return false;
    *value = (int)sum;
    return true;
}

bool q8_ncnn_is_float(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] == '.' || text[i] == 'e' || text[i] == 'E')
            return true;
    return false;
}

struct digits {
    uint32_t value, power; /* power: 10^count */
    int count;
    bool overflow; /* of `value`, which wraps in ncnn */
};

static struct digits take_digits(const char **p, const char *end)
{
    struct digits d = {.power = 1};
    uint64_t value = 0;
    for (; *p < end && is_digit(**p); (*p)++, d.count++) {
        value = value * 10 + (uint64_t)(**p - '0');
        d.overflow = d.overflow || value > UINT32_MAX;
        value &= UINT32_MAX;
        d.power *= 10;
    }
    d.value = (uint32_t)value;
    return d;
}

/* True when the sign was a minus. */
static bool take_sign(const char **p, const char *end)
{
    const bool minus = *p < end && **p == '-';
    if (*p < end && (**p == '-' || **p == '+'))
        (*p)++;
    return minus;
}

/* 10^exponent, rounded as ncnn rounds it: eight powers at a time, then one by one. */
static double power_of_ten(uint32_t exponent)
{
    double scale = 1.0;
    for (; exponent >= 8; exponent -= 8)
        scale *= 1e8;
    for (; exponent > 0; exponent--)
        scale *= 10.0;
    return scale;
}

bool q8_ncnn_parse_float(const char *text, size_t size, float *value)
{
    const char *p = text, *const end = text + size;
    if (size >= Q8_NCNN_VALUE_SIZE)
        return false;
    const bool negative = take_sign(&p, end);
    const struct digits whole = take_digits(&p, end);
    struct digits part = {.power = 1};
    if (p < end && *p == '.') {
        p++;
        part = take_digits(&p, end);
    }
    /* 10^9 is the last power of ten that ncnn's counter holds. */
    if (whole.count + part.count == 0 || whole.overflow || part.overflow || part.count > 9)
        return false;
    double v = (double)whole.value + (double)part.value / (double)part.power;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        const bool divide = take_sign(&p, end);
        const struct digits exponent = take_digits(&p, end);
        if (exponent.count == 0 || exponent.overflow || exponent.value > MAX_EXPONENT)
            return false;
        const double scale = power_of_ten(exponent.value);
        v = divide ? v / scale : v * scale;
    }
    const double half_ulp = (double)FLT_MAX * (FLT_EPSILON / 4);
    if (p != end || v >= (double)FLT_MAX + half_ulp)
        return false;
    *value = (float)(negative ? -v : v);
    return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A float in decimal: d.ddd * 10^exponent. */
struct decimal {
    bool negative;
    char digit[FLOAT_DIGITS + 1];
    int count, exponent;
};

static struct decimal to_decimal(float value, int count)
{
    char text[64];
    struct decimal d = {.negative = __builtin_signbit(value)};
    snprintf(text, sizeof(text), "%.*e", count - 1, (double)value);
    const char *p = text;
    for (; *p && *p != 'e'; p++) /* skips the point, which the locale may have made a comma */
        if (is_digit(*p) && d.count < FLOAT_DIGITS)
            d.digit[d.count++] = *p;
    d.exponent = *p ? atoi(p + 1) : 0;
    return d;
}

/* 0.00123, 12.0: the length, or one too large for ncnn. */
static int layout_plain(const struct decimal *d, char *text, size_t size)
{
    const char *const sign = d->negative ? "-" : "";
    if (d->exponent < -5 || d->exponent > 6)
        return Q8_NCNN_VALUE_SIZE;
    if (d->exponent < 0)
        return snprintf(text, size, "%s0.%.*s%s", sign, -d->exponent - 1, "0000", d->digit);
    const int whole = d->exponent + 1;
    if (d->count > whole)
        return snprintf(text, size, "%s%.*s.%s", sign, whole, d->digit, d->digit + whole);
    return snprintf(text, size, "%s%s%.*s.0", sign, d->digit, whole - d->count, "000000");
}

/* 1.23e-07 */
static int layout_exponent(const struct decimal *d, char *text, size_t size)
{
    return snprintf(text, size, "%s%c%s%se%c%02d", d->negative ? "-" : "", d->digit[0],
                    d->count > 1 ? "." : "", d->digit + 1, d->exponent < 0 ? '-' : '+',
                    abs(d->exponent));
}

void q8_ncnn_format_float(float value, char text[Q8_NCNN_VALUE_SIZE])
{
    for (int count = 1; count <= FLOAT_DIGITS; count++) {
        const struct decimal d = to_decimal(value, count);
        for (int form = 0; form < 2; form++) {
            const int length = form == 0 ? layout_plain(&d, text, Q8_NCNN_VALUE_SIZE)
                                         : layout_exponent(&d, text, Q8_NCNN_VALUE_SIZE);
            float back;
            if (length > 0 && length < Q8_NCNN_VALUE_SIZE &&
                q8_ncnn_parse_float(text, (size_t)length, &back) &&
                memcmp(&back, &value, sizeof(value)) == 0)
                return;
        }
    }
}
