/* q8_net_json(): what q8_net_open() found, for programs. */
#include <q8/q8.h>

#include "base/err.h"
#include "report/json.h"

static void put_tensors(q8_json *json, const char *key, const q8_net_tensor *tensor, size_t n)
{
    q8_json_open(json, key, '[');
    for (size_t i = 0; i < n; i++) {
        q8_json_open(json, NULL, '{');
        q8_json_text(json, "name", tensor[i].name);
        q8_json_open(json, "shape", '[');
        for (int k = 0; k < tensor[i].rank; k++)
            q8_json_integer(json, NULL, (uint64_t)tensor[i].dim[k]);
        q8_json_close(json, ']');
        q8_json_close(json, '}');
    }
    q8_json_close(json, ']');
}

static void put_scale(q8_json *json, const char *key, float scale)
{
    if (scale > 0)
        q8_json_float(json, key, scale);
}

static void put_layer(q8_json *json, const q8_net_layer *layer)
{
    q8_json_open_line(json, NULL, '{');
    q8_json_text(json, "name", layer->name);
    q8_json_text(json, "type", layer->type);
    put_tensors(json, "inputs", layer->in, layer->n_in);
    put_tensors(json, "outputs", layer->out, layer->n_out);
    q8_json_integer(json, "parameters", layer->params);
    q8_json_integer(json, "macs", layer->macs);
    q8_json_open(json, "fused", '[');
    for (size_t i = 0; i < layer->n_fused; i++)
        q8_json_text(json, NULL, layer->fused[i]);
    q8_json_close(json, ']');
    if (layer->on_cpu)
        q8_json_bool(json, "on_cpu", true);
    q8_json_bool(json, "int8", layer->int8);
    put_scale(json, "input_scale", layer->in_scale);
    put_scale(json, "output_scale", layer->out_scale);
    put_scale(json, "weight_scale_min", layer->weight_scale_min);
    put_scale(json, "weight_scale_max", layer->weight_scale_max);
    q8_json_close(json, '}');
}

q8_code q8_net_json(const q8_net *net, char **text, q8_err *err)
{
    q8_buf buf = {0};
    q8_json json = {.buf = &buf};
    *text = NULL;
    q8_json_open(&json, NULL, '{');
    q8_json_text(&json, "name", net->name);
    q8_json_open(&json, "layers", '[');
    for (size_t i = 0; i < net->n_layers; i++)
        put_layer(&json, &net->layer[i]);
    q8_json_close(&json, ']');
    q8_json_open_line(&json, "total", '{');
    q8_json_integer(&json, "layers", net->n_layers);
    q8_json_integer(&json, "int8_layers", net->n_int8);
    q8_json_integer(&json, "fused_layers", net->n_fused);
    q8_json_integer(&json, "dropped_layers", net->n_dropped);
    q8_json_integer(&json, "parameters", net->params);
    q8_json_integer(&json, "fp32_bytes", net->params * sizeof(float));
    q8_json_integer(&json, "macs", net->macs);
    q8_json_close(&json, '}');
    q8_json_close(&json, '}');
    if (buf.failed) {
        q8_buf_free(&buf);
        return q8_fail_nomem(err);
    }
    *text = (char *)buf.data;
    return Q8_OK;
}
