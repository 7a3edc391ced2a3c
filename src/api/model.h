/** What a model holds. */
#ifndef Q8_API_MODEL_H
#define Q8_API_MODEL_H

#include "api/told.h"
#include "caffe/net.h"
#include "calib/calibrate.h"

/** Of calibration in bf16. */
typedef struct q8_fast {
    q8_calibration bf16, fp32; /**< of the same few pictures */
    q8_fast_info info;
} q8_fast;

struct q8_model {
    q8_arena *arena;
    q8_graph *unsplit; /**< float, as it is written in fp32 and fp16 */
    /** The same with groups split where only that makes them int8; calibration runs it. */
    q8_graph *graph;
    q8_arena *int8_arena; /**< of all that the next q8_quantize() replaces */
    q8_graph *int8;       /**< what quantising made of a copy; NULL before q8_quantize() */
    /** The same, rewritten but not yet quantised: the same nodes; NULL when nothing was rewritten.
     */
    const q8_graph *rewritten;
    q8_caffe_transform transform;
    q8_calibration calibration; /**< holds nothing where no layer can run in int8 */
    q8_origin origin;           /**< of `calibration` */
    q8_fast fast;               /**< holds nothing where calibration was in fp32 */
    q8_gpu *gpu;                /* borrowed; NULL: the CPU */
    bool calibrated;
    bool no_channel_histograms; /**< `calibration` lacks them: channels' bins are empty */
    q8_told *told;              /**< since the calibration began */
    float *threshold;           /**< by tensor of `int8` */
};

/** The model becomes one that has not been calibrated. */
void q8_model_forget(q8_model *model);

#endif
