/*
 * A caffemodel read from its file for a fixed prototxt that has a layer of every kind with weights,
 * then imported and optimised. Fields may lie a few messages deep, so the mutator works on one
 * field and puts the lengths around it right again.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "import/import.h"
#include "passes/passes.h"
#include "weights.pb-c.h"

/* tests/fuzz/caffemodel.prototxt, whose weights are the seeds. */
static const char proto_path[] = Q8_SOURCE_DIR "/tests/fuzz/caffemodel.prototxt";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static q8_err err;
    const q8_import_opts opts = {0};
    q8_arena *arena = fuzz_arena();
    q8_caffe_net *net;
    q8_graph *graph = NULL;
    memset(&err, 0, sizeof(err));
    q8_code code = q8_caffe_read(&net, proto_path, fuzz_file(data, size), arena, &fuzz_env, &err);
    if (!code)
        code = q8_import_caffe(&graph, net, &opts, arena, &fuzz_env, &err);
    if (!code)
        code = q8_passes_optimise(graph, &err);
    fuzz_check(code, &err);
    q8_arena_close(&arena);
    return 0;
}

#ifdef Q8_FUZZER
/* A field: [start, body) is its key and, before a LENGTH body, the length. */
struct field {
    const ProtobufCFieldDescriptor *known; /* NULL: not in the schema */
    const uint8_t *start, *body, *end;
    uint64_t key;
};

static bool varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        *value |= (uint64_t)(**at & 0x7f) << shift;
        if (!(*(*at)++ & 0x80))
            return true;
    }
    return false;
}

static bool next_field(const ProtobufCMessageDescriptor *type, const uint8_t *at,
                       const uint8_t *end, struct field *f)
{
    uint64_t number;
    f->start = at;
    if (at >= end || !varint(&at, end, &f->key))
        return false;
    f->known = protobuf_c_message_descriptor_get_field(type, (unsigned)(f->key >> 3));
    f->body = at;
    switch (f->key & 7) {
    case 0:
        if (!varint(&at, end, &number))
            return false;
        break;
    case 1:
    case 5:
        number = (f->key & 7) == 1 ? 8 : 4;
        if (number > (size_t)(end - at))
            return false;
        at += number;
        break;
    case 2:
        if (!varint(&at, end, &number) || number > (size_t)(end - at))
            return false;
        f->body = at;
        at += number;
        break;
    default:
        return false;
    }
    f->end = at;
    return true;
}

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t n = 0;
    do
        out[n++] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    while (value >>= 7);
    return n;
}

/* Changes one field of the message at `data`, whose room is `max_size`. @return its new size */
static size_t mutate(const ProtobufCMessageDescriptor *type, uint8_t *data, size_t size,
                     size_t max_size)
{
    const uint8_t *end = data + size;
    struct field f, chosen = {0};
    int n = 0;
    for (const uint8_t *at = data; next_field(type, at, end, &f); at = f.end)
        if (rand() % ++n == 0)
            chosen = f;
    if (n == 0 || rand() % 16 == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    const size_t start = (size_t)(chosen.start - data), tail = (size_t)(chosen.end - data);
    const size_t whole = tail - start, rest = size - tail;
    if (rand() % 16 == 0) { /* away with it */
        memmove(data + start, data + tail, rest);
        return size - whole;
    }
    if (rand() % 16 == 0 && whole <= max_size - size) { /* twice */
        memmove(data + tail + whole, data + tail, rest);
        memcpy(data + tail, data + start, whole);
        return size + whole;
    }
    enum { HEAD = 20 }; /* the longest key and length */
    if (max_size - rest < start + HEAD + (size_t)(chosen.end - chosen.body))
        return size;
    const size_t room = max_size - rest - start - HEAD;
    uint8_t *body = malloc(room + 1), head[HEAD];
    if (!body)
        abort();
    size_t body_size = (size_t)(chosen.end - chosen.body);
    memcpy(body, chosen.body, body_size);
    const bool deeper =
        chosen.known && chosen.known->type == PROTOBUF_C_TYPE_MESSAGE && (chosen.key & 7) == 2;
    body_size = deeper ? mutate(chosen.known->descriptor, body, body_size, room)
                       : LLVMFuzzerMutate(body, body_size, room);
    size_t head_size = put_varint(head, chosen.key);
    if ((chosen.key & 7) == 2)
        head_size += put_varint(head + head_size, body_size);
    memmove(data + start + head_size + body_size, data + tail, rest);
    memcpy(data + start, head, head_size);
    memcpy(data + start + head_size, body, body_size);
    free(body);
    return start + head_size + body_size + rest;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    srand(seed);
    return mutate(&weights__net__descriptor, data, size, max_size);
}
#endif
