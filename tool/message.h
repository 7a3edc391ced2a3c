/** Errors and warnings on stderr. */
#ifndef Q8_TOOL_MESSAGE_H
#define Q8_TOOL_MESSAGE_H

#include <q8/q8.h>

/** @param label "error" or "warning" */
void print_message(const q8_err *what, const char *label);

#endif
