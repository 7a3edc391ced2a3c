/** Parts of the report's page, in the order in which they stand there. */
#ifndef Q8_REPORT_HTML_PARTS_H
#define Q8_REPORT_HTML_PARTS_H

#include "report/html.h"

extern const char q8_html_style[];

void q8_html_summary(q8_buf *buf, const q8_report_data *data);
/** What was given up for accuracy, nothing where no point is known. */
void q8_html_curve(q8_buf *buf, const q8_report_data *data);
void q8_html_network(q8_buf *buf, const q8_report_data *data);
void q8_html_rewrites(q8_buf *buf, const q8_report_data *data);
void q8_html_tensors(q8_buf *buf, const q8_report_data *data);
void q8_html_pictures(q8_buf *buf, const q8_report_data *data);

/** A multiply-add count or a size of bytes in words: "1.2 G", "466.0 KiB". */
void q8_html_macs(q8_buf *buf, double macs);
void q8_html_bytes(q8_buf *buf, double bytes);
/** A share of 0 to 1 as "12.34 %". */
void q8_html_percent(q8_buf *buf, double share, int digits);
/** A table cell with a number. */
void q8_html_cell(q8_buf *buf, double x, int digits);

#endif
