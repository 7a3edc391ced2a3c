/* The network as a table, the curve of accuracy over int8 work, and what rewrites did to weights.
 */
#include <math.h>

#include "report/html_parts.h"
#include "report/markup.h"

/* --- the network ------------------------------------------------------------------------------ */

/* Decibels at which a bar is full; more is not worth telling apart. */
static const double FULL_BAR = 60;

static void add_bar(q8_buf *buf, const char *kind, double db)
{
    double share = isnan(db) || db < 0 ? 0 : db / FULL_BAR;
    share = share > 1 ? 1 : share;
    q8_buf_printf(buf, "<span class=\"bar %s\"><b style=\"width:%d%%\"></b></span>", kind,
                  (int)(100 * share + 0.5));
    q8_markup_add(buf, "<span class=db>");
    q8_markup_number(buf, db, 1);
    q8_markup_add(buf, "</span>");
}

static void add_decision(q8_buf *buf, const q8_report_layer *layer)
{
    q8_markup_add(buf, "<td>");
    if (!layer->linear)
        q8_markup_add(buf, "<span class=plain>float</span>");
    else if (layer->int8)
        q8_markup_add(buf, "<span class=\"pill int8\">int8</span>");
    else {
        q8_markup_add(buf, "<span class=\"pill float\">float</span> <span class=why>");
        q8_markup_text(buf, layer->reason);
        q8_markup_add(buf, "</span>");
    }
    q8_markup_add(buf, "</td>");
}

static void add_measured(q8_buf *buf, const q8_report_layer *layer)
{
    const q8_verify_layer *m = layer->measured;
    q8_markup_add(buf, "<td class=bars>");
    if (m) {
        q8_markup_add(buf, "<div>");
        add_bar(buf, "net", m->sqnr);
        q8_markup_add(buf, "</div>");
    }
    if (m && layer->int8) {
        q8_markup_add(buf, "<div>");
        add_bar(buf, "alone", m->alone_sqnr);
        q8_markup_add(buf, "</div>");
    }
    q8_markup_add(buf, "</td>");
    q8_html_cell(buf, m ? m->cosine : NAN, 6);
    q8_markup_add(buf, "<td class=n>");
    q8_html_percent(buf, m && layer->int8 ? m->saturation : NAN, 3);
    q8_markup_add(buf, "</td>");
}

static void add_layer(q8_buf *buf, const q8_report_layer *layer, bool measured)
{
    q8_markup_add(buf, layer->linear ? "<tr class=layer>" : "<tr class=\"layer minor\">");
    q8_markup_add(buf, "<th scope=row><span class=name>");
    q8_markup_text(buf, layer->name);
    q8_markup_add(buf, "</span><span class=type>");
    q8_markup_text(buf, layer->type);
    q8_markup_add(buf, "</span></th><td class=n>");
    q8_markup_text(buf, layer->shape);
    q8_markup_add(buf, "</td><td class=n>");
    if (layer->macs)
        q8_html_macs(buf, (double)layer->macs);
    q8_markup_add(buf, "</td>");
    add_decision(buf, layer);
    q8_markup_add(buf, "<td class=n>");
    if (layer->int8)
        q8_markup_short(buf, layer->threshold, 5);
    q8_markup_add(buf, "</td>");
    if (measured && layer->linear)
        add_measured(buf, layer);
    else if (measured)
        q8_markup_add(buf, "<td></td><td></td><td></td>");
    q8_markup_add(buf, "</tr>\n");
}

static bool any_measured(const q8_report_data *data)
{
    return data->verified && data->verified->n_layers > 0;
}

void q8_html_network(q8_buf *buf, const q8_report_data *data)
{
    const bool measured = any_measured(data);
    q8_markup_add(buf, "<section id=network>\n<h2>Network</h2>\n<p class=lead>Every layer that "
                       "runs, in order. The threshold is the |x| of a layer's input, as it is "
                       "quantised, that code 127 stands for.");
    if (measured)
        q8_markup_add(buf, " Bars end at 60&nbsp;dB: <span class=\"key net\"></span>with the "
                           "whole network in int8, <span class=\"key alone\"></span>with only "
                           "that layer in int8.");
    q8_markup_add(buf, "</p>\n<input type=checkbox id=brief><label for=brief>only layers with "
                       "weights</label>\n<div class=scroll><table class=wide><thead><tr>"
                       "<th>layer</th><th class=n>output</th><th class=n>multiply-adds</th>"
                       "<th>runs in</th><th class=n>threshold</th>");
    if (measured)
        q8_markup_add(buf, "<th class=bars>SQNR of its output, dB</th><th class=n>cosine</th>"
                           "<th class=n>input cut off</th>");
    q8_markup_add(buf, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < data->n_layers; i++)
        add_layer(buf, &data->layer[i], measured);
    q8_markup_add(buf, "</tbody></table></div>\n</section>\n");
}

/* --- the curve -------------------------------------------------------------------------------- */

/* Within the plot, whose x axis is the share of int8 from 0 to 1 and whose y axis ends at `most`.
 */
static double curve_x(double share)
{
    return 52 + 560 * share;
}

static double curve_y(double kl, double most)
{
    return 200 - 176 * (most > 0 ? kl / most : 0);
}

static void add_points(q8_buf *buf, const q8_report_data *data, double most)
{
    q8_markup_add(buf, "<polyline points=\"");
    for (size_t i = 0; i < data->n_curve; i++) {
        const q8_trade_off *at = &data->curve[i];
        q8_markup_number(buf, curve_x(at->int8_share), 1);
        q8_markup_add(buf, ",");
        q8_markup_number(buf, curve_y(at->kl, most), 1);
        q8_markup_add(buf, " ");
    }
    q8_markup_add(buf, "\"/>\n");
    for (size_t i = 0; i < data->n_curve; i++) {
        const q8_trade_off *at = &data->curve[i];
        q8_markup_add(buf, "<circle r=4 cx=");
        q8_markup_number(buf, curve_x(at->int8_share), 1);
        q8_markup_add(buf, " cy=");
        q8_markup_number(buf, curve_y(at->kl, most), 1);
        q8_markup_add(buf, " />");
    }
}

static void add_curve_table(q8_buf *buf, const q8_report_data *data)
{
    q8_markup_add(buf, "<div class=scroll><table><thead><tr><th class=n>multiply-adds in int8</th>"
                       "<th class=n>KL</th><th class=n>same class</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < data->n_curve; i++) {
        const q8_trade_off *at = &data->curve[i];
        q8_markup_add(buf, "<tr><td class=n>");
        q8_html_percent(buf, at->int8_share, 1);
        q8_markup_add(buf, "</td>");
        q8_html_cell(buf, at->kl, 5);
        q8_markup_add(buf, "<td class=n>");
        q8_html_percent(buf, at->agreement, 2);
        q8_markup_add(buf, "</td></tr>\n");
    }
    q8_markup_add(buf, "</tbody></table></div>\n");
}

void q8_html_curve(q8_buf *buf, const q8_report_data *data)
{
    double most = 0;
    size_t known = 0;
    for (size_t i = 0; i < data->n_curve; i++) {
        const double kl = data->curve[i].kl;
        known += isfinite(kl);
        most = isfinite(kl) && kl > most ? kl : most;
    }
    if (data->n_curve == 0)
        return;
    q8_markup_add(buf, "<section id=curve>\n<h2>Accuracy against work in int8</h2>\n");
    if (known == data->n_curve) {
        q8_markup_add(buf, "<svg class=curve viewBox=\"0 0 640 232\" role=img aria-label=\"KL "
                           "against share of int8\"><path class=axis d=\"M52 16V200H620\"/>"
                           "<text x=612 y=222 text-anchor=end>100 % of multiply-adds in int8"
                           "</text><text x=52 y=222>0 %</text><text x=44 y=28 text-anchor=end>");
        q8_markup_short(buf, most, 2);
        q8_markup_add(buf, "</text><text x=44 y=204 text-anchor=end>0</text>"
                           "<text x=60 y=20>KL</text>\n");
        add_points(buf, data, most);
        q8_markup_add(buf, "</svg>\n");
    }
    add_curve_table(buf, data);
    q8_markup_add(buf, "</section>\n");
}

/* --- rewrites and weights --------------------------------------------------------------------- */

/* Sums over the network, for the sentences above the table. */
struct totals {
    size_t tensors, equalised, shifted, negated;
    double factor_max;
    size_t weights, moved, biases, corrected;
};

static struct totals add_up(const q8_report_data *data)
{
    struct totals t = {.factor_max = 1};
    for (size_t i = 0; i < data->n_tensors; i++) {
        const q8_report_tensor *tensor = &data->tensor[i];
        t.tensors++;
        t.equalised += tensor->equalised > 0;
        t.shifted += tensor->shifted;
        t.negated += tensor->shifted && tensor->negated;
        if (tensor->equalised && tensor->factor_max > t.factor_max)
            t.factor_max = tensor->factor_max;
    }
    for (size_t i = 0; i < data->n_layers; i++) {
        const q8_report_weights *w = data->layer[i].weights;
        t.weights += w ? w->count : 0;
        t.moved += w ? w->moved : 0;
        t.biases += w ? w->biases : 0;
        t.corrected += w ? w->corrected : 0;
    }
    return t;
}

static void add_sentences(q8_buf *buf, const struct totals *t)
{
    q8_buf_printf(buf, "<ul class=facts>\n<li><b>Equalised</b> %zu of %zu activation tensors",
                  t->equalised, t->tensors);
    if (t->equalised) {
        q8_markup_add(buf, ", channels multiplied by up to ");
        q8_markup_short(buf, t->factor_max, 3);
    }
    q8_buf_printf(buf,
                  "</li>\n<li><b>Shifted</b> %zu of them to use the sign bit, so their steps are "
                  "half as wide; %zu of these with the sign turned</li>\n"
                  "<li><b>Rounding</b>: ",
                  t->shifted, t->negated);
    q8_html_percent(buf, t->weights ? (double)t->moved / (double)t->weights : 0, 1);
    q8_markup_add(buf, " of ");
    q8_markup_count(buf, t->weights);
    q8_buf_printf(buf,
                  " weights not to the nearest code, so that errors cancel</li>\n"
                  "<li><b>Biases</b>: %zu of %zu corrected for the int8 network's mean error</li>\n"
                  "</ul>\n",
                  t->corrected, t->biases);
}

static void add_range(q8_buf *buf, double low, double high)
{
    q8_markup_add(buf, "<td class=n>");
    q8_markup_short(buf, low, 4);
    q8_markup_add(buf, "</td><td class=n>");
    q8_markup_short(buf, high, 4);
    q8_markup_add(buf, "</td>");
}

static void add_weights(q8_buf *buf, const q8_report_layer *layer)
{
    const q8_report_weights *w = layer->weights;
    q8_markup_add(buf, "<tr><th scope=row><span class=name>");
    q8_markup_text(buf, layer->name);
    q8_markup_add(buf, "</span></th><td class=n>");
    q8_markup_count(buf, w->count);
    q8_markup_add(buf, "</td>");
    add_range(buf, (double)w->absmax_min, (double)w->absmax_max);
    add_range(buf, (double)w->scale_min, (double)w->scale_max);
    q8_buf_printf(buf, "<td class=n>%d</td><td class=n>", w->code_min);
    q8_html_percent(buf, w->count ? (double)w->moved / (double)w->count : NAN, 1);
    q8_buf_printf(buf, "</td><td class=n>%zu of %zu</td></tr>\n", w->corrected, w->biases);
}

void q8_html_rewrites(q8_buf *buf, const q8_report_data *data)
{
    const struct totals totals = add_up(data);
    q8_markup_add(buf, "<section id=rewrites>\n<h2>Rewrites and weights</h2>\n");
    add_sentences(buf, &totals);
    q8_markup_add(buf, "<p class=lead>Weights of the layers in int8, least and largest over the "
                       "output channels. A channel's largest code is below 127 where a lower "
                       "scale keeps ncnn's winograd sums from overflowing.</p>\n"
                       "<div class=scroll><table class=wide id=weights><thead><tr><th>layer</th>"
                       "<th class=n>weights</th><th class=n>least absmax</th>"
                       "<th class=n>largest absmax</th><th class=n>least scale</th>"
                       "<th class=n>largest scale</th><th class=n>least top code</th>"
                       "<th class=n>not nearest</th><th class=n>biases corrected</th>"
                       "</tr></thead><tbody>\n");
    for (size_t i = 0; i < data->n_layers; i++)
        if (data->layer[i].weights)
            add_weights(buf, &data->layer[i]);
    q8_markup_add(buf, "</tbody></table></div>\n</section>\n");
}
