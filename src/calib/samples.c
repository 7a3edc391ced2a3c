#include "calib/samples.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "calib/npy.h"
#include "ops/rows.h"

/** A picture, or the how manieth tensor of its file. */
struct item {
    uint32_t file; /**< in the input's list */
    uint32_t nth;  /**< PICTURE: no tensor */
};
#define PICTURE UINT32_MAX
#define UNREAD  (UINT32_MAX - 1) /* behind every tensor that a file has */

struct input {
    const q8_node *node;
    const q8_tensor *tensor;
    q8_picture_list list;
    struct item *item;
    size_t n_items, room;
    size_t n_pictures;
    q8_prep prep; /**< when there are pictures */
};

struct q8_samples {
    q8_arena *arena;
    struct input *input;
    int n_inputs;
    size_t count, max_pixels;
};

/** What opening needs. */
struct opening {
    q8_samples *samples;
    const q8_calib_opts *opts;
    const char **source; /**< of the input at hand; room for all */
    const q8_env *env;
    q8_err *err;
};

/* --- the network's inputs --------------------------------------------------------------------- */

static q8_code find_inputs(q8_samples *s, const q8_graph *graph, q8_err *err)
{
    s->input = q8_arena_array(s->arena, (size_t)graph->n_nodes + 1, sizeof(*s->input));
    if (!s->input)
        return q8_fail_nomem(err);
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        if (node->op == &q8_op_input)
            s->input[s->n_inputs++] =
                (struct input){.node = node, .tensor = &graph->tensor[node->out[0]]};
    }
    if (s->n_inputs == 0)
        return q8_fail(err, Q8_EMODEL, NULL, NULL, "the network has no input");
    return Q8_OK;
}

/** "'data' (3x227x227), 'info' (3)", from the arena. */
static const char *list_inputs(const q8_samples *s)
{
    const char *text = "";
    for (int i = 0; text && i < s->n_inputs; i++) {
        char shape[64];
        const struct input *in = &s->input[i];
        text = q8_arena_printf(s->arena, "%s%s'%s' (%s)", text, i ? ", " : "", in->tensor->name,
                               q8_shape_text(&in->tensor->shape, shape));
    }
    return text ? text : "";
}

/* --- which files are whose -------------------------------------------------------------------- */

/** The path behind "NAME=", NULL when the source does not begin so. */
static const char *path_behind(const char *source, const char *name)
{
    const size_t length = strlen(name);
    return strncmp(source, name, length) == 0 && source[length] == '=' ? source + length + 1 : NULL;
}

/** The input that a source is for, by its blob's or its layer's name; -1: none is named. */
static int named_input(const q8_samples *s, const char *source, const char **path)
{
    for (int i = 0; i < s->n_inputs; i++) {
        *path = path_behind(source, s->input[i].tensor->name);
        if (!*path)
            *path = path_behind(source, s->input[i].node->name);
        if (*path)
            return i;
    }
    *path = source;
    return -1;
}

static q8_code fail_unnamed(const q8_samples *s, const char *source, q8_err *err)
{
    const char *equals = strchr(source, '=');
    if (equals)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "'%s': no input is called '%.*s'; there %s %s",
                       source, (int)(equals - source), source, s->n_inputs == 1 ? "is" : "are",
                       list_inputs(s));
    return q8_fail(err, Q8_EINVAL, NULL, NULL,
                   "'%s': the network has %d inputs, so write INPUT=%s; there are %s", source,
                   s->n_inputs, source, list_inputs(s));
}

/** Puts the paths meant for one input into `o->source`. */
static q8_code choose_sources(struct opening *o, int input, size_t *n)
{
    const q8_samples *s = o->samples;
    *n = 0;
    for (size_t i = 0; i < o->opts->n_images; i++) {
        const char *source = o->opts->images[i], *path;
        const int named = named_input(s, source, &path);
        if (named < 0 && (s->n_inputs > 1 || (strchr(source, '=') && access(source, F_OK) != 0)))
            return fail_unnamed(s, source, o->err);
        if (named == input || named < 0)
            o->source[(*n)++] = path;
    }
    if (*n == 0 && s->n_inputs > 1)
        return q8_fail(o->err, Q8_EINVAL, NULL, NULL,
                       "nothing was given for input '%s': write %s=PATH; there are %s",
                       s->input[input].tensor->name, s->input[input].tensor->name, list_inputs(s));
    return Q8_OK;
}

/* --- files to samples ------------------------------------------------------------------------- */

/** How many samples a tensor is: its shape is the input's, perhaps with a count in front. */
static q8_code count_tensors(const struct input *in, const q8_npy *npy, size_t *n, q8_err *err)
{
    const q8_shape *shape = &in->tensor->shape;
    const int batch = npy->n_dim - shape->rank;
    bool same = batch == 0 || batch == 1;
    char text[64], got[Q8_NPY_MAX_DIMS * 21 + 1] = "one number";
    for (int i = 0; same && i < shape->rank; i++)
        same = npy->dim[batch + i] == (size_t)shape->dim[i];
    *n = batch == 1 ? npy->dim[0] : 1;
    if (same && *n > 0)
        return Q8_OK;
    const q8_loc loc = {.file = npy->path};
    for (int i = 0, used = 0; i < npy->n_dim; i++)
        used += sprintf(got + used, "%s%zu", i ? "x" : "", npy->dim[i]);
    q8_shape_text(shape, text);
    return q8_fail(err, Q8_EINVAL, &loc, NULL,
                   "a tensor of %s, but input '%s' takes %s, or Nx%s for N samples", got,
                   in->tensor->name, text, text);
}

static q8_code make_room(const struct opening *o, struct input *in, size_t room)
{
    struct item *items = q8_arena_array(o->samples->arena, room, sizeof(*items));
    if (!items)
        return q8_fail_nomem(o->err);
    if (in->n_items > 0)
        memcpy(items, in->item, in->n_items * sizeof(*items));
    in->item = items;
    in->room = room;
    return Q8_OK;
}

static q8_code add_item(struct opening *o, struct input *in, struct item item)
{
    if (in->n_items == in->room && make_room(o, in, 2 * in->room))
        return Q8_ENOMEM;
    in->item[in->n_items++] = item;
    return Q8_OK;
}

/** A file that cannot be read is one sample, to be complained about when its turn comes. */
static q8_code add_tensors(struct opening *o, struct input *in, uint32_t file, const char *path)
{
    q8_npy npy;
    size_t n = 0;
    q8_err why = {0};
    q8_code code = q8_npy_open(&npy, path, &why);
    if (q8_sample_unreadable(code))
        return add_item(o, in, (struct item){file, UNREAD});
    if (code == Q8_OK)
        code = count_tensors(in, &npy, &n, o->err);
    else if (o->err)
        *o->err = why;
    q8_npy_close(&npy);
    const q8_loc loc = {.file = path};
    if (code == Q8_OK && n >= UNREAD)
        code = q8_fail(o->err, Q8_EINVAL, &loc, NULL, "%zu samples are too many for one file", n);
    for (size_t i = 0; i < n && code == Q8_OK; i++)
        code = add_item(o, in, (struct item){file, (uint32_t)i});
    return code;
}

static q8_code fail_no_picture(const struct input *in, const char *path, q8_err *err)
{
    char text[64];
    const q8_loc loc = {.file = path};
    return q8_fail(err, Q8_EINVAL, &loc, NULL,
                   "a picture cannot be input '%s' of %s: that takes 1 or 3 channels x height x "
                   "width, or .npy tensors",
                   in->tensor->name, q8_shape_text(&in->tensor->shape, text));
}

static q8_code add_file(struct opening *o, struct input *in, uint32_t file)
{
    char room[Q8_MAX_PATH];
    const char *path = q8_picture_list_path(&in->list, file, room);
    const q8_shape *shape = &in->tensor->shape;
    if (q8_picture_list_is_tensor(path))
        return add_tensors(o, in, file, path);
    if (shape->rank != 3 || (shape->dim[0] != 1 && shape->dim[0] != 3))
        return fail_no_picture(in, path, o->err);
    in->n_pictures++;
    return add_item(o, in, (struct item){file, PICTURE});
}

static q8_code list_files(struct opening *o, int input)
{
    size_t n;
    struct input *in = &o->samples->input[input];
    const q8_list_order order = o->samples->n_inputs > 1 ? Q8_LIST_PAIRED : Q8_LIST_SORTED;
    q8_code code = choose_sources(o, input, &n);
    if (code == Q8_OK)
        code = q8_picture_list_open(&in->list, o->source, n, order, o->err);
    if (code == Q8_OK) /* most files are one sample each */
        code = make_room(o, in, in->list.n + 1);
    for (size_t i = 0; code == Q8_OK && i < in->list.n; i++)
        code = add_file(o, in, (uint32_t)i);
    return code;
}

static q8_code check_counts(const q8_samples *s, q8_err *err)
{
    for (int i = 1; i < s->n_inputs; i++)
        if (s->input[i].n_items != s->input[0].n_items)
            return q8_fail(err, Q8_EINVAL, NULL, NULL,
                           "%zu samples for input '%s' but %zu for '%s': sample i of one belongs "
                           "to sample i of the other",
                           s->input[0].n_items, s->input[0].tensor->name, s->input[i].n_items,
                           s->input[i].tensor->name);
    return Q8_OK;
}

/** The sample in the middle of the i-th of `count` equal stretches of a list of `n`. */
static size_t middle(size_t i, size_t count, size_t n)
{
    return (2 * i + 1) * n / (2 * count);
}

/** Sample `from` becomes sample `to`. */
static void move(q8_samples *s, size_t to, size_t from)
{
    for (int k = 0; k < s->n_inputs; k++)
        s->input[k].item[to] = s->input[k].item[from];
}

void q8_samples_thin_out(q8_samples *s, size_t limit)
{
    const size_t n = s->count;
    if (limit == 0 || limit >= n)
        return;
    s->count = limit;
    for (size_t i = 0; i < limit; i++)
        move(s, i, middle(i, limit, n));
}

bool q8_samples_choose_others(q8_samples *s, size_t limit, size_t used)
{
    const size_t n = s->count;
    const bool enough = used < n && n - used >= limit / 4;
    size_t left = 0, next = 0;
    for (size_t i = 0; enough && i < n; i++) {
        if (next < used && i == middle(next, used, n))
            next++;
        else
            move(s, left++, i);
    }
    if (enough)
        s->count = left;
    q8_samples_thin_out(s, limit);
    return enough;
}

/* --- preprocessing ---------------------------------------------------------------------------- */

static q8_code open_preps(struct opening *o, const q8_caffe_transform *transform)
{
    q8_samples *s = o->samples;
    const q8_preprocess *pre = &o->opts->preprocess;
    size_t pictures = 0;
    q8_code code = Q8_OK;
    for (int i = 0; i < s->n_inputs && code == Q8_OK; i++) {
        struct input *in = &s->input[i];
        pictures += in->n_pictures;
        if (in->n_pictures)
            code = q8_prep_open(&in->prep, pre, q8_prep_transform(transform, in->tensor->name),
                                &in->tensor->shape, s->arena, o->env, o->err);
    }
    if (code == Q8_OK && pictures == 0 && (pre->n_mean || pre->mean_file || pre->n_norm))
        code = q8_fail(o->err, Q8_EINVAL, NULL, NULL,
                       "a mean or norm was given, but there are no pictures: .npy tensors are used "
                       "as they are");
    return code;
}

/* --- opening and reading ---------------------------------------------------------------------- */

static q8_code open_all(struct opening *o, const q8_graph *graph,
                        const q8_caffe_transform *transform)
{
    q8_samples *s = o->samples;
    q8_code code = find_inputs(s, graph, o->err);
    o->source = q8_arena_array(s->arena, o->opts->n_images + 1, sizeof(*o->source));
    if (code == Q8_OK && !o->source)
        code = q8_fail_nomem(o->err);
    for (int i = 0; code == Q8_OK && i < s->n_inputs; i++)
        code = list_files(o, i);
    if (code == Q8_OK)
        code = check_counts(s, o->err);
    if (code == Q8_OK)
        code = open_preps(o, transform);
    if (code == Q8_OK) {
        s->count = s->input[0].n_items;
        q8_samples_thin_out(s, o->opts->limit);
    }
    return code;
}

q8_code q8_samples_open(q8_samples **samples, const q8_graph *graph, const q8_calib_opts *opts,
                        const q8_caffe_transform *transform, const q8_env *env, q8_err *err)
{
    q8_samples *s = calloc(1, sizeof(*s));
    *samples = s;
    if (!s || !(s->arena = q8_arena_open())) {
        q8_samples_close(samples);
        return q8_fail_nomem(err);
    }
    s->max_pixels = opts->max_pixels ? opts->max_pixels : Q8_MAX_PIXELS;
    struct opening o = {.samples = s, .opts = opts, .env = env, .err = err};
    const q8_code code = open_all(&o, graph, transform);
    if (code != Q8_OK)
        q8_samples_close(samples);
    return code;
}

void q8_samples_close(q8_samples **samples)
{
    q8_samples *s = *samples;
    if (!s)
        return;
    for (int i = 0; i < s->n_inputs; i++)
        q8_picture_list_close(&s->input[i].list);
    q8_arena_close(&s->arena);
    free(s);
    *samples = NULL;
}

size_t q8_samples_count(const q8_samples *samples)
{
    return samples->count;
}

const char *q8_samples_path(const q8_samples *samples, size_t index, char path[Q8_MAX_PATH])
{
    const struct input *in = &samples->input[0];
    return q8_picture_list_path(&in->list, in->item[index].file, path);
}

int q8_samples_inputs(const q8_samples *samples)
{
    return samples->n_inputs;
}

q8_prep_id q8_samples_prep_id(const q8_samples *samples, int input)
{
    const struct input *in = &samples->input[input];
    return in->n_pictures ? q8_prep_identify(&in->prep) : (q8_prep_id){0};
}

uint64_t q8_samples_id(const q8_samples *samples)
{
    uint64_t hash = 0;
    for (int k = 0; k < samples->n_inputs; k++)
        for (size_t i = 0; i < samples->count; i++) {
            const struct input *in = &samples->input[k];
            char room[Q8_MAX_PATH];
            const char *path = q8_picture_list_path(&in->list, in->item[i].file, room);
            struct stat st;
            const bool found = stat(path, &st) == 0;
            hash = q8_hash_text(hash, path);
            hash = q8_hash_uint(hash, found ? (uint64_t)st.st_size : UINT64_MAX);
            hash = q8_hash_uint(hash, in->item[i].nth);
        }
    return hash;
}

/* Pictures are finite; a tensor with a NaN would make everything behind it one. */
static q8_code check_finite(const char *path, size_t first, const float *x, size_t n, q8_err *err)
{
    const q8_loc loc = {.file = path};
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return q8_fail(err, Q8_EFORMAT, &loc, NULL, "element %zu is %s", first + i,
                           isnan(x[i]) ? "not a number" : "infinite");
    return Q8_OK;
}

static q8_code read_tensor(const struct input *in, const char *path, size_t nth, float *out,
                           q8_err *err)
{
    q8_npy npy;
    q8_code code = q8_npy_open(&npy, path, err);
    const size_t n = q8_shape_count(&in->tensor->shape);
    const q8_loc loc = {.file = path};
    if (code == Q8_OK && nth >= npy.count / n)
        code = q8_fail(err, Q8_EIO, &loc, NULL, "the file has changed");
    if (code == Q8_OK)
        code = q8_npy_read(&npy, nth * n, n, out, err);
    if (code == Q8_OK)
        code = check_finite(path, nth * n, out, n, err);
    q8_npy_close(&npy);
    return code;
}

/* Keeps no more than calibration counts for a picture on each thread. */
static void keep_little(q8_picture *picture)
{
    if (picture->room > Q8_MEMORY_PICTURE / 2)
        q8_picture_free(picture);
}

static q8_code read_picture(const struct input *in, const char *path, size_t max_pixels, float *out,
                            q8_sample_room *room, q8_err *err)
{
    q8_code code = q8_picture_read_within(&room->picture, path, max_pixels, err);
    if (code == Q8_OK)
        code = q8_prep_picture(&in->prep, &room->picture, &room->resized, out, err);
    keep_little(&room->picture);
    keep_little(&room->resized);
    return code;
}

void q8_sample_room_free(q8_sample_room *room)
{
    q8_picture_free(&room->picture);
    q8_picture_free(&room->resized);
}

q8_code q8_samples_read(const q8_samples *samples, size_t index, int input, float *out,
                        q8_sample_room *room, q8_err *err)
{
    const struct input *in = &samples->input[input];
    const struct item item = in->item[index];
    char text[Q8_MAX_PATH];
    const char *path = q8_picture_list_path(&in->list, item.file, text);
    if (item.nth != PICTURE)
        return read_tensor(in, path, item.nth, out, err);
    q8_sample_room own = {0};
    const q8_code code = read_picture(in, path, samples->max_pixels, out, room ? room : &own, err);
    q8_sample_room_free(&own);
    return code;
}

bool q8_sample_unreadable(q8_code code)
{
    return code == Q8_EIO || code == Q8_EFORMAT || code == Q8_EUNSUPPORTED;
}
