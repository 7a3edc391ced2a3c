/** The command line: one table of options that parses and prints the help. */
#ifndef Q8_TOOL_OPTIONS_H
#define Q8_TOOL_OPTIONS_H

#include <stdio.h>

#include <q8/q8.h>

enum { MAX_IMAGES = 4096 };

enum progress_mode { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER };

/** What was asked for. Strings are borrowed from argv. */
struct options {
    const char *proto, *model; /* of a Caffe model */
    const char *param, *bin;   /* of an ncnn model */
    q8_preprocess preprocess;
    const char *images[MAX_IMAGES];
    size_t n_images;
    const char *verify[MAX_IMAGES]; /* a number, or sources of pictures */
    size_t n_verify;
    const char *labels, *json, *report;
    const char *output_param, *output_bin;
    const char *stats[MAX_IMAGES]; /* files to read */
    size_t n_stats;
    const char *stats_out;
    int checkpoint; /* seconds */
    int group, gpu, bias_correct, equalize, shift, requantize;
    const char *device; /* a number or "list"; NULL: not given */
    int precision;      /* q8_precision */
    int method;         /* q8_method */
    int compat;         /* q8_compat */
    const char *table, *output_table;
    int round;       /* 0 nearest, 1 compensate */
    int weight_bits; /* q8_weight_bits */
    int width, height;
    int limit, threads, batch;
    size_t max_memory;                       /* bytes; 0: any */
    const char *keep_float;                  /* names with commas between them */
    float max_kl, min_cosine, min_agreement; /* 0: not given; the last in per cent */
    int pixel, resize;
    int progress; /* enum progress_mode */
    bool strict, fast, quiet, verbose, help, version;
};

/**
 * Reads argv into `options`, which starts at its defaults.
 * @return false after printing what is wrong to stderr
 */
bool options_parse(struct options *options, int argc, char **argv);

/** The help text, made from the same table. */
void options_help(FILE *out);

#endif
