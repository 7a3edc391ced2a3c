#include "ncnn/table.h"

#include "ncnn/names.h"
#include "ncnn/number.h"

static void add_scale(q8_buf *text, float scale)
{
    char number[Q8_NCNN_VALUE_SIZE];
    q8_ncnn_format_float(scale, number);
    q8_buf_printf(text, " %s", number);
}

static bool is_rewritten(const q8_graph *graph, int tensor)
{
    return graph->tensor[tensor].factor || graph->tensor[tensor].shift != 0;
}

q8_code q8_table_write(q8_buf *text, const q8_graph *graph, q8_err *err)
{
    q8_ncnn_names names;
    q8_code code = q8_ncnn_names_make(graph, &names, err);
    for (int i = 0; i < graph->n_nodes && !code; i++) {
        const q8_quant *quant = graph->node[i]->quant;
        if (quant && is_rewritten(graph, graph->node[i]->in[0]))
            code = q8_fail(err, Q8_EINVAL, NULL, graph->node[i]->name,
                           "no table can be written: its scales are those of a network that "
                           "equalising or shifting has rewritten");
        else if (quant) {
            q8_buf_printf(text, "%s_param_0", names.node[i]);
            for (size_t k = 0; k < quant->n_weight_scales; k++)
                add_scale(text, quant->weight_scales[k]);
            q8_buf_printf(text, "\n");
        }
    }
    for (int i = 0; i < graph->n_nodes && !code; i++) {
        const q8_quant *quant = graph->node[i]->quant;
        if (quant) {
            q8_buf_printf(text, "%s", names.node[i]);
            add_scale(text, quant->bottom_scale);
            q8_buf_printf(text, "\n");
        }
    }
    return !code && text->failed ? q8_fail_nomem(err) : code;
}
