#include "table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <q8/q8.h>

enum { MAX_COLUMNS = 16 };

struct table {
    const struct column *columns;
    size_t n_columns, n_rows;
    char **cell; /* by row and column; NULL: empty */
    bool failed;
};

struct table *table_open(const struct column *columns, size_t n_columns, size_t n_rows)
{
    struct table *table = n_columns <= MAX_COLUMNS ? calloc(1, sizeof(*table)) : NULL;
    if (!table)
        return NULL;
    *table = (struct table){.columns = columns, .n_columns = n_columns, .n_rows = n_rows};
    table->cell = calloc(n_rows * n_columns + 1, sizeof(*table->cell));
    if (!table->cell)
        table_close(&table);
    return table;
}

void table_close(struct table **table)
{
    if (!*table)
        return;
    for (size_t i = 0; (*table)->cell && i < (*table)->n_rows * (*table)->n_columns; i++)
        free((*table)->cell[i]);
    free((*table)->cell);
    free(*table);
    *table = NULL;
}

/* --- text ------------------------------------------------------------------------------------- */

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* What may reach a terminal of it. NULL: out of memory. */
static char *printable(const char *text)
{
    const size_t size = (size_t)q8_printable(text, NULL, 0) + 1;
    char *copy = malloc(size);
    if (copy)
        q8_printable(text, copy, size);
    return copy;
}

static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += !is_continuation(*text);
    return width;
}

/* Where the character number `n` begins. */
static const char *character(const char *text, int n)
{
    while (*text && n > 0)
        do
            text++;
        while (is_continuation(*text) ? true : (n--, false));
    return text;
}

void table_set(struct table *table, size_t row, size_t column, const char *fmt, ...)
{
    char **cell = &table->cell[row * table->n_columns + column], *raw;
    va_list args;
    free(*cell);
    va_start(args, fmt);
    if (vasprintf(&raw, fmt, args) < 0)
        raw = NULL;
    va_end(args);
    *cell = raw ? printable(raw) : NULL;
    table->failed = table->failed || !*cell;
    free(raw);
}

/* --- layout ----------------------------------------------------------------------------------- */

int terminal_width(FILE *out)
{
    struct winsize size;
    if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

static const char *cell_text(const struct table *table, size_t row, size_t column)
{
    const char *text = table->cell[row * table->n_columns + column];
    return text ? text : "";
}

/* Widths that show everything; 0: a column without text. */
static void natural_widths(const struct table *table, int *width)
{
    for (size_t c = 0; c < table->n_columns; c++) {
        width[c] = 0;
        for (size_t r = 0; r < table->n_rows; r++) {
            const int w = width_of(cell_text(table, r, c));
            width[c] = w > width[c] ? w : width[c];
        }
        const int title = width_of(table->columns[c].title);
        if (width[c] && width[c] < title)
            width[c] = title;
    }
}

static int line_width(const struct table *table, const int *width, int gap)
{
    int total = -gap;
    for (size_t c = 0; c < table->n_columns; c++)
        total += width[c] ? width[c] + gap : 0;
    return total;
}

/* Takes from the widest column of a kind, one by one, until the line fits. */
static void narrow(const struct table *table, enum give_way kind, int *width, int gap, int limit)
{
    while (line_width(table, width, gap) > limit) {
        int widest = -1;
        for (int c = 0; c < (int)table->n_columns; c++) {
            const struct column *column = &table->columns[c];
            if (column->give_way == kind && width[c] > column->narrowest &&
                (widest < 0 || width[c] > width[widest]))
                widest = c;
        }
        if (widest < 0)
            return;
        width[widest]--;
    }
}

/* @return the gap between columns */
static int fit(const struct table *table, int *width, int limit)
{
    int gap = 2;
    natural_widths(table, width);
    if (limit == 0 || line_width(table, width, gap) <= limit)
        return gap;
    gap = 1;
    narrow(table, CUT_END, width, gap, limit);
    narrow(table, CUT_MIDDLE, width, gap, limit);
    if (line_width(table, width, gap) <= limit)
        return gap;
    natural_widths(table, width);
    for (size_t c = 0; c < table->n_columns; c++)
        width[c] = table->columns[c].droppable ? 0 : width[c];
    narrow(table, CUT_END, width, gap, limit);
    narrow(table, CUT_MIDDLE, width, gap, limit);
    return gap;
}

static void print_cell(const struct column *column, const char *text, int width, FILE *out)
{
    const int length = width_of(text);
    if (length <= width) {
        fprintf(out, "%*s%s", column->right ? width - length : 0, "", text);
        return;
    }
    const int tail = column->give_way == CUT_MIDDLE ? (width - 1) / 2 : 0, head = width - 1 - tail;
    fwrite(text, 1, (size_t)(character(text, head) - text), out);
    fprintf(out, "…%s", character(text, length - tail));
}

/* `row` < 0: the titles. */
static void print_row(const struct table *table, long row, const int *width, int gap, FILE *out)
{
    int blanks = 0; /* those at the end of a line are never printed */
    for (size_t c = 0; c < table->n_columns; c++) {
        const struct column *column = &table->columns[c];
        const char *text = row < 0 ? column->title : cell_text(table, (size_t)row, c);
        if (width[c] == 0)
            continue;
        if (*text) {
            fprintf(out, "%*s", blanks, "");
            print_cell(column, text, width[c], out);
        }
        const int length = width_of(text);
        const int printed = !*text ? 0 : column->right || length > width[c] ? width[c] : length;
        blanks = (*text ? 0 : blanks) + width[c] - printed + gap;
    }
    fputc('\n', out);
}

bool table_print(const struct table *table, int width, FILE *out)
{
    int widths[MAX_COLUMNS];
    if (table->failed)
        return false;
    const int gap = fit(table, widths, width);
    for (long row = -1; row < (long)table->n_rows; row++)
        print_row(table, row, widths, gap, out);
    return true;
}
