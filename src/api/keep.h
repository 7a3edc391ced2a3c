/** Layers that are to stay float. */
#ifndef Q8_API_KEEP_H
#define Q8_API_KEEP_H

#include "api/model.h"

/** Gives the nodes of `graph` that opts->keep_float names their reason to be float. */
q8_code q8_keep_float(const q8_model *model, q8_graph *graph, const q8_quant_opts *opts,
                      q8_err *err);

#endif
