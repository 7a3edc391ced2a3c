#include "report/html.h"

#include <math.h>

#include "report/html_parts.h"
#include "report/markup.h"

/* --- numbers ---------------------------------------------------------------------------------- */

void q8_html_macs(q8_buf *buf, double macs)
{
    static const char *const unit[] = {"", " k", " M", " G", " T"};
    size_t i = 0;
    while (macs >= 1000 && i + 1 < sizeof(unit) / sizeof(unit[0])) {
        macs /= 1000;
        i++;
    }
    q8_markup_number(buf, macs, i > 0 && macs < 100 ? 1 : 0);
    q8_markup_add(buf, unit[i]);
}

void q8_html_bytes(q8_buf *buf, double bytes)
{
    const bool large = bytes >= 1 << 20;
    q8_markup_number(buf, bytes / (large ? 1 << 20 : 1 << 10), 1);
    q8_markup_add(buf, large ? "&nbsp;MiB" : "&nbsp;KiB");
}

void q8_html_percent(q8_buf *buf, double share, int digits)
{
    q8_markup_number(buf, 100 * share, digits);
    if (!isnan(share))
        q8_markup_add(buf, "&#8239;%");
}

void q8_html_cell(q8_buf *buf, double x, int digits)
{
    q8_markup_add(buf, "<td class=n>");
    q8_markup_number(buf, x, digits);
    q8_markup_add(buf, "</td>");
}

/* --- summary ---------------------------------------------------------------------------------- */

static void open_tile(q8_buf *buf, const char *label)
{
    q8_buf_printf(buf, "<div class=tile><dt>%s</dt><dd>", label);
}

/* What stands small below the figure. */
static void tile_note(q8_buf *buf)
{
    q8_markup_add(buf, "<small>");
}

static void close_tile(q8_buf *buf, bool noted)
{
    q8_markup_add(buf, noted ? "</small></dd></div>\n" : "</dd></div>\n");
}

static void tile_size(q8_buf *buf, const q8_report_data *data)
{
    open_tile(buf, "Size");
    q8_html_bytes(buf, (double)data->int8_bytes);
    tile_note(buf);
    if (data->float_bytes) {
        q8_markup_add(buf, "was ");
        q8_html_bytes(buf, (double)data->float_bytes);
        q8_markup_add(buf, ", now ");
        q8_html_percent(buf, (double)data->int8_bytes / (double)data->float_bytes, 0);
    }
    close_tile(buf, true);
}

static void tile_layers(q8_buf *buf, const q8_report_data *data)
{
    size_t int8 = 0, linear = 0;
    double macs = 0, int8_macs = 0;
    for (size_t i = 0; i < data->n_layers; i++) {
        const q8_report_layer *layer = &data->layer[i];
        linear += layer->linear;
        int8 += layer->int8;
        macs += (double)layer->macs;
        int8_macs += layer->int8 ? (double)layer->macs : 0;
    }
    open_tile(buf, "Layers in int8");
    q8_buf_printf(buf, "%zu <i>of</i> %zu", int8, linear);
    tile_note(buf);
    if (macs > 0) {
        q8_html_percent(buf, int8_macs / macs, 1);
        q8_markup_add(buf, " of ");
        q8_html_macs(buf, macs);
        q8_markup_add(buf, " multiply-adds");
    }
    close_tile(buf, true);
}

static void tile_accuracy(q8_buf *buf, const q8_verify_result *v)
{
    open_tile(buf, "Accuracy");
    q8_html_percent(buf, v->int8_accuracy, 2);
    tile_note(buf);
    q8_markup_add(buf, "float ");
    q8_html_percent(buf, v->float_accuracy, 2);
    q8_buf_printf(buf, ", %zu labels", v->labelled);
    close_tile(buf, true);
}

static void tile_output(q8_buf *buf, const q8_verify_output *out)
{
    const bool classes = !isnan(out->agreement);
    open_tile(buf, classes ? "Same class as float" : "SQNR of the output");
    if (classes)
        q8_html_percent(buf, out->agreement, 2);
    else {
        q8_markup_number(buf, out->sqnr, 1);
        q8_markup_add(buf, "&nbsp;dB");
    }
    tile_note(buf);
    if (!isnan(out->kl)) {
        q8_markup_add(buf, "KL ");
        q8_markup_number(buf, out->kl, 5);
        q8_markup_add(buf, ", ");
    }
    q8_markup_add(buf, "cosine ");
    q8_markup_number(buf, out->cosine, 6);
    close_tile(buf, true);
}

static void tile_pictures(q8_buf *buf, const q8_report_data *data)
{
    open_tile(buf, "Calibration pictures");
    q8_markup_count(buf, data->calibrated->used);
    tile_note(buf);
    q8_buf_printf(buf, "%zu skipped", data->calibrated->skipped);
    close_tile(buf, true);
}

static void add_outputs(q8_buf *buf, const q8_verify_result *v)
{
    q8_buf_printf(buf,
                  "<h3>Outputs, int8 against float</h3>\n<p class=lead>On %zu pictures %s%s.</p>\n"
                  "<div class=scroll><table id=outputs><thead><tr><th>output</th>"
                  "<th class=n>same class</th><th class=n>KL</th><th class=n>cosine</th>"
                  "<th class=n>SQNR dB</th><th class=n>classes</th></tr></thead><tbody>\n",
                  v->used, v->unseen ? "that calibration did not use" : "of those calibrated on",
                  v->skipped ? ", some could not be read" : "");
    for (size_t i = 0; i < v->n_outputs; i++) {
        const q8_verify_output *out = &v->output[i];
        q8_markup_add(buf, "<tr><th scope=row>");
        q8_markup_text(buf, out->name);
        q8_markup_add(buf, "</th><td class=n>");
        q8_html_percent(buf, out->agreement, 2);
        q8_markup_add(buf, "</td>");
        q8_html_cell(buf, out->kl, 5);
        q8_html_cell(buf, out->cosine, 6);
        q8_html_cell(buf, out->sqnr, 1);
        q8_html_cell(buf, out->classes ? (double)out->classes : NAN, 0);
        q8_markup_add(buf, "</tr>\n");
    }
    q8_markup_add(buf, "</tbody></table></div>\n");
}

void q8_html_summary(q8_buf *buf, const q8_report_data *data)
{
    const q8_verify_result *v = data->verified;
    q8_markup_add(buf, "<section id=summary>\n<dl class=tiles>\n");
    if (v && v->n_outputs)
        tile_output(buf, &v->output[0]);
    if (v && v->labelled)
        tile_accuracy(buf, v);
    if (data->int8_bytes)
        tile_size(buf, data);
    tile_layers(buf, data);
    if (data->calibrated)
        tile_pictures(buf, data);
    if (data->seconds > 0) {
        open_tile(buf, "Time");
        q8_markup_add(buf, "<span id=seconds>");
        q8_markup_number(buf, data->seconds, 2);
        q8_markup_add(buf, "</span>&nbsp;s");
        close_tile(buf, false);
    }
    q8_markup_add(buf, "</dl>\n");
    if (v && v->n_outputs)
        add_outputs(buf, v);
    q8_markup_add(buf, "</section>\n");
}

/* --- the page --------------------------------------------------------------------------------- */

static void add_head(q8_buf *buf, const q8_report_data *data)
{
    q8_markup_add(buf, "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
                       "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n"
                       "<meta name=color-scheme content=\"light dark\">\n"
                       "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
                       "style-src 'unsafe-inline'; img-src data:\">\n<title>");
    q8_markup_text(buf, data->title);
    q8_markup_add(buf, " in int8</title>\n<style>\n");
    q8_markup_add(buf, q8_html_style);
    q8_markup_add(buf, "</style>\n</head>\n<body>\n<header>\n<p class=kind>int8 report</p>\n<h1>");
    q8_markup_text(buf, data->title);
    q8_markup_add(buf, "</h1>\n<p class=files>");
    q8_markup_text(buf, data->proto);
    q8_markup_add(buf, " · ");
    q8_markup_text(buf, data->model);
    q8_markup_add(buf, "</p>\n<nav><a href=\"#network\">Network</a>"
                       "<a href=\"#rewrites\">Rewrites and weights</a>"
                       "<a href=\"#tensors\">Activations</a>");
    if (data->n_pictures)
        q8_markup_add(buf, "<a href=\"#pictures\">Pictures</a>");
    q8_markup_add(buf, "</nav>\n</header>\n<main>\n");
}

void q8_report_html(q8_buf *buf, const q8_report_data *data)
{
    add_head(buf, data);
    q8_html_summary(buf, data);
    q8_html_curve(buf, data);
    q8_html_network(buf, data);
    q8_html_rewrites(buf, data);
    q8_html_tensors(buf, data);
    q8_html_pictures(buf, data);
    q8_buf_printf(buf,
                  "</main>\n<footer>caffe-int8-to-ncnn %s. SQNR: power of the float network's "
                  "values over that of the difference, 20&nbsp;dB is a tenth of the size. KL: "
                  "mean Kullback-Leibler divergence of int8 from float.</footer>\n"
                  "</body>\n</html>\n",
                  q8_version());
}
