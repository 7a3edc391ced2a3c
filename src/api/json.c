/* What became of a model, for programs. */
#include "report/json.h"

#include "api/gather.h"

static void put_calibration(q8_json *json, const q8_calib_result *calibrated)
{
    q8_json_open_line(json, "calibration", '{');
    q8_json_integer(json, "used", calibrated->used);
    q8_json_integer(json, "skipped", calibrated->skipped);
    q8_json_float(json, "seconds", (float)calibrated->seconds);
    q8_json_close(json, '}');
}

static void put_measured(q8_json *json, const q8_report_layer *layer)
{
    q8_json_float(json, "sqnr_db", (float)layer->measured->sqnr);
    q8_json_float(json, "cosine", (float)layer->measured->cosine);
    if (!layer->int8)
        return;
    q8_json_float(json, "alone_sqnr_db", (float)layer->measured->alone_sqnr);
    q8_json_float(json, "alone_cosine", (float)layer->measured->alone_cosine);
    q8_json_float(json, "saturation", (float)layer->measured->saturation);
}

static void put_weights(q8_json *json, const q8_report_weights *w)
{
    q8_json_integer(json, "weights", w->count);
    q8_json_float(json, "weight_absmax_min", w->absmax_min);
    q8_json_float(json, "weight_absmax_max", w->absmax_max);
    q8_json_float(json, "weight_scale_min", w->scale_min);
    q8_json_float(json, "weight_scale_max", w->scale_max);
    q8_json_integer(json, "not_nearest", w->moved);
    q8_json_integer(json, "biases_corrected", w->corrected);
}

static void put_layer(q8_json *json, const q8_report_layer *layer)
{
    q8_json_open_line(json, NULL, '{');
    q8_json_text(json, "name", layer->name);
    q8_json_text(json, "type", layer->type);
    q8_json_integer(json, "macs", layer->macs);
    q8_json_bool(json, "int8", layer->int8);
    if (layer->int8)
        q8_json_float(json, "threshold", (float)layer->threshold);
    else
        q8_json_text(json, "reason", layer->reason);
    if (layer->measured)
        put_measured(json, layer);
    if (layer->weights)
        put_weights(json, layer->weights);
    q8_json_close(json, '}');
}

static void put_fast(q8_json *json, const q8_fast_info *fast)
{
    q8_json_open_line(json, "bf16", '{');
    q8_json_integer(json, "pictures", fast->pictures);
    if (fast->pictures) {
        q8_json_float(json, "threshold_difference_median", (float)fast->median);
        q8_json_float(json, "threshold_difference_max", (float)fast->largest);
        q8_json_text(json, "at", fast->where);
    }
    q8_json_close(json, '}');
}

/* What int8 layers read. */
static void put_tensor(q8_json *json, const q8_report_tensor *t)
{
    q8_json_open_line(json, NULL, '{');
    q8_json_text(json, "name", t->name);
    q8_json_text(json, "first_reader", t->reader);
    q8_json_integer(json, "readers", t->n_readers);
    if (t->seen) {
        q8_json_float(json, "min", (float)t->min);
        q8_json_float(json, "max", (float)t->max);
        q8_json_float(json, "zeros", (float)t->zeros);
        q8_json_float(json, "beyond", (float)t->beyond);
    }
    q8_json_float(json, "largest_code", (float)t->threshold);
    q8_json_bool(json, "shifted", t->shifted);
    q8_json_bool(json, "negated", t->negated);
    q8_json_integer(json, "channels", t->channels);
    q8_json_integer(json, "equalised", t->equalised);
    q8_json_float(json, "factor_max", (float)t->factor_max);
    if (t->fast) {
        q8_json_float(json, "threshold_fp32", t->fast->fp32);
        q8_json_float(json, "threshold_bf16", t->fast->bf16);
    }
    q8_json_close(json, '}');
}

static void put_output(q8_json *json, const q8_verify_output *out)
{
    q8_json_open_line(json, NULL, '{');
    q8_json_text(json, "name", out->name);
    q8_json_float(json, "sqnr_db", (float)out->sqnr);
    q8_json_float(json, "cosine", (float)out->cosine);
    if (out->classes) {
        q8_json_integer(json, "classes", out->classes);
        q8_json_float(json, "agreement", (float)out->agreement);
        q8_json_float(json, "kl", (float)out->kl);
    }
    q8_json_close(json, '}');
}

static void put_verification(q8_json *json, const q8_verify_result *v)
{
    q8_json_open(json, "verification", '{');
    q8_json_integer(json, "used", v->used);
    q8_json_integer(json, "skipped", v->skipped);
    q8_json_bool(json, "unseen", v->unseen);
    q8_json_float(json, "seconds", (float)v->seconds);
    q8_json_open(json, "outputs", '[');
    for (size_t i = 0; i < v->n_outputs; i++)
        put_output(json, &v->output[i]);
    q8_json_close(json, ']');
    if (v->labelled) {
        q8_json_integer(json, "labelled", v->labelled);
        q8_json_float(json, "float_accuracy", (float)v->float_accuracy);
        q8_json_float(json, "int8_accuracy", (float)v->int8_accuracy);
    }
    q8_json_close(json, '}');
}

static void put_reached(q8_json *json, const q8_reach_result *r)
{
    q8_json_open(json, "accuracy", '{');
    q8_json_bool(json, "met", r->met);
    q8_json_integer(json, "used", r->used);
    q8_json_open(json, "curve", '[');
    for (size_t i = 0; i < r->n_curve; i++) {
        const q8_trade_off *at = &r->curve[i];
        q8_json_open_line(json, NULL, '{');
        q8_json_integer(json, "float_layers", at->n_float);
        q8_json_float(json, "int8_macs", (float)at->int8_share);
        q8_json_float(json, "kl", (float)at->kl);
        q8_json_float(json, "agreement", (float)at->agreement);
        q8_json_float(json, "cosine", (float)at->cosine);
        q8_json_bool(json, "chosen", i == r->chosen);
        q8_json_close(json, '}');
    }
    q8_json_close(json, ']');
    q8_json_close(json, '}');
}

static void put_model(q8_json *json, const q8_report_data *data, const q8_reach_result *reached)
{
    q8_json_open(json, NULL, '{');
    q8_json_text(json, "version", q8_version());
    if (data->calibrated)
        put_calibration(json, data->calibrated);
    if (data->fast)
        put_fast(json, data->fast);
    q8_json_open(json, "layers", '[');
    for (size_t i = 0; i < data->n_layers; i++)
        if (data->layer[i].linear)
            put_layer(json, &data->layer[i]);
    q8_json_close(json, ']');
    q8_json_open(json, "tensors", '[');
    for (size_t i = 0; i < data->n_tensors; i++)
        put_tensor(json, &data->tensor[i]);
    q8_json_close(json, ']');
    if (data->verified)
        put_verification(json, data->verified);
    if (reached)
        put_reached(json, reached);
    q8_json_close(json, '}');
}

q8_code q8_json_make(q8_buf *text, const q8_model *model, const q8_report_opts *about, q8_err *err)
{
    q8_json json = {.buf = text};
    q8_report_data data = {.calibrated = about->calibrated, .verified = about->verified};
    q8_arena *arena = q8_arena_open();
    q8_code code =
        arena ? q8_gather_layers(&data, model, about->verified, arena, err) : q8_fail_nomem(err);
    if (!code)
        code = q8_gather_tensors(&data, model, arena, err);
    if (!code)
        put_model(&json, &data, about->reached);
    q8_arena_close(&arena);
    return code;
}
