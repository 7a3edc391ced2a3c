#include "api/no_weights.h"

/* Where one axis has all the elements. */
static bool is_vector(const int *dim, int n_dim, size_t count)
{
    for (int i = 0; i < n_dim; i++)
        if ((size_t)dim[i] == count)
            return true;
    return n_dim == 0;
}

/* Positive, since it may be a variance, and of no value that could cancel out another blob's. */
static q8_code vector_of(q8_no_weights *state, int index, size_t count, const float **data,
                         q8_err *err)
{
    float *v = q8_arena_array(state->arena, count, sizeof(*v));
    if (!v)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < count; i++)
        v[i] = 1 / (float)(index + 2);
    *data = v;
    return Q8_OK;
}

static q8_code get(void *user, const q8_caffe_layer *layer, int index, const int *dim, int n_dim,
                   const float **data, q8_err *err)
{
    q8_no_weights *state = user;
    size_t count = 1;
    for (int i = 0; i < n_dim; i++) {
        if (dim[i] < 1 || (size_t)dim[i] > Q8_MAX_ELEMENTS / count)
            return q8_fail(err, Q8_EMODEL, &layer->loc, layer->name,
                           "blob %d would be empty or too large; " Q8_LIMIT, index,
                           Q8_LIMIT_OF(Q8_MAX_ELEMENTS));
        count *= (size_t)dim[i];
    }
    if (is_vector(dim, n_dim, count))
        return vector_of(state, index, count, data, err);
    if (count > state->n_zeros) {
        state->zeros = q8_arena_array(state->arena, count, sizeof(float));
        state->n_zeros = state->zeros ? count : 0;
    }
    *data = state->zeros;
    return state->zeros ? Q8_OK : q8_fail_nomem(err);
}

q8_weight_source q8_no_weights_source(q8_no_weights *state)
{
    return (q8_weight_source){.user = state, .get = get};
}
