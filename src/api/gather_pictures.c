/* A few pictures as the network saw them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/gather.h"
#include "calib/samples.h"
#include "ops/rows.h"
#include "report/png.h"

enum { MAX_PICTURES = 6, MAX_SIDE = 224 };

/* The first input, NULL if it is no picture. */
static const q8_shape *picture_input(const q8_graph *graph)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        if (graph->node[i]->op != &q8_op_input)
            continue;
        const q8_shape *shape = &graph->tensor[graph->node[i]->out[0]].shape;
        const bool is = shape->rank == 3 && (shape->dim[0] == 1 || shape->dim[0] == 3);
        return is ? shape : NULL;
    }
    return NULL;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Mean of a square of `step` x `step` values, less at the borders. */
static double mean_of_square(const float *plane, const q8_shape *shape, int y, int x, int step)
{
    const int height = shape->dim[1], width = shape->dim[2];
    double sum = 0;
    int n = 0;
    for (int v = y; v < y + step && v < height; v++)
        for (int u = x; u < x + step && u < width; u++, n++)
            sum += (double)plane[(size_t)v * (size_t)width + (size_t)u];
    return sum / n;
}

static unsigned char to_byte(double x, const q8_report_channel *c)
{
    const double share = c->max > c->min ? (x - c->min) / (c->max - c->min) : 0.5;
    return share > 0 ? (unsigned char)(255 * fmin(share, 1) + 0.5) : 0;
}

/* @param order the input's channel that is red, green, blue */
static q8_code encode(q8_report_picture *picture, const float *values, const q8_shape *shape,
                      const q8_report_channel *channel, const int *order, q8_err *err)
{
    const int longest = shape->dim[1] > shape->dim[2] ? shape->dim[1] : shape->dim[2];
    const int step = (longest + MAX_SIDE - 1) / MAX_SIDE, n = shape->dim[0];
    picture->width = (shape->dim[2] + step - 1) / step;
    picture->height = (shape->dim[1] + step - 1) / step;
    const size_t plane = q8_shape_spatial(shape);
    unsigned char *pixels = malloc((size_t)picture->width * (size_t)picture->height * (size_t)n);
    if (!pixels)
        return q8_fail_nomem(err);
    unsigned char *at = pixels;
    for (int y = 0; y < picture->height; y++)
        for (int x = 0; x < picture->width; x++)
            for (int c = 0; c < n; c++) {
                const float *values_c = values + (size_t)order[c] * plane;
                *at++ = to_byte(mean_of_square(values_c, shape, y * step, x * step, step),
                                &channel[order[c]]);
            }
    const q8_code code =
        q8_png_write(&picture->png, pixels, picture->width, picture->height, n == 1, err);
    free(pixels);
    return code;
}

/* Ranges over all pictures, so that a dark one stays dark. */
static void measure(q8_report_channel *c, const float *const *values, size_t pictures, size_t first,
                    size_t count)
{
    double sum = 0;
    c->min = INFINITY;
    c->max = -INFINITY;
    for (size_t p = 0; p < pictures; p++)
        for (size_t i = 0; i < count; i++) {
            const double x = (double)values[p][first + i];
            c->min = x < c->min ? x : c->min;
            c->max = x > c->max ? x : c->max;
            sum += x;
        }
    c->mean = sum / ((double)pictures * (double)count);
}

/* Reads evenly spaced samples; those that cannot be read are left out, calibration has told. */
static q8_code read_some(q8_report_data *data, float **values, const q8_samples *samples,
                         size_t count, q8_arena *arena, q8_err *err)
{
    const size_t n = q8_samples_count(samples), most = n < MAX_PICTURES ? n : MAX_PICTURES;
    for (size_t i = 0; i < most; i++) {
        const size_t sample = (2 * i + 1) * n / (2 * most);
        q8_err unreadable = {0};
        float *x = malloc(count * sizeof(*x));
        values[data->n_pictures] = x;
        if (!x)
            return q8_fail_nomem(err);
        if (q8_samples_read(samples, sample, 0, x, NULL, &unreadable)) {
            free(x);
            values[data->n_pictures] = NULL;
            continue;
        }
        char room[Q8_MAX_PATH];
        const char *path = q8_samples_path(samples, sample, room);
        q8_report_picture *picture = &data->picture[data->n_pictures++];
        picture->name = q8_arena_strdup(arena, last_part(path));
        if (!picture->name)
            return q8_fail_nomem(err);
    }
    return Q8_OK;
}

static q8_code gather(q8_report_data *data, float **values, const q8_samples *samples,
                      const q8_shape *shape, bool rgb, q8_arena *arena, q8_err *err)
{
    static const char *const names[] = {"blue", "green", "red"};
    const int order[3] = {shape->dim[0] == 1 || rgb ? 0 : 2, 1, rgb ? 2 : 0};
    const size_t plane = q8_shape_spatial(shape);
    q8_code code = read_some(data, values, samples, q8_shape_count(shape), arena, err);
    if (code || data->n_pictures == 0)
        return code;
    data->n_channels = shape->dim[0];
    for (int c = 0; c < data->n_channels; c++) {
        data->channel[c].name = shape->dim[0] == 1 ? "gray" : names[rgb ? 2 - c : c];
        measure(&data->channel[c], (const float *const *)values, data->n_pictures,
                (size_t)c * plane, plane);
    }
    for (size_t i = 0; i < data->n_pictures && !code; i++)
        code = encode(&data->picture[i], values[i], shape, data->channel, order, err);
    return code;
}

q8_code q8_gather_pictures(q8_report_data *data, const q8_model *model, const q8_calib_opts *opts,
                           q8_arena *arena, q8_err *err)
{
    q8_samples *samples = NULL;
    float *values[MAX_PICTURES] = {NULL};
    const q8_shape *shape = picture_input(model->graph);
    if (!shape)
        return Q8_OK;
    data->picture = q8_arena_array(arena, MAX_PICTURES, sizeof(*data->picture));
    if (!data->picture)
        return q8_fail_nomem(err);
    q8_code code = q8_samples_open(&samples, model->graph, opts, &model->transform, NULL, err);
    if (!code)
        code = gather(data, values, samples, shape, opts->preprocess.pixel == Q8_PIXEL_RGB, arena,
                      err);
    for (int i = 0; i < MAX_PICTURES; i++)
        free(values[i]);
    q8_samples_close(&samples);
    return code;
}
