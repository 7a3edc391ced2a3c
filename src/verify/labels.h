/** Which class each picture is of, from a file of lines "name label". */
#ifndef Q8_VERIFY_LABELS_H
#define Q8_VERIFY_LABELS_H

#include "base/err.h"

typedef struct q8_labels q8_labels;

q8_code q8_labels_read(q8_labels **labels, const char *path, q8_err *err);
void q8_labels_close(q8_labels **labels);

/** Label of a picture whose path is a name of the file or ends with one behind a '/'; of several
 *  such names the longest. -1: none. */
int q8_labels_find(const q8_labels *labels, const char *path);

#endif
