/* layers_md: prints docs/layers.md from the layer table and the schema of prototxt files. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "caffe.pb-c.h"
#include "ops/op.h"

/* Types whose settings are not in the message that is named like them. */
static const struct {
    const char *type, *field;
} elsewhere[] = {
    {"ConvolutionDepthWise", "convolution_param"},
    {"ConvolutionDepthwise", "convolution_param"},
    {"Deconvolution", "convolution_param"},
    {"DepthwiseConvolution", "convolution_param"},
    {"LSTM", "recurrent_param"},
    {"Normalize", "norm_param"},
    {"Proposal", "proposal_param"},
    {"Python", "python_param"},
    {"RNN", "recurrent_param"},
    {"SoftmaxWithLoss", "softmax_param"},
};

/* --- the fields of a Caffe layer -------------------------------------------------------------- */

/* "convolution_param" is of the type "Convolution". */
static bool names_match(const char *field, const char *type)
{
    for (; *type; type++, field++) {
        field += *field == '_';
        if (tolower((unsigned char)*type) != *field)
            return false;
    }
    return strcmp(field, "_param") == 0;
}

/* The field of LayerParameter with a type's settings; NULL: it has none. */
static const ProtobufCFieldDescriptor *param_field(const char *type)
{
    const ProtobufCMessageDescriptor *layer = &caffe__layer_parameter__descriptor;
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
        if (strcmp(elsewhere[i].type, type) == 0)
            return protobuf_c_message_descriptor_get_field_by_name(layer, elsewhere[i].field);
    for (unsigned i = 0; i < layer->n_fields; i++)
        if (layer->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
            names_match(layer->fields[i].name, type))
            return &layer->fields[i];
    return NULL;
}

static void print_default(const ProtobufCFieldDescriptor *f)
{
    const void *value = f->default_value;
    if (!value)
        return;
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
        printf(" = %d", *(const int *)value);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        printf(" = %g", (double)*(const float *)value);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        printf(" = %s", *(const protobuf_c_boolean *)value ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_STRING:
        printf(" = \"%s\"", (const char *)value);
        break;
    default:
        break;
    }
}

static void print_enum(const ProtobufCFieldDescriptor *f)
{
    const ProtobufCEnumDescriptor *type = f->descriptor;
    const int first = f->default_value ? *(const int *)f->default_value : type->values[0].value;
    printf(" = %s", protobuf_c_enum_descriptor_get_value(type, first)->name);
    for (unsigned i = 0; i < type->n_values; i++)
        if (type->values[i].value != first)
            printf(" or %s", type->values[i].name);
}

/* Fillers are for training only. */
static bool is_filler(const ProtobufCFieldDescriptor *f)
{
    return f->type == PROTOBUF_C_TYPE_MESSAGE &&
           f->descriptor == &caffe__filler_parameter__descriptor;
}

static void print_fields(const ProtobufCMessageDescriptor *message)
{
    const char *separator = "";
    for (unsigned i = 0; i < message->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &message->fields[i];
        if (is_filler(f))
            continue;
        printf("%s`%s", separator, f->name);
        if (f->type == PROTOBUF_C_TYPE_ENUM)
            print_enum(f);
        else
            print_default(f);
        printf("`%s", f->label == PROTOBUF_C_LABEL_REPEATED ? " (repeated)" : "");
        separator = ", ";
    }
    printf("%s\n", *separator ? "" : "none");
}

static void print_caffe(const q8_op *op)
{
    const ProtobufCFieldDescriptor *printed = NULL;
    printf("- Caffe: ");
    for (const char *const *type = op->caffe_types; type && *type; type++)
        printf("%s`%s`", type == op->caffe_types ? "" : ", ", *type);
    printf("%s\n", op->caffe_types ? "" : "no type of its own");
    for (const char *const *type = op->caffe_types; type && *type; type++) {
        const ProtobufCFieldDescriptor *param = param_field(*type);
        if (!param || param == printed)
            continue;
        printed = param;
        printf("- `%s`: ", param->name);
        print_fields(param->descriptor);
    }
}

/* --- its ncnn form ---------------------------------------------------------------------------- */

static void print_ncnn(const q8_op *op)
{
    printf("- ncnn keys: ");
    for (int i = 0; i < op->n_fields; i++) {
        const q8_field *f = &op->fields[i];
        printf("%s`%d` %s", i ? ", " : "", f->key, f->name);
        if (f->same_as >= 0)
            printf(" = key %d", f->same_as);
        else if (f->kind == Q8_INT || f->kind == Q8_FLOAT)
            printf(" = %g", f->kind == Q8_FLOAT ? (double)(float)f->value : f->value);
        else
            printf(" (list)");
    }
    printf("%s\n", op->n_fields ? "" : "none");
    if (op->n_weights == 0)
        return;
    printf("- Weights: ");
    for (int i = 0; i < op->n_weights; i++)
        printf("%s%s%s", i ? ", " : "", op->weights[i].name,
               op->weights[i].tagged ? " (may be fp16 or int8)" : "");
    putchar('\n');
}

static void print_op(const q8_op *op)
{
    printf("\n## %s\n\n", op->type);
    print_caffe(op);
    print_ncnn(op);
    printf("- Runs in int8: %s\n", op->set_int8 ? "yes" : "no");
    if (op->limits)
        printf("\n%s\n", op->limits);
}

int main(void)
{
    fputs("# Layers\n\n"
          "Every layer type that is read and written. Generated by `tests/tools/layers_md.c` from "
          "the layer\ntable (`src/ops/ops.def`); a test compares the two. To renew it:\n"
          "`build/tests/layers_md > docs/layers.md`.\n\n"
          "Each section is one ncnn type, with the Caffe types that become it and the fields of "
          "their settings\n(with the default; fields that only say how to train are left out), its "
          "keys in a `.param` line, its\nweights in the order of the `.bin` file, and what is "
          "refused or ignored. Refused means: an error that\nnames the file, the line and the "
          "layer.\n",
          stdout);
    for (int i = 0; i < q8_n_ops; i++)
        print_op(q8_ops[i]);
    fputs("\n## Train and test files\n\n"
          "Layers that feed or judge a network have no row in the table (`src/caffe/data.c`, "
          "`src/caffe/deploy.c`):\n\n"
          "- A layer without bottoms whose type contains `Data` (`Data`, `ImageData`, `HDF5Data`, "
          "`MemoryData`, `WindowData`, `DummyData`, forks' `AnnotatedData` and others), or a "
          "`Python` one, becomes an Input where its size can be known: from its shape or "
          "dimensions, `crop_size`, `new_height` and `new_width`, `resize_param`, with as many "
          "channels as `mean_value`s, 1 with `force_gray` or without `is_color`, else 3; or from "
          "`--size`. Its labels go. `transform_param` (`mean_value`, `mean_file`, `scale`, "
          "`crop_size`) is used where flags do not say otherwise.\n"
          "- `SoftmaxWithLoss` becomes Softmax, `SigmoidCrossEntropyLoss` Sigmoid, unless the "
          "network has that layer already.\n"
          "- Every other type that contains `Loss` or `Accuracy`, `DetectionEvaluate`, and a "
          "`Python` layer with a `loss_weight` or of such a class goes, with what only it "
          "needs. `HDF5Output` goes; what it wrote is an output. `Silence` goes, with what only "
          "it reads.\n",
          stdout);
    return 0;
}
