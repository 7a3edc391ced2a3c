#include "stats.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reach.h"
#include "verify.h"

bool stats_is_all(const struct options *o)
{
    return o->stats_out && !o->output_param && !o->output_bin;
}

const char *stats_usage(const struct options *o)
{
    const bool has_pictures = o->n_images > 0;
    if ((o->n_stats || o->stats_out) && o->precision != Q8_INT8)
        return "--stats and --stats_out are for --precision int8";
    if (o->table && (o->n_stats || o->stats_out))
        return "--table and --stats or --stats_out: a table has all scales, and no statistics are "
               "gathered or needed";
    if (o->n_stats && o->compat)
        return "--stats and --compat: the older tools' thresholds need a second pass over the "
               "pictures, so give --images instead";
    if (o->n_stats && !has_pictures && reach_is_asked(o))
        return "--max_kl, --min_cosine and --min_agreement are judged on pictures: give --images "
               "beside --stats";
    if (o->n_stats && !has_pictures && verify_is_count(o) && atoi(o->verify[0]) > 0)
        return "--verify N takes pictures of --images, which is missing; name a folder";
    if (stats_is_all(o) && (o->json || o->report || o->output_table || o->labels))
        return "--json, --report, --output_table and --labels tell of a model: give --output_param "
               "and --output_bin too";
    return NULL;
}

char *stats_checkpoint(const struct options *o, const q8_team *team)
{
    enum { EXTENSION = 64 };
    if (!o->stats_out || o->n_stats)
        return NULL;
    const size_t size = strlen(o->stats_out) + EXTENSION;
    char *path = malloc(size);
    if (path && team && team->size > 1)
        snprintf(path, size, "%s.partial.%d-of-%d", o->stats_out, team->rank, team->size);
    else if (path)
        snprintf(path, size, "%s.partial", o->stats_out);
    return path;
}

static void note_what_is_left_out(const struct options *o, const q8_env *env)
{
    q8_err note = {0};
    snprintf(note.text, sizeof(note.text),
             "without --images the int8 model is made from statistics alone: no refinement on "
             "pictures%s",
             o->n_verify > 0 ? "" : ", no verification");
    if (env->note)
        env->note(env->user, &note);
}

q8_code stats_read(q8_model *model, const struct options *o, const q8_calib_opts *calib,
                   const q8_env *env, q8_calib_result *calibrated, q8_err *err)
{
    q8_verify_opts verify;
    const q8_calib_result none = {0};
    const q8_calib_opts *pictures = o->n_images > 0 ? calib : NULL;
    if (!pictures && !stats_is_all(o) && verify_choose(&verify, o, calib, &none))
        pictures = &verify.pictures;
    const q8_stats_opts opts = {.paths = o->stats,
                                .n_paths = o->n_stats,
                                .preprocess = o->preprocess,
                                .pictures = pictures};
    const q8_code code = q8_stats_read(model, &opts, env, calibrated, err);
    if (!code && o->n_images == 0 && !stats_is_all(o))
        note_what_is_left_out(o, env);
    return code;
}

void stats_print_interrupted(const struct options *o, const q8_team *team)
{
    char *path = stats_checkpoint(o, team);
    if (path && access(path, F_OK) == 0)
        fprintf(stderr, "interrupted: no model was written; the same command goes on from %s\n",
                path);
    else
        fputs("interrupted: nothing was written\n", stderr);
    free(path);
}
