/* A file of statistics of a small network: read, merged with itself, written and read again. An
 * input is what stands between the frame and the checksum, which are put around it, as no mutation
 * would get past them; an input that begins like a file is read as it is too. */
#include "calib/stats_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/pack.h"
#include "calib/packed.h"
#include "fuzz.h"
#include "ops/input.h"
#include "ops/rows.h"

enum { HEADER_SIZE = 20, HASH_SIZE = 8 };

static bool wanted[2] = {true, true};

static q8_graph *open_graph(q8_arena *arena)
{
    static const q8_shape shapes[2] = {{3, {3, 2, 2}}, {1, {2}}};
    q8_graph *graph = q8_graph_new(arena);
    if (!graph)
        abort();
    for (int t = 0; t < 2; t++) {
        q8_node *node = t == 0 ? q8_node_new(arena, &q8_op_input, "data", 0, 1) : NULL;
        if (q8_graph_add_tensor(graph, t ? "b" : "a", &shapes[t]) != t ||
            (t == 0 && (!node || !q8_graph_insert(graph, node, 0))))
            abort();
    }
    return graph;
}

/* What was read must be written and read back, also when counted twice. */
static void use(q8_calibration *cal, q8_origin *origin, const q8_stats_progress *progress,
                const q8_stats_subject *subject)
{
    static q8_err err;
    q8_calibration back, copy;
    q8_origin origin_back;
    q8_stats_progress progress_back;
    q8_buf bytes = {0}, packed = {0};
    memset(&err, 0, sizeof(err));
    fuzz_must(q8_stats_pack(&bytes, subject, origin, cal, progress, &err), &err, "writing");
    fuzz_must(q8_stats_unpack(&back, &origin_back, progress ? &progress_back : NULL, "back",
                              bytes.data, bytes.size, subject, &err),
              &err, "reading back");
    if (progress)
        q8_loop_state_free(&progress_back.state);
    const q8_code code = q8_calibration_merge(&back, cal, &err);
    fuzz_check(code, &err);
    memset(&err, 0, sizeof(err));
    q8_calibration_pack(&back, &packed);
    fuzz_must(q8_calibration_unpack(&copy, packed.data, packed.size, subject->graph, &err), &err,
              "reading the sum");
    q8_calibration_free(&copy);
    q8_calibration_free(&back);
    q8_origin_free(&origin_back);
    q8_buf_free(&bytes);
    q8_buf_free(&packed);
}

static void try_file(const void *data, size_t size, bool checkpoint)
{
    static q8_err err;
    q8_arena *arena = fuzz_arena();
    const q8_stats_subject subject = {open_graph(arena), wanted, 0, 0, "a network"};
    q8_calibration cal;
    q8_origin origin;
    q8_stats_progress progress;
    memset(&err, 0, sizeof(err));
    const q8_code code = q8_stats_unpack(&cal, &origin, checkpoint ? &progress : NULL, "in.stats",
                                         data, size, &subject, &err);
    fuzz_check(code, &err);
    if (!code) {
        use(&cal, &origin, checkpoint ? &progress : NULL, &subject);
        q8_calibration_free(&cal);
        q8_origin_free(&origin);
        if (checkpoint)
            q8_loop_state_free(&progress.state);
    }
    q8_arena_close(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    q8_buf framed = {0};
    try_file(data, size, false);
    q8_buf_add(&framed, "\x89q8stats", 8);
    q8_pack_uint(&framed, Q8_STATS_VERSION, 4);
    q8_pack_uint(&framed, HEADER_SIZE + size + HASH_SIZE, 8);
    q8_buf_add(&framed, data, size);
    q8_pack_uint(&framed, q8_hash(0, framed.data, framed.size), HASH_SIZE);
    if (framed.failed)
        abort();
    unsigned char *exact = malloc(framed.size); /* of its own, so that reading past it is seen */
    if (!exact)
        abort();
    memcpy(exact, framed.data, framed.size);
    for (int checkpoint = 0; checkpoint < 2; checkpoint++)
        try_file(exact, framed.size, checkpoint);
    free(exact);
    q8_buf_free(&framed);
    return 0;
}
