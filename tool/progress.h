/** How far the work is: a bar on a terminal, now and then a plain line elsewhere. */
#ifndef Q8_TOOL_PROGRESS_H
#define Q8_TOOL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct progress {
    bool bar, lines; /* a bar; plain lines; neither: silent */
    double started, shown;
    const char *stage;
    size_t first, last; /* what was done when the stage was first heard of; when last */
    bool drawn;         /* a bar stands on the current line */
};

/** @param mode an enum progress_mode */
void progress_start(struct progress *p, int mode);
void progress_update(struct progress *p, const char *stage, size_t done, size_t total);
/** Clears the bar, so that other text can be printed. */
void progress_clear(struct progress *p);

#endif
