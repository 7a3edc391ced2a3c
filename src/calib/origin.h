/** Where statistics come from: how pictures were preprocessed, and which calibrations were merged.
 */
#ifndef Q8_CALIB_ORIGIN_H
#define Q8_CALIB_ORIGIN_H

#include "calib/samples.h"

/** Besides the network. Zero-initialised it holds nothing. */
typedef struct q8_origin {
    q8_prep_id *input; /**< by input; NULL: nothing was observed, and no picture looked at */
    int n_inputs;
    /** Hashes of the calibrations that were merged, ascending; none: it has not been merged. */
    uint64_t *part;
    size_t n_parts;
} q8_origin;

/** Takes the preprocessing down. `*origin` holds nothing yet. */
q8_code q8_origin_of_samples(q8_origin *origin, const q8_samples *samples, q8_err *err);
/** `into` becomes the origin of both together. `into` holds nothing yet, or they are of the same
 *  network and their preprocessing agrees. */
q8_code q8_origin_merge(q8_origin *into, const q8_origin *from, q8_err *err);
/** Some part of the one is also one of the other. */
bool q8_origin_share(const q8_origin *a, const q8_origin *b);
/** The first input that is preprocessed otherwise; -1: none. */
int q8_origin_differs(const q8_origin *a, const q8_origin *b);
void q8_origin_free(q8_origin *origin);

#endif
