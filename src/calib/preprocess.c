#include "calib/preprocess.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/simd.h"
#include "calib/mean.h"

/* --- options ---------------------------------------------------------------------------------- */

/** How many values an option has must fit the channels. */
static q8_code check_count(const q8_loc *loc, const char *what, int n, int channels, q8_err *err)
{
    if (n == 0 || n == 1 || n == channels)
        return Q8_OK;
    return q8_fail(err, Q8_EINVAL, loc, NULL, "%s has %d values but the input has %d channel%s",
                   what, n, channels, channels == 1 ? "" : "s");
}

static q8_code check(const q8_prep *prep, const q8_preprocess *pre, q8_err *err)
{
    const int channels = prep->channels, width = prep->width, height = prep->height;
    if (channels != 1 && channels != 3)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "the input has %d channels, pictures give 1 (gray) or 3", channels);
    if (height <= 0 || width <= 0)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "a picture cannot become an input of %d x %d",
                       width, height);
    if ((size_t)width > Q8_MAX_PIXELS / (size_t)height)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "an input of %d x %d pixels; " Q8_LIMIT, width,
                       height, Q8_LIMIT_OF(Q8_MAX_PIXELS));
    if (pre->pixel == Q8_PIXEL_GRAY && channels == 3)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "gray pixels but the input has 3 channels");
    if ((pre->pixel == Q8_PIXEL_BGR || pre->pixel == Q8_PIXEL_RGB) && channels == 1)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "%s pixels but the input has 1 channel",
                       pre->pixel == Q8_PIXEL_BGR ? "bgr" : "rgb");
    if (pre->n_mean && pre->mean_file)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "both values and a file given for the mean");
    return Q8_OK;
}

/** Each channel its value of a list of one or all. */
static void spread(float *to, const float *from, int n, int channels)
{
    for (int c = 0; c < channels; c++)
        to[c] = from[n == 1 ? 0 : c];
}

static q8_code set_mean(q8_prep *prep, const q8_loc *loc, const char *what, const float *mean,
                        int n, q8_err *err)
{
    const q8_code code = check_count(loc, what, n, prep->channels, err);
    if (code == Q8_OK)
        spread(prep->mean, mean, n, prep->channels);
    return code;
}

/* --- the mean's file -------------------------------------------------------------------------- */

/** The middle of a mean picture, as large as the input. */
static q8_code crop_mean(q8_prep *prep, const q8_mean *mean, q8_arena *arena, q8_err *err)
{
    const size_t n = (size_t)prep->width * (size_t)prep->height;
    float *plane = q8_arena_array(arena, n * (size_t)prep->channels, sizeof(*plane));
    if (!plane)
        return q8_fail_nomem(err);
    prep->mean_plane = plane;
    const size_t x = (size_t)(mean->width - prep->width) / 2;
    const size_t y = (size_t)(mean->height - prep->height) / 2;
    for (int c = 0; c < prep->channels; c++) {
        const float *from = mean->data + (size_t)c * (size_t)mean->height * (size_t)mean->width;
        for (int row = 0; row < prep->height; row++, plane += prep->width)
            memcpy(plane, from + (y + (size_t)row) * (size_t)mean->width + x,
                   (size_t)prep->width * sizeof(*plane));
    }
    return Q8_OK;
}

static q8_code set_mean_file(q8_prep *prep, const char *path, q8_arena *arena, const q8_env *env,
                             q8_err *err)
{
    q8_mean mean;
    const q8_loc loc = {.file = path};
    const q8_code code = q8_mean_read(&mean, path, arena, err);
    if (code != Q8_OK)
        return code;
    if (mean.height == 1 && mean.width == 1)
        return set_mean(prep, &loc, "the mean", mean.data, mean.channels, err);
    if (mean.channels != prep->channels)
        return q8_fail(err, Q8_EINVAL, &loc, NULL,
                       "the mean has %d channel%s (of %d x %d) but the input has %d", mean.channels,
                       mean.channels == 1 ? "" : "s", mean.width, mean.height, prep->channels);
    if (mean.width < prep->width || mean.height < prep->height)
        return q8_fail(err, Q8_EINVAL, &loc, NULL,
                       "the mean is of %d x %d, smaller than the input of %d x %d", mean.width,
                       mean.height, prep->width, prep->height);
    if (mean.width != prep->width || mean.height != prep->height)
        q8_note(env, &loc, NULL, "only the middle %d x %d of the mean's %d x %d are used",
                prep->width, prep->height, mean.width, mean.height);
    return crop_mean(prep, &mean, arena, err);
}

/* --- the prototxt's transform_param ----------------------------------------------------------- */

/** `name` as seen from the folder that the prototxt is in. */
static const char *beside(const char *proto, const char *name, q8_arena *arena)
{
    const char *slash = proto ? strrchr(proto, '/') : NULL;
    if (name[0] == '/' || !slash)
        return q8_arena_strdup(arena, name);
    return q8_arena_printf(arena, "%.*s%s", (int)(slash + 1 - proto), proto, name);
}

static q8_code set_model_mean_file(q8_prep *prep, const q8_caffe_transform *t, q8_arena *arena,
                                   const q8_env *env, q8_err *err)
{
    const char *path = beside(t->loc.file, t->mean_file, arena);
    if (!path)
        return q8_fail_nomem(err);
    if (access(path, R_OK) != 0)
        return q8_fail(err, Q8_EIO, &t->loc, NULL,
                       "mean_file '%s': there is no %s; give the mean with --mean", t->mean_file,
                       path);
    return set_mean_file(prep, path, arena, env, err);
}

/** Says in one line what was taken from the prototxt. */
static void say_taken(const q8_caffe_transform *t, bool mean, bool norm, const q8_env *env)
{
    q8_buf text = {0};
    if (mean && t->mean_file)
        q8_buf_printf(&text, "mean %s", t->mean_file);
    else if (mean)
        q8_buf_printf(&text, "mean");
    for (int i = 0; mean && !t->mean_file && i < t->n_mean; i++)
        q8_buf_printf(&text, " %g", (double)t->mean[i]);
    if (norm)
        q8_buf_printf(&text, "%snorm %g", mean ? ", " : "", (double)t->scale);
    if (text.size && !text.failed)
        q8_note(env, &t->loc, NULL, "taken from transform_param: %s", (const char *)text.data);
    q8_buf_free(&text);
}

static q8_code take_from_model(q8_prep *prep, const q8_preprocess *pre, const q8_caffe_transform *t,
                               q8_arena *arena, const q8_env *env, q8_err *err)
{
    q8_code code = Q8_OK;
    const bool mean = !pre->n_mean && !pre->mean_file && (t->n_mean || t->mean_file);
    const bool norm = !pre->n_norm && t->scale != 1;
    if (mean && t->n_mean && t->mean_file)
        return q8_fail(
            err, Q8_EMODEL, &t->loc, NULL,
            "mean_file and mean_value cannot both be given; say with --mean what counts");
    if (mean && t->mean_file)
        code = set_model_mean_file(prep, t, arena, env, err);
    else if (mean)
        code = set_mean(prep, &t->loc, "mean_value", t->mean, t->n_mean, err);
    if (norm)
        spread(prep->norm, &t->scale, 1, prep->channels);
    if (code == Q8_OK)
        say_taken(t, mean, norm, env);
    return code;
}

q8_code q8_prep_open(q8_prep *prep, const q8_preprocess *pre, const q8_caffe_transform *transform,
                     const q8_shape *shape, q8_arena *arena, const q8_env *env, q8_err *err)
{
    *prep = (q8_prep){
        .channels = shape->dim[0],
        .height = shape->dim[1],
        .width = shape->dim[2],
        .rgb = pre->pixel == Q8_PIXEL_RGB,
        .resize = pre->resize == Q8_RESIZE_AUTO ? Q8_RESIZE_STRETCH : (int)pre->resize,
        .norm = {1, 1, 1, 1},
    };
    q8_code code = check(prep, pre, err);
    if (code == Q8_OK)
        code = check_count(NULL, "norm", pre->n_norm, prep->channels, err);
    if (code == Q8_OK && pre->n_norm)
        spread(prep->norm, pre->norm, pre->n_norm, prep->channels);
    if (code == Q8_OK && pre->n_mean)
        code = set_mean(prep, NULL, "mean", pre->mean, pre->n_mean, err);
    if (code == Q8_OK && pre->mean_file)
        code = set_mean_file(prep, pre->mean_file, arena, env, err);
    if (code == Q8_OK && transform && transform->found)
        code = take_from_model(prep, pre, transform, arena, env, err);
    return code;
}

const q8_caffe_transform *q8_prep_transform(const q8_caffe_transform *transform, const char *input)
{
    const bool is_about = transform && (!transform->input || strcmp(transform->input, input) == 0);
    return is_about ? transform : NULL;
}

/* --- its identity ----------------------------------------------------------------------------- */

q8_prep_id q8_prep_identify(const q8_prep *prep)
{
    q8_prep_id id = {
        .pictures = true, .channels = prep->channels, .rgb = prep->rgb, .resize = prep->resize};
    const size_t values = (size_t)prep->channels * (size_t)prep->height * (size_t)prep->width;
    memcpy(id.mean, prep->mean, sizeof(id.mean));
    memcpy(id.norm, prep->norm, sizeof(id.norm));
    if (prep->mean_plane) {
        memset(id.mean, 0, sizeof(id.mean));
        id.mean_plane = q8_hash(0, prep->mean_plane, values * sizeof(*prep->mean_plane));
    }
    return id;
}

static bool are_equal(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

bool q8_prep_id_agree(const q8_prep_id *a, const q8_prep_id *b)
{
    if (!a->pictures || !b->pictures)
        return true;
    return a->rgb == b->rgb && a->resize == b->resize && a->mean_plane == b->mean_plane &&
           are_equal(a->mean, b->mean, 4) && are_equal(a->norm, b->norm, 4);
}

/* As short as a text can be that is read as this number. @return characters */
static int add_number(char *text, size_t size, float x)
{
    int digits = 6, used;
    do
        used = snprintf(text, size, " %.*g", digits, (double)x);
    while (++digits <= 9 && strtof(text, NULL) != x);
    return used;
}

/* Values by channel, once if they are all the same. @return characters */
static int add_values(char *text, size_t size, const char *what, const float *value, int n)
{
    int used = snprintf(text, size, "%s", what);
    bool same = true;
    for (int c = 1; c < n; c++)
        same = same && value[c] == value[0];
    for (int c = 0; c < (same ? 1 : n); c++)
        used += add_number(text + used, size - (size_t)used, value[c]);
    return used;
}

const char *q8_prep_id_text(const q8_prep_id *id, char buf[256])
{
    enum { SIZE = 256 }; /* four values of 16 characters, twice, leave room */
    static const char *const resize[] = {"stretch", "stretch", "crop", "letterbox"};
    int used = 0;
    if (!id->pictures)
        return strcpy(buf, "tensors as they are");
    if (id->mean_plane)
        used +=
            snprintf(buf, SIZE, "a mean by pixel (%016llx)", (unsigned long long)id->mean_plane);
    else
        used += add_values(buf, SIZE, "mean", id->mean, id->channels);
    used += add_values(buf + used, SIZE - (size_t)used, ", norm", id->norm, id->channels);
    snprintf(buf + used, SIZE - (size_t)used, ", %s, %s",
             id->channels == 1 ? "gray"
             : id->rgb         ? "rgb"
                               : "bgr",
             resize[id->resize]);
    return buf;
}

/* --- one picture ------------------------------------------------------------------------------ */

/** Which window of the scaled picture goes to which place of the input. */
struct placement {
    q8_window window;
    int x, y;
};

/** a * b / c to the nearest, at least 1. */
static long long scaled(long long a, long long b, long long c)
{
    const long long rounded = (2 * a * b + c) / (2 * c);
    return rounded > 0 ? rounded : 1;
}

static struct placement place(const q8_prep *prep, int width, int height)
{
    struct placement p = {{prep->width, prep->height, 0, 0, prep->width, prep->height}, 0, 0};
    q8_window *w = &p.window;
    const bool is_wider =
        (long long)width * prep->height > (long long)height * prep->width; /* than the input */
    if (prep->resize == Q8_RESIZE_STRETCH)
        return p;
    if (is_wider == (prep->resize == Q8_RESIZE_CROP))
        w->full_width = scaled(width, prep->height, height);
    else
        w->full_height = scaled(height, prep->width, width);
    if (prep->resize == Q8_RESIZE_CROP) {
        w->x = (w->full_width - prep->width) / 2;
        w->y = (w->full_height - prep->height) / 2;
    } else {
        w->width = (int)w->full_width;
        w->height = (int)w->full_height;
        p.x = (prep->width - w->width) / 2;
        p.y = (prep->height - w->height) / 2;
    }
    return p;
}

/** ncnn's weights of R, G, B, in 256ths. */
static int gray_of(const unsigned char *rgb)
{
    return (77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2]) >> 8;
}

Q8_SIMD_CLONES
static void take_component(const unsigned char *restrict component, int n, float *restrict out)
{
    for (int i = 0; i < n; i++)
        out[i] = (float)component[3 * i];
}

/** One channel of a row of pixels. */
static void take_channel(const q8_prep *prep, int channel, const unsigned char *rgb, int n,
                         float *out)
{
    if (prep->channels == 1) {
        for (int i = 0; i < n; i++)
            out[i] = (float)gray_of(rgb + 3 * i);
        return;
    }
    take_component(rgb + (prep->rgb ? channel : 2 - channel), n, out);
}

/**
 * (x - mean) * norm, each step rounded to fp32, as Caffe's transformer does it. (ncnn's
 * substract_mean_normalize() computes x * norm + (-mean * norm), which can differ in the last bit.)
 */
static void normalise(const q8_prep *prep, const unsigned char *rgb, const struct placement *p,
                      float *out)
{
    const int n = p->window.width;
    for (int c = 0; c < prep->channels; c++) {
        const float mean = prep->mean[c], norm = prep->norm[c];
        for (int y = 0; y < p->window.height; y++) {
            const size_t at =
                ((size_t)c * (size_t)prep->height + (size_t)(p->y + y)) * (size_t)prep->width +
                (size_t)p->x;
            float *row = out + at;
            take_channel(prep, c, rgb + (size_t)y * (size_t)n * 3, n, row);
            if (prep->mean_plane) {
                const float *means = prep->mean_plane + at;
                for (int x = 0; x < n; x++)
                    row[x] = (row[x] - means[x]) * norm;
            } else {
                for (int x = 0; x < n; x++)
                    row[x] = (row[x] - mean) * norm;
            }
        }
    }
}

q8_code q8_prep_picture(const q8_prep *prep, const q8_picture *picture, q8_picture *resized,
                        float *out, q8_err *err)
{
    const unsigned char *rgb = picture->rgb;
    q8_code code = Q8_OK;
    const struct placement p = place(prep, picture->width, picture->height);
    const q8_window *w = &p.window;
    if (picture->width != w->width || picture->height != w->height) {
        code = q8_picture_make(resized, w->width, w->height, err);
        if (!code)
            code = q8_resize_bilinear(picture->rgb, picture->width, picture->height, resized->rgb,
                                      w, 3, err);
        rgb = resized->rgb;
    }
    if (code)
        return code;
    /* The colour around a letterboxed picture is the mean, so that it becomes 0. */
    if (w->width != prep->width || w->height != prep->height)
        memset(out, 0,
               (size_t)prep->channels * (size_t)prep->height * (size_t)prep->width * sizeof(*out));
    normalise(prep, rgb, &p, out);
    return Q8_OK;
}
