#include "api/stats.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/replace.h"
#include "calib/checkpoint.h"
#include "calib/packed.h"
#include "calib/preprocess.h"
#include "ncnn/ncnn.h"
#include "ops/rows.h"
#include "passes/passes.h"
#include "quant/quant.h"

/* --- which network ---------------------------------------------------------------------------- */

/* The layers as they would be written, and the tensors by their numbers, which statistics go by. */
static q8_code hash_layers(uint64_t *hash, const q8_graph *graph, const bool *wanted,
                           q8_arena *arena, q8_err *err)
{
    q8_buf param = {0};
    q8_graph *copy = q8_graph_copy(graph, arena);
    if (!copy)
        return q8_fail_nomem(err);
    q8_code code = q8_pass_insert_splits(copy, err);
    if (!code)
        code = q8_ncnn_param(copy, &param, err);
    if (!code)
        *hash = q8_hash(0, param.data, param.size);
    for (int t = 0; t < graph->n_tensors && !code; t++) {
        char shape[64];
        *hash = q8_hash_text(*hash, graph->tensor[t].name);
        *hash = q8_hash_text(*hash, q8_shape_text(&graph->tensor[t].shape, shape));
        *hash = q8_hash_uint(*hash, wanted[t]);
    }
    q8_buf_free(&param);
    return code;
}

static uint64_t hash_weights(const q8_graph *graph)
{
    uint64_t hash = 0;
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->node[i]->op->n_weights; k++) {
            const q8_weight *w = &graph->node[i]->weight[k];
            hash = q8_hash(hash, w->data, w->count * sizeof(*w->data));
        }
    return hash;
}

/* "data 3x227x227, 26 layers with weights" */
static const char *describe(const q8_graph *graph, q8_arena *arena)
{
    const char *text = "";
    int linear = 0;
    for (int i = 0; text && i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        linear += node->op->linear != NULL;
        if (node->op != &q8_op_input)
            continue;
        char shape[64];
        const q8_tensor *tensor = &graph->tensor[node->out[0]];
        text = q8_arena_printf(arena, "%s%s %s, ", text, tensor->name,
                               q8_shape_text(&tensor->shape, shape));
    }
    return text ? q8_arena_printf(arena, "%s%d layers with weights", text, linear) : NULL;
}

q8_code q8_stats_describe(q8_stats_subject *subject, const q8_model *model, q8_arena *arena,
                          q8_err *err)
{
    const q8_graph *graph = model->graph;
    bool *wanted = q8_arena_array(arena, (size_t)graph->n_tensors + 1, sizeof(*wanted));
    *subject =
        (q8_stats_subject){.graph = graph, .wanted = wanted, .description = describe(graph, arena)};
    if (!wanted || !subject->description)
        return q8_fail_nomem(err);
    q8_quant_wanted(graph, wanted);
    subject->weights = hash_weights(graph);
    return hash_layers(&subject->layers, graph, wanted, arena, err);
}

/* --- writing ---------------------------------------------------------------------------------- */

q8_code q8_stats_bytes(const q8_model *model, q8_buf *bytes, q8_err *err)
{
    q8_stats_subject subject;
    if (!model->calibrated)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "the model has no statistics to be written");
    if (model->fast.info.used)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "a file of statistics does not tell bf16 from fp32: calibrate without fast");
    if (model->no_channel_histograms)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "a file of statistics needs a calibration with histograms by channel");
    q8_arena *arena = q8_arena_open();
    q8_code code = arena ? q8_stats_describe(&subject, model, arena, err) : q8_fail_nomem(err);
    if (!code)
        code = q8_stats_pack(bytes, &subject, &model->origin, &model->calibration, NULL, err);
    q8_arena_close(&arena);
    return code;
}

q8_code q8_stats_write(const q8_model *model, const char *path, q8_err *err)
{
    q8_buf bytes = {0};
    q8_replace *file = NULL;
    q8_code code = q8_stats_bytes(model, &bytes, err);
    if (!code)
        code = q8_replace_open(&file, err);
    if (!code)
        code = q8_replace_add(file, path, bytes.data, bytes.size, err);
    if (!code)
        code = q8_replace_check(file, 0, bytes.data, bytes.size, err);
    if (!code)
        code = q8_replace_commit(file, err);
    q8_replace_close(&file);
    q8_buf_free(&bytes);
    return code;
}

/* --- calibrating ------------------------------------------------------------------------------ */

q8_code q8_stats_calibrate(q8_model *model, q8_calibration_of what, const q8_env *env, q8_err *err)
{
    q8_checkpoint checkpoint = {.path = what.opts->checkpoint};
    q8_arena *arena = q8_arena_open();
    q8_code code =
        arena ? q8_stats_describe(&checkpoint.subject, model, arena, err) : q8_fail_nomem(err);
    what.checkpoint = &checkpoint;
    if (!code)
        code = q8_calibration_run(&model->calibration, &what, env, err);
    q8_checkpoint_close(&checkpoint);
    q8_arena_close(&arena);
    return code;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* What is read, and what is known of it. */
struct reading {
    q8_model *model;
    const q8_stats_opts *opts;
    q8_stats_subject subject;
    q8_arena *arena;
    const q8_env *env;
    q8_calibration cal; /* of the files so far */
    q8_origin origin;
    q8_origin *file; /* by file */
    q8_err *err;
};

static const q8_tensor *input_tensor(const q8_graph *graph, int input)
{
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->node[i]->op == &q8_op_input && input-- == 0)
            return &graph->tensor[graph->node[i]->out[0]];
    return NULL;
}

static q8_code fail_preprocessing(const struct reading *r, size_t file, int input,
                                  const char *other, const q8_prep_id *is)
{
    char a[256], b[256];
    const q8_loc loc = {.file = r->opts->paths[file]};
    return q8_fail(r->err, Q8_EINVAL, &loc, NULL,
                   "statistics of pictures that became input '%s' by %s, but %s %s: give the same "
                   "flags, or calibrate again",
                   input_tensor(r->subject.graph, input)->name,
                   q8_prep_id_text(&r->file[file].input[input], a), other, q8_prep_id_text(is, b));
}

static void warn_twice(const struct reading *r, size_t file)
{
    for (size_t i = 0; i < file; i++) {
        const q8_loc loc = {.file = r->opts->paths[file]};
        if (!q8_origin_share(&r->file[i], &r->file[file]))
            continue;
        q8_warn(r->env, &loc, NULL,
                "statistics of the same pictures are in '%s' too: they count twice",
                r->opts->paths[i]);
        return;
    }
}

static q8_code add_file(struct reading *r, size_t file)
{
    q8_calibration cal;
    q8_origin *origin = &r->file[file];
    q8_code code = q8_stats_load(&cal, origin, NULL, r->opts->paths[file], &r->subject, r->err);
    if (code)
        return code;
    const int input = q8_origin_differs(&r->origin, origin);
    if (input >= 0)
        code = fail_preprocessing(r, file, input, "those in the files before it by",
                                  &r->origin.input[input]);
    if (!code && cal.used > 0)
        warn_twice(r, file);
    if (!code)
        code = q8_origin_merge(&r->origin, origin, r->err);
    if (!code && file > 0)
        code = q8_calibration_merge(&r->cal, &cal, r->err);
    if (!code && file == 0)
        r->cal = cal;
    else
        q8_calibration_free(&cal);
    return code;
}

/* Pictures that are going to be used must become the input as those did. */
static q8_code check_pictures(struct reading *r)
{
    q8_samples *samples;
    q8_origin now = {0};
    q8_code code = q8_samples_open(&samples, r->subject.graph, r->opts->pictures,
                                   &r->model->transform, r->env, r->err);
    if (!code)
        code = q8_origin_of_samples(&now, samples, r->err);
    const int input = code ? -1 : q8_origin_differs(&r->origin, &now);
    if (input >= 0)
        code = fail_preprocessing(r, 0, input, "the pictures given now by", &now.input[input]);
    q8_origin_free(&now);
    q8_samples_close(&samples);
    return code;
}

/* What `prep` says of what was given, and else what `id` says. */
static q8_prep_id as_given(const q8_prep_id *id, const q8_prep *prep, const q8_preprocess *pre,
                           bool mean, bool norm)
{
    q8_prep_id now = q8_prep_identify(prep);
    if (!mean) {
        memcpy(now.mean, id->mean, sizeof(now.mean));
        now.mean_plane = id->mean_plane;
    }
    if (!norm)
        memcpy(now.norm, id->norm, sizeof(now.norm));
    if (pre->pixel == Q8_PIXEL_AUTO)
        now.rgb = id->rgb;
    if (pre->resize == Q8_RESIZE_AUTO)
        now.resize = id->resize;
    return now;
}

/* What the prototxt says, and the caller does not, counts less than the file: whoever made it may
 * have said otherwise. */
static void warn_of_transform(const struct reading *r, int input, const q8_tensor *tensor)
{
    char a[256], b[256];
    const q8_preprocess *pre = &r->opts->preprocess;
    const q8_prep_id *id = &r->origin.input[input];
    const q8_caffe_transform *t = q8_prep_transform(&r->model->transform, tensor->name);
    q8_prep prep;
    if (!t || !t->found || q8_prep_open(&prep, pre, t, &tensor->shape, r->arena, NULL, NULL))
        return;
    const bool mean = pre->n_mean || pre->mean_file || t->n_mean || t->mean_file;
    const q8_prep_id says = as_given(id, &prep, pre, mean, pre->n_norm || t->scale != 1);
    if (!q8_prep_id_agree(id, &says))
        q8_warn(
            r->env, &t->loc, NULL,
            "transform_param means %s, but the statistics' pictures had %s, which counts; --mean "
            "and --norm say which is right",
            q8_prep_id_text(&says, a), q8_prep_id_text(id, b));
}

/* What the caller says must not contradict the files. */
static q8_code check_given(struct reading *r, int input)
{
    char text[256];
    const q8_preprocess *pre = &r->opts->preprocess;
    const q8_tensor *tensor = input_tensor(r->subject.graph, input);
    const q8_prep_id *id = &r->origin.input[input];
    const q8_loc loc = {.file = r->opts->paths[0]};
    q8_prep prep;
    q8_note(r->env, &loc, NULL, "input '%s' of these statistics: %s", tensor->name,
            q8_prep_id_text(id, text));
    if (!id->pictures)
        return Q8_OK;
    const q8_code code = q8_prep_open(&prep, pre, NULL, &tensor->shape, r->arena, NULL, r->err);
    if (code)
        return code;
    const q8_prep_id says = as_given(id, &prep, pre, pre->n_mean || pre->mean_file, pre->n_norm);
    if (!q8_prep_id_agree(id, &says))
        return fail_preprocessing(r, 0, input, "what is given now means", &says);
    warn_of_transform(r, input, tensor);
    return Q8_OK;
}

static q8_code check_preprocessing(struct reading *r)
{
    const q8_preprocess *pre = &r->opts->preprocess;
    const q8_loc loc = {.file = r->opts->paths[0]};
    bool pictures = false;
    q8_code code = Q8_OK;
    if (r->opts->pictures)
        return check_pictures(r);
    for (int i = 0; i < r->origin.n_inputs && !code; i++) {
        code = check_given(r, i);
        pictures = pictures || r->origin.input[i].pictures;
    }
    if (!code && r->origin.n_inputs > 0 && !pictures &&
        (pre->n_mean || pre->mean_file || pre->n_norm))
        code = q8_fail(r->err, Q8_EINVAL, &loc, NULL,
                       "a mean or norm was given, but these are not statistics of pictures");
    return code;
}

static q8_code read_all(struct reading *r)
{
    q8_code code = q8_stats_describe(&r->subject, r->model, r->arena, r->err);
    if (code)
        return code;
    r->file = q8_arena_array(r->arena, r->opts->n_paths, sizeof(*r->file));
    if (!r->file)
        return q8_fail_nomem(r->err);
    for (size_t i = 0; i < r->opts->n_paths && !code; i++)
        code = add_file(r, i);
    if (!code)
        code = check_preprocessing(r);
    for (size_t i = 0; i < r->opts->n_paths; i++)
        q8_origin_free(&r->file[i]);
    return code;
}

q8_code q8_stats_read(q8_model *model, const q8_stats_opts *opts, const q8_env *env,
                      q8_calib_result *result, q8_err *err)
{
    const double start = q8_now();
    struct reading r = {
        .model = model, .opts = opts, .env = env, .err = err, .arena = q8_arena_open()};
    q8_model_forget(model);
    q8_code code = r.arena ? Q8_OK : q8_fail_nomem(err);
    if (!code && opts->n_paths == 0)
        code = q8_fail(err, Q8_EINVAL, NULL, NULL, "no files of statistics were given");
    if (!code)
        code = read_all(&r);
    code = q8_agree(env, code, err);
    if (!code) {
        model->calibration = r.cal;
        model->origin = r.origin;
        model->calibrated = true;
        q8_calibration_warn(&model->calibration, model->graph, env);
    } else {
        q8_calibration_free(&r.cal);
        q8_origin_free(&r.origin);
    }
    q8_arena_close(&r.arena);
    if (result)
        *result = (q8_calib_result){.used = model->calibration.used,
                                    .skipped = model->calibration.skipped,
                                    .seconds = q8_now() - start};
    return code;
}
