/** `--keep-float`, `--max-kl`, `--min-cosine`, `--min-agreement`. */
#ifndef Q8_TOOL_REACH_H
#define Q8_TOOL_REACH_H

#include "options.h"

/** Sets quant->keep_float from names with commas between them; NULL: none. */
q8_code keep_float_split(q8_quant_opts *quant, const char *names, q8_err *err);
void keep_float_free(q8_quant_opts *quant);

/** An accuracy was asked for. */
bool reach_is_asked(const struct options *o);

/** Quantises so that it is reached. */
q8_code reach_run(q8_reach_result *result, q8_model *model, const struct options *o,
                  const q8_quant_opts *quant, const q8_calib_opts *calib,
                  const q8_calib_result *calibrated, const q8_env *env, q8_err *err);

/** The trade-off, and on stderr what was not reached. Nothing without a curve. */
void reach_print(const q8_reach_result *result, const struct options *o);

#endif
