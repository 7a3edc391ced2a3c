#include "message.h"

#include <stdio.h>

void print_message(const q8_err *what, const char *label)
{
    char text[sizeof(q8_err) + 64];
    q8_err_format(what, label, text, sizeof(text));
    fprintf(stderr, "%s\n", text);
}
