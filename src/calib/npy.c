#include "calib/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"

enum {
    MAGIC = Q8_NPY_PROBE_BYTES,
    PIECE = 16384, /* bytes converted at once; a multiple of every type's size */
};

/** How an element is stored. */
struct q8_npy_type {
    const char *name; /* as the header writes it, behind the byte order */
    size_t size;
    float (*value)(uint64_t bits);
};

/* --- elements --------------------------------------------------------------------------------- */

static float float32_value(uint64_t bits)
{
    const uint32_t low = (uint32_t)bits;
    float value;
    memcpy(&value, &low, sizeof(value));
    return value;
}

static float float64_value(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return fabs(value) > (double)FLT_MAX ? copysignf(INFINITY, value < 0 ? -1 : 1) : (float)value;
}

static float uint8_value(uint64_t bits)
{
    return (float)bits;
}

static const struct q8_npy_type types[] = {
    {"f4", 4, float32_value},
    {"f8", 8, float64_value},
    {"u1", 1, uint8_value},
};

static uint64_t bits_at(const unsigned char *data, size_t size, bool big_endian)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < size; i++)
        bits |= (uint64_t)data[i] << 8 * (big_endian ? size - 1 - i : i);
    return bits;
}

/* --- the header's text, a Python dict --------------------------------------------------------- */

struct reader {
    const char *at;
    q8_npy *npy;
    bool has_type, has_order, has_shape;
    q8_err *err;
};

static q8_code fail(const q8_npy *npy, q8_code code, const char *what, q8_err *err)
{
    const q8_loc loc = {.file = npy->path};
    return q8_fail(err, code, &loc, NULL, "%s", what);
}

static q8_code fail_damaged(const q8_npy *npy, q8_err *err)
{
    return fail(npy, Q8_EFORMAT, "damaged .npy file: its header cannot be read", err);
}

static q8_code fail_truncated(const q8_npy *npy, q8_err *err)
{
    return fail(npy, Q8_EFORMAT, "truncated .npy file", err);
}

static void skip_space(struct reader *r)
{
    r->at += strspn(r->at, " \t\r\n");
}

static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (*r->at != c)
        return false;
    r->at++;
    return true;
}

static bool take_word(struct reader *r, const char *word)
{
    const size_t length = strlen(word);
    skip_space(r);
    if (strncmp(r->at, word, length) != 0)
        return false;
    r->at += length;
    return true;
}

/** 'text' or "text", without escapes. */
static bool take_string(struct reader *r, char *text, size_t size)
{
    skip_space(r);
    const char quote = *r->at;
    if (quote != '\'' && quote != '"')
        return false;
    const char *end = strchr(r->at + 1, quote);
    if (!end || (size_t)(end - r->at - 1) >= size)
        return false;
    const size_t length = (size_t)(end - r->at - 1);
    memcpy(text, r->at + 1, length);
    text[length] = 0;
    r->at = end + 1;
    return true;
}

static q8_code read_type(struct reader *r)
{
    char text[64] = "a structure";
    const q8_loc loc = {.file = r->npy->path};
    if (take_string(r, text, sizeof(text)) && text[0] && strchr("<>|=", text[0])) {
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
            if (strcmp(text + 1, types[i].name) != 0)
                continue;
            r->npy->type = &types[i];
            r->npy->big_endian = text[0] == '>';
            r->has_type = true;
            return Q8_OK;
        }
    }
    return q8_fail(r->err, Q8_EUNSUPPORTED, &loc, NULL,
                   "an .npy file of %s; only float32, float64 and uint8 can be read", text);
}

static q8_code read_order(struct reader *r)
{
    r->has_order = true;
    if (take_word(r, "False"))
        return Q8_OK;
    if (take_word(r, "True"))
        return fail(r->npy, Q8_EUNSUPPORTED,
                    "an .npy file in Fortran order; save numpy.ascontiguousarray() of the array",
                    r->err);
    return fail_damaged(r->npy, r->err);
}

static bool take_dim(struct reader *r, size_t *dim)
{
    char *end;
    skip_space(r);
    if (*r->at < '0' || *r->at > '9')
        return false;
    errno = 0;
    const unsigned long long value = strtoull(r->at, &end, 10);
    r->at = end;
    *dim = (size_t)value;
    return errno == 0 && value <= SIZE_MAX;
}

static q8_code read_shape(struct reader *r)
{
    q8_npy *npy = r->npy;
    r->has_shape = true;
    npy->count = 1;
    if (!take(r, '('))
        return fail_damaged(npy, r->err);
    while (!take(r, ')')) {
        size_t dim;
        if (!take_dim(r, &dim) || __builtin_mul_overflow(npy->count, dim, &npy->count))
            return fail_damaged(npy, r->err);
        if (npy->n_dim == Q8_NPY_MAX_DIMS)
            return fail(npy, Q8_EUNSUPPORTED, "an .npy file of more than 8 dimensions", r->err);
        npy->dim[npy->n_dim++] = dim;
        if (!take(r, ',')) {
            if (take(r, ')'))
                return Q8_OK;
            return fail_damaged(npy, r->err);
        }
    }
    return Q8_OK;
}

static q8_code read_item(struct reader *r)
{
    char key[32];
    if (!take_string(r, key, sizeof(key)) || !take(r, ':'))
        return fail_damaged(r->npy, r->err);
    if (strcmp(key, "descr") == 0 && !r->has_type)
        return read_type(r);
    if (strcmp(key, "fortran_order") == 0 && !r->has_order)
        return read_order(r);
    if (strcmp(key, "shape") == 0 && !r->has_shape)
        return read_shape(r);
    return fail_damaged(r->npy, r->err);
}

static q8_code read_text(q8_npy *npy, const char *text, q8_err *err)
{
    struct reader r = {.at = text, .npy = npy, .err = err};
    q8_code code = take(&r, '{') ? Q8_OK : fail_damaged(npy, err);
    while (code == Q8_OK && !take(&r, '}')) {
        code = read_item(&r);
        if (code == Q8_OK && !take(&r, ',') && *r.at != '}')
            code = fail_damaged(npy, err);
    }
    if (code == Q8_OK && !(r.has_type && r.has_order && r.has_shape))
        code = fail_damaged(npy, err);
    return code;
}

/* --- the file --------------------------------------------------------------------------------- */

bool q8_npy_probe(const unsigned char *data, size_t size)
{
    return size >= MAGIC && memcmp(data, "\x93NUMPY", MAGIC) == 0;
}

/** All `size` bytes at `at`, or an error. */
static q8_code read_at(const q8_npy *npy, void *data, size_t size, size_t at, q8_err *err)
{
    const ssize_t n = q8_file_read_at(npy->fd, data, size, at);
    if (n < 0)
        return q8_fail_errno(err, npy->path, "read");
    return (size_t)n == size ? Q8_OK : fail_truncated(npy, err);
}

/** Where the header's text is: its length takes 2 bytes in version 1, 4 in later ones. */
static q8_code find_text(q8_npy *npy, size_t *at, size_t *size, q8_err *err)
{
    unsigned char start[12];
    const ssize_t n = q8_file_read_at(npy->fd, start, sizeof(start), 0);
    if (n < 0)
        return q8_fail_errno(err, npy->path, "read");
    if (!q8_npy_probe(start, (size_t)n))
        return fail(npy, Q8_EFORMAT, "not an .npy file", err);
    if ((size_t)n < sizeof(start))
        return fail_truncated(npy, err);
    const int version = start[6];
    if (version < 1 || version > 3)
        return fail(npy, Q8_EUNSUPPORTED, "an .npy file of an unknown version", err);
    const int bytes = version == 1 ? 2 : 4;
    *at = MAGIC + 2 + (size_t)bytes;
    *size = (size_t)bits_at(start + MAGIC + 2, (size_t)bytes, false);
    if (*size <= Q8_MAX_NPY_HEADER)
        return Q8_OK;
    return fail(npy, Q8_EFORMAT,
                "an .npy file with a longer header than Q8_MAX_NPY_HEADER in src/base/limits.h",
                err);
}

static q8_code read_header(q8_npy *npy, q8_err *err)
{
    size_t at = 0, size = 0;
    q8_code code = find_text(npy, &at, &size, err);
    if (code != Q8_OK)
        return code;
    char *text = malloc(size + 1);
    if (!text)
        return q8_fail_nomem(err);
    code = read_at(npy, text, size, at, err);
    text[size] = 0;
    if (code == Q8_OK)
        code = read_text(npy, text, err);
    free(text);
    npy->start = at + size;
    return code;
}

static q8_code check_length(const q8_npy *npy, size_t file_size, q8_err *err)
{
    size_t bytes;
    if (__builtin_mul_overflow(npy->count, npy->type->size, &bytes) || file_size < npy->start ||
        bytes > file_size - npy->start)
        return fail_truncated(npy, err);
    return Q8_OK;
}

q8_code q8_npy_open(q8_npy *npy, const char *path, q8_err *err)
{
    struct stat st;
    *npy = (q8_npy){.path = path, .fd = q8_file_open(path, O_RDONLY, 0)};
    if (npy->fd < 0)
        return q8_fail_errno(err, path, "open");
    q8_code code = fstat(npy->fd, &st) == 0 ? Q8_OK : q8_fail_errno(err, path, "read");
    if (code == Q8_OK && !S_ISREG(st.st_mode))
        code = fail(npy, Q8_EIO, "not a file", err);
    if (code == Q8_OK)
        code = read_header(npy, err);
    if (code == Q8_OK)
        code = check_length(npy, (size_t)st.st_size, err);
    if (code != Q8_OK)
        q8_npy_close(npy);
    return code;
}

q8_code q8_npy_read(const q8_npy *npy, size_t first, size_t count, float *out, q8_err *err)
{
    unsigned char piece[PIECE];
    const size_t size = npy->type->size;
    size_t at = npy->start + first * size;
    while (count > 0) {
        const size_t n = count < PIECE / size ? count : PIECE / size;
        const q8_code code = read_at(npy, piece, n * size, at, err);
        if (code != Q8_OK)
            return code;
        for (size_t i = 0; i < n; i++)
            *out++ = npy->type->value(bits_at(piece + i * size, size, npy->big_endian));
        at += n * size;
        count -= n;
    }
    return Q8_OK;
}

void q8_npy_close(q8_npy *npy)
{
    if (npy->fd >= 0)
        close(npy->fd);
    npy->fd = -1;
}
