/* Histograms of the activations, and the pictures as the network saw them. */
#include <math.h>
#include <stdio.h>

#include "report/html_parts.h"
#include "report/markup.h"

enum { PLOT_WIDTH = 3 * Q8_REPORT_BARS, PLOT_HEIGHT = 84 };

/* --- histograms ------------------------------------------------------------------------------- */

/* One outline for all bars: far shorter than a rectangle for each. */
static void add_bars(q8_buf *buf, const q8_report_tensor *tensor)
{
    q8_buf_printf(buf, "<path class=bins d=\"M0 %d", PLOT_HEIGHT);
    int before = PLOT_HEIGHT;
    for (int i = 0; i < Q8_REPORT_BARS; i++) {
        const int y = PLOT_HEIGHT - (int)(tensor->bar[i] * (PLOT_HEIGHT - 4) + 0.5);
        if (y != before)
            q8_buf_printf(buf, "H%dV%d", i * (PLOT_WIDTH / Q8_REPORT_BARS), y);
        before = y;
    }
    q8_buf_printf(buf, "H%dV%dZ\"/>", PLOT_WIDTH, PLOT_HEIGHT);
}

static void add_plot(q8_buf *buf, const q8_report_tensor *tensor)
{
    q8_buf_printf(buf,
                  "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=none role=img "
                  "aria-label=\"histogram of |x|, log counts\">",
                  PLOT_WIDTH, PLOT_HEIGHT);
    add_bars(buf, tensor);
    if (tensor->threshold > 0 && tensor->top > 0) {
        const double x = tensor->threshold / tensor->top * PLOT_WIDTH;
        char at[32];
        snprintf(at, sizeof(at), "%d", (int)((x < PLOT_WIDTH ? x : PLOT_WIDTH) + 0.5));
        q8_buf_printf(buf, "<path class=cut d=\"M%s 0H%dV%dH%sZ\"/>", at, PLOT_WIDTH, PLOT_HEIGHT,
                      at);
        q8_buf_printf(buf, "<path class=threshold d=\"M%s 0V%d\"/>", at, PLOT_HEIGHT);
    }
    q8_markup_add(buf, "</svg><div class=axis><span>0</span><span>|x|</span><span>");
    q8_markup_short(buf, tensor->top, 4);
    q8_markup_add(buf, "</span></div>\n");
}

static void add_tags(q8_buf *buf, const q8_report_tensor *tensor)
{
    q8_markup_add(buf, "<p class=tags>");
    if (tensor->equalised) {
        q8_buf_printf(buf, "<span class=tag>equalised %zu of %zu, ×", tensor->equalised,
                      tensor->channels);
        q8_markup_short(buf, tensor->factor_min, 3);
        q8_markup_add(buf, "–");
        q8_markup_short(buf, tensor->factor_max, 3);
        q8_markup_add(buf, "</span>");
    }
    if (tensor->shifted)
        q8_buf_printf(buf, "<span class=tag>shifted%s</span>",
                      tensor->negated ? " and negated" : "");
    if (tensor->threshold <= 0)
        q8_markup_add(buf, "<span class=\"tag quiet\">no reader in int8</span>");
    q8_markup_add(buf, "</p>");
}

static void add_pair(q8_buf *buf, const char *label, double x, int digits)
{
    q8_buf_printf(buf, "<div><dt>%s</dt><dd>", label);
    q8_markup_short(buf, x, digits);
    q8_markup_add(buf, "</dd></div>");
}

static void add_share(q8_buf *buf, const char *label, double share)
{
    q8_buf_printf(buf, "<div><dt>%s</dt><dd>", label);
    q8_html_percent(buf, share, 3);
    q8_markup_add(buf, "</dd></div>");
}

static void add_tensor(q8_buf *buf, const q8_report_tensor *tensor)
{
    q8_markup_add(buf, "<article class=tensor>\n<h3>");
    q8_markup_text(buf, tensor->name);
    q8_markup_add(buf, "</h3><p class=read>");
    q8_markup_text(buf, tensor->shape);
    q8_markup_add(buf, " → ");
    q8_markup_text(buf, tensor->reader);
    if (tensor->n_readers > 1)
        q8_buf_printf(buf, " and %zu more", tensor->n_readers - 1);
    q8_markup_add(buf, "</p>\n");
    if (tensor->seen)
        add_plot(buf, tensor);
    else
        q8_markup_add(buf, "<p class=none>no statistics: the scale was given</p>\n");
    add_tags(buf, tensor);
    q8_markup_add(buf, "\n<dl>");
    if (tensor->threshold > 0)
        add_pair(buf, "cut at", tensor->threshold, 5);
    if (tensor->seen) {
        add_share(buf, "beyond", tensor->beyond);
        add_pair(buf, "least", tensor->min, 5);
        add_pair(buf, "largest", tensor->max, 5);
        add_share(buf, "zeros", tensor->zeros);
    }
    if (tensor->fast) {
        add_pair(buf, "fp32", (double)tensor->fast->fp32, 5);
        add_pair(buf, "bf16", (double)tensor->fast->bf16, 5);
    }
    q8_markup_add(buf, "</dl>\n</article>\n");
}

static void add_fast(q8_buf *buf, const q8_fast_info *fast)
{
    if (!fast)
        return;
    q8_markup_add(buf, "<p class=lead id=fast>Convolutions ran in bf16 (--fast).");
    if (fast->n_tensors > 0) {
        q8_buf_printf(buf, " On %zu pictures run in fp32 too, thresholds differ by ",
                      fast->pictures);
        q8_html_percent(buf, fast->median, 2);
        q8_markup_add(buf, " (median), ");
        q8_html_percent(buf, fast->largest, 2);
        q8_markup_add(buf, " at most, at ");
        q8_markup_text(buf, fast->where);
        q8_markup_add(buf, "; each tensor's are given as \"fp32\" and \"bf16\".");
    }
    q8_markup_add(buf, "</p>\n");
}

void q8_html_tensors(q8_buf *buf, const q8_report_data *data)
{
    q8_markup_add(buf, "<section id=tensors>\n<h2>Activations</h2>\n<p class=lead>The tensors that "
                       "layers with weights read, over all calibration pictures: counts of |x| on "
                       "a log scale, zeros left out, channels equalised as int8 layers see them. "
                       "What lies behind the line takes the largest code. Least and largest are "
                       "the float network's.</p>\n");
    add_fast(buf, data->fast);
    q8_markup_add(buf, "<div class=grid>\n");
    for (size_t i = 0; i < data->n_tensors; i++)
        add_tensor(buf, &data->tensor[i]);
    q8_markup_add(buf, "</div>\n</section>\n");
}

/* --- pictures --------------------------------------------------------------------------------- */

/* The share of the way from `low` to `high`, in percent. */
static int percent_of(double x, double low, double high)
{
    return high > low ? (int)(100 * (x - low) / (high - low) + 0.5) : 0;
}

/* Where the channel's values lie, on one axis for all channels that has 0 on it. */
static void add_channel(q8_buf *buf, const q8_report_channel *c, double low, double high)
{
    const int from = percent_of(c->min, low, high), to = percent_of(c->max, low, high);
    q8_markup_add(buf, "<tr><th scope=row>");
    q8_markup_text(buf, c->name);
    q8_markup_add(buf, "</th>");
    q8_markup_add(buf, "<td class=n>");
    q8_markup_short(buf, c->min, 4);
    q8_markup_add(buf, "</td><td class=n>");
    q8_markup_short(buf, c->mean, 4);
    q8_markup_add(buf, "</td><td class=n>");
    q8_markup_short(buf, c->max, 4);
    q8_buf_printf(buf,
                  "</td><td class=span><span class=range><b style=\"left:%d%%;width:%d%%\"></b>"
                  "<i class=mean style=\"left:%d%%\"></i><i style=\"left:%d%%\"></i></span></td>"
                  "</tr>\n",
                  from, to - from, percent_of(c->mean, low, high), percent_of(0, low, high));
}

static void add_channels(q8_buf *buf, const q8_report_data *data)
{
    double low = 0, high = 0;
    for (int i = 0; i < data->n_channels; i++) {
        low = data->channel[i].min < low ? data->channel[i].min : low;
        high = data->channel[i].max > high ? data->channel[i].max : high;
    }
    q8_markup_add(buf, "<div class=scroll><table id=channels><thead><tr><th>channel</th>"
                       "<th class=n>least</th><th class=n>mean</th><th class=n>largest</th>"
                       "<th>values, and where 0 is</th></tr></thead><tbody>\n");
    for (int i = 0; i < data->n_channels; i++)
        add_channel(buf, &data->channel[i], low, high);
    q8_markup_add(buf, "</tbody></table></div>\n");
}

static void add_picture(q8_buf *buf, const q8_report_picture *picture)
{
    q8_buf_printf(buf, "<figure><img width=%d height=%d alt=\"\" src=\"data:image/png;base64,",
                  picture->width, picture->height);
    q8_markup_base64(buf, picture->png.data, picture->png.size);
    q8_markup_add(buf, "\"><figcaption>");
    q8_markup_text(buf, picture->name);
    q8_markup_add(buf, "</figcaption></figure>\n");
}

void q8_html_pictures(q8_buf *buf, const q8_report_data *data)
{
    if (data->n_pictures == 0)
        return;
    q8_markup_add(buf, "<section id=pictures>\n<h2>Pictures as the network saw them</h2>\n"
                       "<p class=lead>After resizing, mean and norm, each channel stretched from "
                       "its least to its largest value over these pictures. Odd colours mean a "
                       "wrong channel order; a 0 far from the middle of the values means a wrong "
                       "mean.</p>\n");
    add_channels(buf, data);
    q8_markup_add(buf, "<div class=gallery>\n");
    for (size_t i = 0; i < data->n_pictures; i++)
        add_picture(buf, &data->picture[i]);
    q8_markup_add(buf, "</div>\n</section>\n");
}
