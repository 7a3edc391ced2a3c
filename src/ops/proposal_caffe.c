/* Proposal, as the C++ layer of the forks and as py-faster-rcnn's Python layer. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/proposal.h"
#include "ops/rows.h"

static bool same_list(size_t n, const float *list, const float *wanted, size_t n_wanted)
{
    for (size_t i = 0; i < n && n == n_wanted; i++)
        if (fabsf(list[i] - wanted[i]) > 1e-6f)
            return false;
    return n == n_wanted;
}

static q8_code check_anchors(q8_caffe_import *im, const void *message, const char *field,
                             const char *what, bool same, const char *has)
{
    if (same)
        return Q8_OK;
    return q8_im_fail(im, Q8_EUNSUPPORTED, message, field,
                      "ncnn's Proposal has the anchor %s %s built in; for others end the network "
                      "before this layer and make the regions in the program that runs it",
                      what, has);
}

static q8_code add_proposal(q8_caffe_import *im, const q8_proposal_attr *attr)
{
    if (im->n_in != 3 || im->in_shape[0].rank != 3)
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                          "a proposal layer needs three bottoms: scores, box moves and im_info");
    const size_t candidates =
        q8_shape_spatial(&im->in_shape[0]) * Q8_PROPOSAL_RATIOS * Q8_PROPOSAL_SCALES;
    q8_node *node = q8_im_node(im, &q8_op_proposal);
    if (!node)
        return q8_im_failed(im);
    q8_proposal_attr *a = node->attr;
    *a = *attr;
    if (a->post_nms < 1 || (size_t)a->post_nms > candidates) /* all, or no more than there are */
        a->post_nms = candidates <= Q8_MAX_EXTENT ? (int)candidates : Q8_MAX_EXTENT;
    q8_im_warn(im, NULL, NULL,
               "in ncnn the regions come without the picture's number: 4 values each, not 5");
    return Q8_OK;
}

static q8_code read_layer(q8_caffe_import *im)
{
    static const Caffe__ProposalParameter none = CAFFE__PROPOSAL_PARAMETER__INIT;
    const Caffe__ProposalParameter *message = im->param->proposal_param;
    const Caffe__ProposalParameter *p = message ? message : &none;
    q8_proposal_attr a = {.nms_threshold = p->nms_thresh};
    q8_code code;
    if ((code = q8_read_uint(im, message, "feat_stride", p->feat_stride, 1, &a.feat_stride)) ||
        (code = q8_read_uint(im, message, "base_size", p->base_size, 1, &a.base_size)) ||
        (code = q8_read_uint(im, message, "min_size", p->min_size, 0, &a.min_size)) ||
        (code = q8_read_uint(im, message, "pre_nms_topn", p->pre_nms_topn, 0, &a.pre_nms)) ||
        (code = q8_read_uint(im, message, "post_nms_topn", p->post_nms_topn, 0, &a.post_nms)))
        return code;
    if ((code = check_anchors(
             im, message, "ratio", "ratios",
             !p->n_ratio || same_list(p->n_ratio, p->ratio, q8_proposal_ratio, Q8_PROPOSAL_RATIOS),
             "0.5, 1, 2")) ||
        (code = check_anchors(
             im, message, "scale", "scales",
             !p->n_scale || same_list(p->n_scale, p->scale, q8_proposal_scale, Q8_PROPOSAL_SCALES),
             "8, 16, 32")))
        return code;
    return add_proposal(im, &a);
}

/* --- the Python layer's param_str: YAML such as "'feat_stride': 16" or "{feat_stride: 16}" ------
 */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* What follows `key` and its colon; NULL: there is none. */
static const char *value_of(const char *text, const char *key)
{
    const size_t length = strlen(key);
    for (const char *at = text; (at = strstr(at, key)); at += length) {
        if ((at > text && is_word(at[-1])) || is_word(at[length]))
            continue;
        const char *value = at + length;
        value += strspn(value, "'\" \t");
        if (*value == ':')
            return value + 1;
    }
    return NULL;
}

/* The numbers of a flow list or a tuple, up to `most`. @return how many; `most` + 1: more, or not a
 * list */
static size_t read_list(const char *text, float *list, size_t most)
{
    const size_t end = strcspn(text, "])\n}");
    const char *stop = text + end;
    size_t n = 0;
    text += strcspn(text, "[(");
    if (text >= stop)
        return most + 1;
    for (text++;; text++) {
        char *after;
        const float x = strtof(text, &after);
        if (after == text || after > stop || n == most)
            return most + 1;
        list[n++] = x;
        text = after + strspn(after, " \t");
        if (*text != ',')
            return text == stop ? n : most + 1;
    }
}

static q8_code read_int(q8_caffe_import *im, const Caffe__PythonParameter *p, const char *key,
                        int least, int *result)
{
    const char *value = value_of(p->param_str, key);
    if (!value)
        return Q8_OK;
    char *after;
    const double x = strtod(value, &after);
    if (after == value || !(x >= least && x <= Q8_MAX_EXTENT))
        return q8_im_fail(im, Q8_EMODEL, p, "param_str", "%s in '%s' is not a number from %d", key,
                          p->param_str, least);
    *result = (int)x;
    return Q8_OK;
}

static q8_code check_list(q8_caffe_import *im, const Caffe__PythonParameter *p, const char *key,
                          const char *what, const float *wanted, size_t n_wanted, const char *has)
{
    enum { MOST = 16 };
    float list[MOST];
    const char *value = value_of(p->param_str, key);
    const size_t n = value ? read_list(value, list, MOST) : 0;
    return check_anchors(im, p, "param_str", what,
                         !value || (n <= MOST && same_list(n, list, wanted, n_wanted)), has);
}

/* py-faster-rcnn's ProposalLayer with the settings of its cfg.TEST. */
static q8_code read_python(q8_caffe_import *im)
{
    const Caffe__PythonParameter *p = im->param->python_param;
    if (!p || !p->layer)
        return q8_im_fail(im, Q8_EMODEL, p, "layer", "python_param needs module and layer");
    if (strcmp(p->layer, "ProposalLayer") != 0)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "layer",
                          "the Python layer %s.%s is a program, not a description; only "
                          "ProposalLayer is known here: end the network before this layer and do "
                          "its work in the program that runs it",
                          p->module ? p->module : "", p->layer);
    q8_proposal_attr a = {.base_size = 16, .nms_threshold = 0.7f, .pre_nms = 6000};
    a.feat_stride = a.min_size = 16;
    a.post_nms = 300;
    q8_code code;
    if (!value_of(p->param_str, "feat_stride"))
        return q8_im_fail(im, Q8_EMODEL, p, "param_str", "feat_stride missing in '%s'",
                          p->param_str);
    if ((code = read_int(im, p, "feat_stride", 1, &a.feat_stride)) ||
        (code = check_list(im, p, "scales", "scales", q8_proposal_scale, Q8_PROPOSAL_SCALES,
                           "8, 16, 32")) ||
        (code = check_list(im, p, "ratios", "ratios", q8_proposal_ratio, Q8_PROPOSAL_RATIOS,
                           "0.5, 1, 2")))
        return code;
    return add_proposal(im, &a);
}

q8_code q8_proposal_from_caffe(q8_caffe_import *im)
{
    return strcmp(im->layer->type, "Python") == 0 ? read_python(im) : read_layer(im);
}
