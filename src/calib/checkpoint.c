#include "calib/checkpoint.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/replace.h"
#include "base/team.h"

static q8_code refuse(const q8_checkpoint *c, q8_err *err, const char *what, const char *now)
{
    const q8_loc loc = {.file = c->path};
    return q8_fail(err, Q8_EINVAL, &loc, NULL,
                   "the checkpoint of a run with %s%s: finish that run, delete the file, or write "
                   "the statistics to another file",
                   what, now);
}

/* It must be of the same samples, preprocessed alike. */
static q8_code check(const q8_checkpoint *c, const q8_origin *origin,
                     const q8_stats_progress *progress, q8_err *err)
{
    const int differs = q8_origin_differs(&c->origin, origin);
    if (differs >= 0) {
        char was[256], is[256], now[300];
        snprintf(now, sizeof(now), ", and not %s", q8_prep_id_text(&c->origin.input[differs], is));
        return refuse(c, err, q8_prep_id_text(&origin->input[differs], was), now);
    }
    if (progress->strict != c->over.strict)
        return refuse(c, err, progress->strict ? "--strict" : "no --strict", "");
    if (progress->n_samples != c->over.n_samples || progress->samples != c->over.samples)
        return refuse(c, err, "other pictures, or another --limit", "");
    return Q8_OK;
}

static q8_code resume(const q8_checkpoint *c, q8_calibration *cal, q8_loop_state *state,
                      const q8_env *env, q8_err *err)
{
    q8_origin origin = {0};
    q8_stats_progress progress;
    q8_code code = q8_stats_load(cal, &origin, &progress, c->path, &c->subject, err);
    if (code)
        return code;
    code = check(c, &origin, &progress, err);
    q8_origin_free(&origin);
    if (code) {
        q8_loop_state_free(&progress.state);
        q8_calibration_free(cal);
        return code;
    }
    *state = progress.state;
    const q8_loc loc = {.file = c->path};
    q8_note(env, &loc, NULL, "calibration goes on from here: %zu of %zu samples are done",
            state->next, progress.n_samples);
    return Q8_OK;
}

/* The samples that this member of the team does. */
static uint64_t share_id(const q8_samples *samples, const q8_env *env)
{
    const uint64_t id = q8_samples_id(samples), size = (uint64_t)q8_team_size(env);
    return size > 1 ? q8_hash_uint(q8_hash_uint(id, (uint64_t)q8_team_rank(env)), size) : id;
}

q8_code q8_checkpoint_open(q8_checkpoint *checkpoint, const q8_samples *samples, bool strict,
                           q8_calibration *cal, q8_loop_state *state, const q8_env *env,
                           q8_err *err)
{
    memset(cal, 0, sizeof(*cal));
    memset(state, 0, sizeof(*state));
    checkpoint->over = (q8_stats_progress){.samples = share_id(samples, env),
                                           .strict = strict,
                                           .n_samples = q8_samples_count(samples)};
    const q8_code code = q8_origin_of_samples(&checkpoint->origin, samples, err);
    if (code || access(checkpoint->path, F_OK) != 0)
        return code;
    return resume(checkpoint, cal, state, env, err);
}

q8_code q8_checkpoint_write(const q8_checkpoint *checkpoint, const q8_calibration *cal,
                            const q8_loop_state *state, q8_err *err)
{
    q8_buf bytes = {0};
    q8_stats_progress progress = checkpoint->over;
    progress.state = *state;
    if (state->next == 0)
        return Q8_OK;
    q8_code code =
        q8_stats_pack(&bytes, &checkpoint->subject, &checkpoint->origin, cal, &progress, err);
    if (!code)
        code = q8_file_replace(checkpoint->path, bytes.data, bytes.size, err);
    q8_buf_free(&bytes);
    return code;
}

void q8_checkpoint_close(q8_checkpoint *checkpoint)
{
    q8_origin_free(&checkpoint->origin);
}
