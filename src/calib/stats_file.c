#include "calib/stats_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/pack.h"
#include "calib/packed.h"
#include "ops/rows.h"

static const char magic[8] = {'\x89', 'q', '8', 's', 't', 'a', 't', 's'};

enum {
    SIZE_AT = sizeof(magic) + 4, /* where the file's size stands */
    HEADER_SIZE = SIZE_AT + 8,
    HASH_SIZE = 8,
    INPUT_SIZE = 3 + 8 * 4 + 8,
    UNREAD_SIZE = 8 + 4 + 2 * 5, /* at least */
};

/* More than any network's: a channel takes some hundred bytes. */

/* --- packing ---------------------------------------------------------------------------------- */

static void pack_inputs(q8_buf *to, const q8_origin *origin)
{
    q8_pack_uint(to, (uint64_t)origin->n_inputs, 4);
    for (int i = 0; i < origin->n_inputs; i++) {
        const q8_prep_id *id = &origin->input[i];
        q8_pack_uint(to, id->pictures, 1);
        q8_pack_uint(to, id->rgb, 1);
        q8_pack_uint(to, (uint64_t)id->resize, 1);
        for (int c = 0; c < 4; c++)
            q8_pack_float(to, id->mean[c]);
        for (int c = 0; c < 4; c++)
            q8_pack_float(to, id->norm[c]);
        q8_pack_uint(to, id->mean_plane, 8);
    }
}

/* What has not been merged is its own only part. */
static void pack_parts(q8_buf *to, const q8_origin *origin, uint64_t own)
{
    q8_pack_uint(to, origin->n_parts ? origin->n_parts : 1, 4);
    for (size_t i = 0; i < origin->n_parts; i++)
        q8_pack_uint(to, origin->part[i], 8);
    if (origin->n_parts == 0)
        q8_pack_uint(to, own, 8);
}

static void pack_progress(q8_buf *to, const q8_stats_progress *progress)
{
    q8_pack_uint(to, progress != NULL, 1);
    if (!progress)
        return;
    q8_pack_uint(to, progress->samples, 8);
    q8_pack_uint(to, progress->strict, 1);
    q8_pack_uint(to, progress->n_samples, 8);
    q8_pack_uint(to, progress->state.next, 8);
    q8_pack_uint(to, progress->state.n_unread, 4);
    for (size_t i = 0; i < progress->state.n_unread; i++) {
        const q8_unread *u = &progress->state.unread[i];
        q8_pack_uint(to, u->index, 8);
        q8_pack_uint(to, u->code, 4);
        q8_pack_text(to, u->text);
        q8_pack_text(to, u->file);
    }
}

q8_code q8_stats_pack(q8_buf *to, const q8_stats_subject *subject, const q8_origin *origin,
                      const q8_calibration *cal, const q8_stats_progress *progress, q8_err *err)
{
    q8_buf packed = {0}, size = {0};
    q8_calibration_pack(cal, &packed);
    q8_buf_add(to, magic, sizeof(magic));
    q8_pack_uint(to, Q8_STATS_VERSION, 4);
    q8_pack_uint(to, 0, 8);
    q8_pack_uint(to, subject->layers, 8);
    q8_pack_uint(to, subject->weights, 8);
    q8_pack_text(to, subject->description);
    pack_inputs(to, origin);
    pack_parts(to, origin, q8_hash(0, packed.data, packed.size));
    pack_progress(to, progress);
    q8_buf_add(to, packed.data, packed.size);
    q8_pack_uint(&size, to->size + HASH_SIZE, 8);
    const bool failed = to->failed || packed.failed || size.failed;
    if (!failed) {
        memcpy(to->data + SIZE_AT, size.data, size.size);
        q8_pack_uint(to, q8_hash(0, to->data, to->size), HASH_SIZE);
    }
    q8_buf_free(&packed);
    q8_buf_free(&size);
    return failed || to->failed ? q8_fail_nomem(err) : Q8_OK;
}

/* --- unpacking -------------------------------------------------------------------------------- */

/* What is being read. */
struct reading {
    q8_loc loc;
    q8_unpacker from;
    const q8_stats_subject *subject;
    q8_calibration *cal;
    q8_origin *origin;
    q8_stats_progress *progress;
    q8_err *err;
};

static q8_code damaged(const struct reading *r, const char *how)
{
    return q8_fail(r->err, Q8_EFORMAT, &r->loc, NULL,
                   "these statistics are damaged: %s; make them anew", how);
}

/* What holds for all of the file: sets `from` to what is between the header and the hash. */
static q8_code check_frame(struct reading *r, const unsigned char *data, size_t size)
{
    if (size < sizeof(magic) || memcmp(data, magic, sizeof(magic)) != 0)
        return q8_fail(r->err, Q8_EFORMAT, &r->loc, NULL, "not a file of statistics");
    if (size < HEADER_SIZE + HASH_SIZE)
        return damaged(r, "the file is cut off");
    r->from = (q8_unpacker){data + sizeof(magic), size - sizeof(magic), false};
    const unsigned version = (unsigned)q8_unpack_uint(&r->from, 4);
    const uint64_t want = q8_unpack_uint(&r->from, 8);
    if (version != Q8_STATS_VERSION)
        return q8_fail(r->err, Q8_EFORMAT, &r->loc, NULL,
                       "statistics in version %u of the format, and this program reads version %d: "
                       "make them anew, or use the program that made them",
                       version, Q8_STATS_VERSION);
    if (size < want)
        return q8_fail(r->err, Q8_EFORMAT, &r->loc, NULL,
                       "these statistics are cut off: %zu of %llu bytes are there; copy or make "
                       "them anew",
                       size, (unsigned long long)want);
    if (size > want)
        return damaged(r, "something was added at the end");
    q8_unpacker hash = {data + size - HASH_SIZE, HASH_SIZE, false};
    if (q8_unpack_uint(&hash, HASH_SIZE) != q8_hash(0, data, size - HASH_SIZE))
        return damaged(r, "the checksum is wrong");
    r->from.left -= HASH_SIZE;
    return Q8_OK;
}

static q8_code check_network(struct reading *r)
{
    const q8_stats_subject *is = r->subject;
    const uint64_t layers = q8_unpack_uint(&r->from, 8);
    const uint64_t weights = q8_unpack_uint(&r->from, 8);
    const char *description = q8_unpack_text(&r->from);
    if (r->from.failed)
        return damaged(r, "the network is missing");
    if (layers != is->layers)
        return q8_fail(r->err, Q8_EINVAL, &r->loc, NULL,
                       "statistics of another network, or of another input size: %s; this one is "
                       "%s",
                       description, is->description);
    if (weights != is->weights)
        return q8_fail(r->err, Q8_EINVAL, &r->loc, NULL,
                       "statistics of this network with other weights: calibrate this caffemodel, "
                       "or give the one they were made with");
    return Q8_OK;
}

static bool is_observed(const q8_stats_subject *subject)
{
    for (int t = 0; t < subject->graph->n_tensors; t++)
        if (subject->wanted[t])
            return true;
    return false;
}

static bool can_be_picture(const q8_shape *shape)
{
    return shape->rank == 3 && (shape->dim[0] == 1 || shape->dim[0] == 3);
}

static bool unpack_input(q8_unpacker *from, q8_prep_id *id, const q8_shape *shape)
{
    const int pictures = (int)q8_unpack_uint(from, 1), rgb = (int)q8_unpack_uint(from, 1);
    id->pictures = pictures;
    id->channels = shape->dim[0];
    id->rgb = rgb;
    id->resize = (int)q8_unpack_uint(from, 1);
    for (int c = 0; c < 4; c++)
        id->mean[c] = q8_unpack_float(from);
    for (int c = 0; c < 4; c++)
        id->norm[c] = q8_unpack_float(from);
    id->mean_plane = q8_unpack_uint(from, 8);
    return pictures == 0 || (pictures == 1 && rgb <= 1 && can_be_picture(shape) &&
                             id->resize >= Q8_RESIZE_STRETCH && id->resize <= Q8_RESIZE_LETTERBOX);
}

static q8_code unpack_inputs(struct reading *r)
{
    const q8_graph *graph = r->subject->graph;
    const size_t n = (size_t)q8_unpack_uint(&r->from, 4);
    size_t found = 0;
    bool valid = n <= r->from.left / INPUT_SIZE;
    r->origin->input = valid ? calloc(n + 1, sizeof(*r->origin->input)) : NULL;
    if (valid && !r->origin->input)
        return q8_fail_nomem(r->err);
    for (int i = 0; valid && n > 0 && i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        if (node->op != &q8_op_input)
            continue;
        valid = found < n && unpack_input(&r->from, &r->origin->input[found],
                                          &graph->tensor[node->out[0]].shape);
        found++;
    }
    r->origin->n_inputs = (int)found;
    if (!valid || found != n || (n > 0) != is_observed(r->subject))
        return damaged(r, "the preprocessing");
    return Q8_OK;
}

static q8_code unpack_parts(struct reading *r)
{
    const size_t n = (size_t)q8_unpack_uint(&r->from, 4);
    bool valid = n > 0 && n <= r->from.left / 8;
    r->origin->part = valid ? calloc(n, sizeof(*r->origin->part)) : NULL;
    if (valid && !r->origin->part)
        return q8_fail_nomem(r->err);
    for (size_t i = 0; valid && i < n; i++) {
        r->origin->part[i] = q8_unpack_uint(&r->from, 8);
        valid = i == 0 || r->origin->part[i - 1] <= r->origin->part[i];
    }
    r->origin->n_parts = valid ? n : 0;
    return valid ? Q8_OK : damaged(r, "the parts");
}

/* @param samples in the list */
static q8_code unpack_unread(struct reading *r, q8_loop_state *state, size_t n, size_t samples)
{
    size_t next = 0;
    q8_code code = Q8_OK;
    for (size_t i = 0; i < n && !code; i++) {
        const size_t index = (size_t)q8_unpack_uint(&r->from, 8);
        const q8_code why = (q8_code)q8_unpack_uint(&r->from, 4);
        const char *text = q8_unpack_text(&r->from), *file = q8_unpack_text(&r->from);
        const q8_unread unread = {
            .index = index, .code = why, .text = text, .file = file, .layer = ""};
        if (r->from.failed || index < next || index >= samples || !q8_sample_unreadable(why))
            return damaged(r, "the unreadable samples");
        next = index + 1;
        code = q8_loop_state_add(state, &unread, r->err);
    }
    return code;
}

static q8_code unpack_progress(struct reading *r)
{
    q8_stats_progress *p = r->progress, unwanted = {0};
    const int is_checkpoint = (int)q8_unpack_uint(&r->from, 1);
    if (r->from.failed || is_checkpoint > 1)
        return damaged(r, "the progress");
    if (!is_checkpoint)
        return p ? q8_fail(r->err, Q8_EINVAL, &r->loc, NULL,
                           "statistics of a finished run, not a checkpoint: delete it, or name "
                           "another file")
                 : Q8_OK;
    if (!p)
        p = &unwanted;
    p->samples = q8_unpack_uint(&r->from, 8);
    p->strict = q8_unpack_uint(&r->from, 1);
    p->n_samples = (size_t)q8_unpack_uint(&r->from, 8);
    p->state.next = (size_t)q8_unpack_uint(&r->from, 8);
    const size_t n = (size_t)q8_unpack_uint(&r->from, 4);
    if (p == &unwanted)
        return q8_fail(r->err, Q8_EINVAL, &r->loc, NULL,
                       "the checkpoint of a calibration that is not finished (%zu of %zu samples): "
                       "run it again as it was, so that it goes on",
                       p->state.next, p->n_samples);
    if (r->from.failed || p->state.next > p->n_samples || n > r->from.left / UNREAD_SIZE)
        return damaged(r, "the progress");
    return unpack_unread(r, &p->state, n, p->n_samples);
}

static q8_code unpack_calibration(struct reading *r)
{
    q8_err why = {0};
    const q8_code code =
        q8_calibration_unpack(r->cal, r->from.at, r->from.left, r->subject->graph, &why);
    if (code == Q8_EFORMAT)
        return damaged(r, why.text);
    if (code)
        return q8_fail(r->err, code, &r->loc, NULL, "%s", why.text);
    for (int t = 0; t < r->cal->n_tensors; t++)
        if (r->subject->wanted[t] != (r->cal->stats[t] != NULL))
            return damaged(r, "other tensors");
    if (!r->progress)
        return Q8_OK;
    q8_loop_state *state = &r->progress->state;
    state->used = r->cal->used;
    if (state->n_unread != r->cal->skipped || state->next != r->cal->used + r->cal->skipped)
        return damaged(r, "the number of samples");
    return Q8_OK;
}

q8_code q8_stats_unpack(q8_calibration *cal, q8_origin *origin, q8_stats_progress *progress,
                        const char *path, const void *data, size_t size,
                        const q8_stats_subject *subject, q8_err *err)
{
    struct reading r = {.loc = {.file = path},
                        .subject = subject,
                        .cal = cal,
                        .origin = origin,
                        .progress = progress,
                        .err = err};
    static q8_code (*const step[])(struct reading *) = {check_network, unpack_inputs, unpack_parts,
                                                        unpack_progress, unpack_calibration};
    memset(cal, 0, sizeof(*cal));
    memset(origin, 0, sizeof(*origin));
    if (progress)
        memset(progress, 0, sizeof(*progress));
    q8_code code = check_frame(&r, data, size);
    for (size_t i = 0; i < sizeof(step) / sizeof(step[0]) && !code; i++)
        code = step[i](&r);
    if (!code)
        return Q8_OK;
    q8_calibration_free(cal);
    q8_origin_free(origin);
    if (progress)
        q8_loop_state_free(&progress->state);
    return code;
}

q8_code q8_stats_load(q8_calibration *cal, q8_origin *origin, q8_stats_progress *progress,
                      const char *path, const q8_stats_subject *subject, q8_err *err)
{
    q8_bytes bytes = {0};
    memset(cal, 0, sizeof(*cal));
    memset(origin, 0, sizeof(*origin));
    q8_code code = q8_file_read(&bytes, path, Q8_MAX_STATS_FILE, err);
    if (!code)
        code = q8_stats_unpack(cal, origin, progress, path, bytes.data, bytes.size, subject, err);
    q8_bytes_free(&bytes);
    return code;
}
