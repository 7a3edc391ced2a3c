/** Attributes of Proposal, shared by the layer and what reads it from Caffe. */
#ifndef Q8_OPS_PROPOSAL_H
#define Q8_OPS_PROPOSAL_H

#include "ops/op.h"

enum { Q8_PROPOSAL_RATIOS = 3, Q8_PROPOSAL_SCALES = 3 };

/** Anchors: every ratio with every scale. ncnn has these built in. */
extern const float q8_proposal_ratio[Q8_PROPOSAL_RATIOS];
extern const float q8_proposal_scale[Q8_PROPOSAL_SCALES];

typedef struct q8_proposal_attr {
    int feat_stride, base_size;
    int pre_nms, post_nms; /**< regions kept before and after dropping overlaps */
    float nms_threshold;
    int min_size;
} q8_proposal_attr;

/** Reads the C++ layer Proposal and the Python layer ProposalLayer. */
q8_code q8_proposal_from_caffe(struct q8_caffe_import *im);

#endif
