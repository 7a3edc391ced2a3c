/** Files that are given by mistake, told by their first bytes. */
#ifndef Q8_CAFFE_SNIFF_H
#define Q8_CAFFE_SNIFF_H

#include <stdbool.h>
#include <stddef.h>

/** "an HTML page", … for what is certainly neither a prototxt nor a caffemodel; NULL otherwise. */
const char *q8_sniff(const unsigned char *data, size_t size);

/** True when the file begins like text. */
bool q8_sniff_is_text(const unsigned char *data, size_t size);

#endif
