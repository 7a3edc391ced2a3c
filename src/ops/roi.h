/** Attributes of the layers that pool regions of a feature map. */
#ifndef Q8_OPS_ROI_H
#define Q8_OPS_ROI_H

#include "ops/op.h"

/** ROIPooling and PSROIPooling. */
typedef struct q8_roi_attr {
    int pooled_w, pooled_h;
    float scale;    /**< feature map / picture */
    int output_dim; /**< of PSROIPooling, which has as many times pooled_h * pooled_w channels */
} q8_roi_attr;

/** How sampling points are laid; ncnn's first way writes outside its memory on x86 now and then. */
enum { Q8_ROIALIGN_UNSAFE = 0, Q8_ROIALIGN_PUBLISHED = 1 };

typedef struct q8_roialign_attr {
    int pooled_w, pooled_h;
    float scale;
    int sampling_ratio; /**< points per bin, each way; 0: as many as pixels */
    int aligned;        /**< coordinates are moved by half a pixel */
    int version;        /**< one of the above */
} q8_roialign_attr;

/* from_caffe() of each. */
q8_code q8_roipooling_from_caffe(struct q8_caffe_import *im);
q8_code q8_psroipooling_from_caffe(struct q8_caffe_import *im);
q8_code q8_roialign_from_caffe(struct q8_caffe_import *im);

#endif
