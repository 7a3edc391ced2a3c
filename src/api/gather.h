/** What the report tells of a model, out of the model. */
#ifndef Q8_API_GATHER_H
#define Q8_API_GATHER_H

#include "api/model.h"
#include "report/html.h"

/** Fills `layer`, by node of the int8 network. */
q8_code q8_gather_layers(q8_report_data *data, const q8_model *model,
                         const q8_verify_result *verified, q8_arena *arena, q8_err *err);
/** Fills `tensor` and `fast`. */
q8_code q8_gather_tensors(q8_report_data *data, const q8_model *model, q8_arena *arena,
                          q8_err *err);
/** Fills `picture` and `channel` from some of the pictures; none where the first input is no
 *  picture. The PNG files are for q8_buf_free(), also after a failure. */
q8_code q8_gather_pictures(q8_report_data *data, const q8_model *model, const q8_calib_opts *opts,
                           q8_arena *arena, q8_err *err);

/** What becomes of `output->json` and `output->report`, for q8_buf_free() also after a failure; the
 *  buffer remembers whether there was memory. @param size of the model's files */
q8_code q8_json_make(q8_buf *text, const q8_model *model, const q8_report_opts *about, q8_err *err);
q8_code q8_report_make(q8_buf *page, const q8_model *model, const q8_report_opts *about,
                       const q8_write_result *size, q8_err *err);

#endif
