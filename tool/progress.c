#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "options.h"

static const double BAR_INTERVAL = 0.1, LINE_INTERVAL = 10;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void progress_start(struct progress *p, int mode)
{
    *p = (struct progress){0};
    p->bar = mode == PROGRESS_ALWAYS || (mode == PROGRESS_AUTO && isatty(STDERR_FILENO));
    p->lines = mode == PROGRESS_AUTO && !p->bar;
}

static void left_text(char *text, size_t size, double seconds)
{
    if (seconds >= 3600)
        snprintf(text, size, "%d:%02d:%02d", (int)(seconds / 3600), (int)(seconds / 60) % 60,
                 (int)seconds % 60);
    else
        snprintf(text, size, "%d:%02d", (int)(seconds / 60), (int)seconds % 60);
}

/* The rate is this run's: what an interrupted one had done before took none of its time. */
static void draw(struct progress *p, size_t done, size_t total, double elapsed)
{
    enum { WIDTH = 30 };
    const double rate = elapsed > 0 ? (double)(done - p->first) / elapsed : 0;
    char left[32] = "?", bar[WIDTH + 1];
    if (rate > 0)
        left_text(left, sizeof(left), (double)(total - done) / rate + 0.5);
    const size_t filled = total ? done * WIDTH / total : 0;
    for (size_t i = 0; i < WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[WIDTH] = '\0';
    if (p->bar)
        fprintf(stderr, "\r%s [%s] %zu/%zu  %.1f/s  %s left \033[K", p->stage, bar, done, total,
                rate, left);
    else
        fprintf(stderr, "%s: %zu of %zu, %.1f/s, %s left\n", p->stage, done, total, rate, left);
    fflush(stderr);
    p->drawn = p->bar;
}

void progress_update(struct progress *p, const char *stage, size_t done, size_t total)
{
    const double t = now();
    if (!p->bar && !p->lines)
        return;
    if (!p->stage || strcmp(p->stage, stage) != 0 || done < p->last) {
        p->stage = stage;
        p->first = done;
        p->started = t;
        p->shown = p->bar ? 0 : t;
    }
    p->last = done;
    if (p->bar && done == total)
        progress_clear(p);
    else if (t - p->shown >= (p->bar ? BAR_INTERVAL : LINE_INTERVAL)) {
        p->shown = t;
        draw(p, done, total, t - p->started);
    }
}

void progress_clear(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}
