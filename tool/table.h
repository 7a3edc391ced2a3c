/** A table in plain text whose columns are as wide as what they hold, or as the terminal allows. */
#ifndef Q8_TOOL_TABLE_H
#define Q8_TOOL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/** How a column gives way where a line is too long, in this order. */
enum give_way {
    CUT_END,    /* first: what does not fit is cut off */
    CUT_MIDDLE, /* then: names, whose ends tell them apart */
    CUT_NEVER,
};

struct column {
    const char *title;
    bool right; /* numbers */
    enum give_way give_way;
    int narrowest;  /* how far it may be cut */
    bool droppable; /* left out where cutting is not enough */
};

struct table;

/** @return NULL when out of memory */
struct table *table_open(const struct column *columns, size_t n_columns, size_t n_rows);
void table_close(struct table **table);

/** Sets a cell; what must not reach a terminal becomes \xHH, see q8_printable(). */
void table_set(struct table *table, size_t row, size_t column, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/**
 * Prints a title line and the rows; columns without any text are left out.
 * @param width of a line; 0: any
 * @return false when a cell could not be stored, for want of memory; nothing is printed then
 */
bool table_print(const struct table *table, int width, FILE *out);

/** Width of the terminal that `out` is, 0 when it is none. */
int terminal_width(FILE *out);

#endif
