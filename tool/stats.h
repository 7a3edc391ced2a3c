/** `--stats` and `--stats_out`: saved statistics, and what a run of its own has left of them. */
#ifndef Q8_TOOL_STATS_H
#define Q8_TOOL_STATS_H

#include "options.h"

/** What is wrong with the flags about statistics; NULL: nothing. */
const char *stats_usage(const struct options *o);

/** Nothing but statistics is to be written. */
bool stats_is_all(const struct options *o);

/** The name of the checkpoint, one for each member of a team, for free(); NULL when none is asked
 * for or out of memory. */
char *stats_checkpoint(const struct options *o, const q8_team *team);

/** Reads the files behind `--stats`. A note says what cannot be done without pictures. */
q8_code stats_read(q8_model *model, const struct options *o, const q8_calib_opts *calib,
                   const q8_env *env, q8_calib_result *calibrated, q8_err *err);

/** What an interrupted run says of what it leaves. */
void stats_print_interrupted(const struct options *o, const q8_team *team);

#endif
