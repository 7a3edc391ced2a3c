/* q8_write_json(): what became of a model, for programs. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/json.h"

static void put_calibration(q8_json *json, const q8_calib_result *calibrated)
{
    q8_json_open_line(json, "calibration", '{');
    q8_json_integer(json, "used", calibrated->used);
    q8_json_integer(json, "skipped", calibrated->skipped);
    q8_json_float(json, "seconds", (float)calibrated->seconds);
    q8_json_close(json, '}');
}

/* @param verified NULL: was not */
static void put_layer(q8_json *json, const q8_layer_info *layer, const q8_verify_layer *verified)
{
    q8_json_open_line(json, NULL, '{');
    q8_json_text(json, "name", layer->name);
    q8_json_text(json, "type", layer->type);
    q8_json_bool(json, "int8", layer->int8);
    if (layer->int8)
        q8_json_float(json, "threshold", layer->threshold);
    else
        q8_json_text(json, "reason", layer->reason);
    if (verified) {
        q8_json_float(json, "sqnr_db", (float)verified->sqnr);
        q8_json_float(json, "cosine", (float)verified->cosine);
    }
    if (verified && layer->int8) {
        q8_json_float(json, "alone_sqnr_db", (float)verified->alone_sqnr);
        q8_json_float(json, "alone_cosine", (float)verified->alone_cosine);
        q8_json_float(json, "saturation", (float)verified->saturation);
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

static void put_model(q8_json *json, const q8_model *model, const q8_calib_result *calibrated,
                      const q8_verify_result *verified, const q8_reach_result *reached)
{
    const size_t layers = q8_model_layer_count(model);
    const bool by_layer = verified && verified->n_layers == layers;
    q8_json_open(json, NULL, '{');
    q8_json_text(json, "version", q8_version());
    if (calibrated)
        put_calibration(json, calibrated);
    q8_json_open(json, "layers", '[');
    for (size_t i = 0; i < layers; i++) {
        const q8_layer_info layer = q8_model_layer(model, i);
        put_layer(json, &layer, by_layer ? &verified->layer[i] : NULL);
    }
    q8_json_close(json, ']');
    if (verified)
        put_verification(json, verified);
    if (reached)
        put_reached(json, reached);
    q8_json_close(json, '}');
}

q8_code q8_write_json(const char *path, const q8_model *model, const q8_calib_result *calibrated,
                      const q8_verify_result *verified, const q8_reach_result *reached, q8_err *err)
{
    q8_buf text = {0};
    q8_json json = {.buf = &text};
    put_model(&json, model, calibrated, verified, reached);
    const q8_code code =
        text.failed ? q8_fail_nomem(err) : q8_file_replace(path, text.data, text.size, err);
    q8_buf_free(&text);
    return code;
}
