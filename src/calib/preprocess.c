/** From a picture to the network's input. */
#include <stdlib.h>

#include "calib/picture.h"

/** How many values an option has must fit the channels. */
static q8_code check_count(const char *what, int n, int channels, q8_err *err)
{
    if (n == 0 || n == 1 || n == channels)
        return Q8_OK;
    return q8_fail(err, Q8_EINVAL, NULL, NULL, "%s has %d values but the input has %d channel%s",
                   what, n, channels, channels == 1 ? "" : "s");
}

static q8_code check(const q8_preprocess *pre, int channels, int height, int width, q8_err *err)
{
    if (channels != 1 && channels != 3)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "the input has %d channels, pictures give 1 (gray) or 3", channels);
    if (height <= 0 || width <= 0 || (size_t)width > Q8_MAX_PIXELS / (size_t)height)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "a picture cannot become an input of %d x %d",
                       width, height);
    if (pre->pixel == Q8_PIXEL_GRAY && channels == 3)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "gray pixels but the input has 3 channels");
    if ((pre->pixel == Q8_PIXEL_BGR || pre->pixel == Q8_PIXEL_RGB) && channels == 1)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "%s pixels but the input has 1 channel",
                       pre->pixel == Q8_PIXEL_BGR ? "bgr" : "rgb");
    q8_code code = check_count("mean", pre->n_mean, channels, err);
    return code == Q8_OK ? check_count("norm", pre->n_norm, channels, err) : code;
}

/** The value for channel `c` of a list of 0, 1 or all. */
static float value_of(const float *v, int n, int c, float none)
{
    return n == 0 ? none : v[n == 1 ? 0 : c];
}

/** ncnn's weights of R, G, B, in 256ths. */
static int gray_of(const unsigned char *rgb)
{
    return (77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2]) >> 8;
}

/**
 * (x - mean) * norm, each step rounded to fp32, as Caffe's transformer does it. (ncnn's
 * substract_mean_normalize() computes x * norm + (-mean * norm), which can differ in the last bit.)
 */
static void normalise(const unsigned char *rgb, size_t n, const q8_preprocess *pre, int channels,
                      float *out)
{
    for (int c = 0; c < channels; c++, out += n) {
        const float mean = value_of(pre->mean, pre->n_mean, c, 0);
        const float norm = value_of(pre->norm, pre->n_norm, c, 1);
        const unsigned char *component = rgb + (pre->pixel == Q8_PIXEL_RGB ? c : 2 - c);
        if (channels == 1) {
            for (size_t i = 0; i < n; i++)
                out[i] = ((float)gray_of(rgb + 3 * i) - mean) * norm;
        } else {
            for (size_t i = 0; i < n; i++)
                out[i] = ((float)component[3 * i] - mean) * norm;
        }
    }
}

q8_code q8_picture_to_input(const q8_picture *picture, const q8_preprocess *pre, int channels,
                            int height, int width, float *out, q8_err *err)
{
    unsigned char *resized = NULL;
    const unsigned char *rgb = picture->rgb;
    q8_code code = check(pre, channels, height, width, err);
    if (code != Q8_OK)
        return code;
    const size_t n = (size_t)width * (size_t)height;
    if (picture->width != width || picture->height != height) {
        resized = malloc(n * 3);
        if (!resized)
            return q8_fail_nomem(err);
        code = q8_resize_bilinear(picture->rgb, picture->width, picture->height, resized, width,
                                  height, 3, err);
        rgb = resized;
    }
    if (code == Q8_OK)
        normalise(rgb, n, pre, channels, out);
    free(resized);
    return code;
}
