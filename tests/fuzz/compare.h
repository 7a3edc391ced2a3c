/** Does a network that was converted compute what the imported one does? */
#ifndef Q8_TESTS_FUZZ_COMPARE_H
#define Q8_TESTS_FUZZ_COMPARE_H

#include "exec/exec.h"
#include "fuzz.h"

/** What an element of an input is: a function of the network's seed, the input's name, the sample
 * and the element's number. */
float fuzz_input_value(uint64_t seed, const char *input, int sample, size_t element);

/** The outputs of the network as imported, in plain C, and how far rounding may move each. */
typedef struct fuzz_reference {
    const q8_graph *graph;
    uint64_t seed;
    float **value;     /**< by tensor */
    double *tolerance; /**< by tensor, as NMSE */
} fuzz_reference;

/**
 * Runs every node in plain C. Tolerances are ::FUZZ_NMSE and 100 times what changes when every
 * element of every tensor is off by up to 1e-6, of itself or what is usual there (of alpha in an
 * ELU, which rounds exp(x) - 1): so a network that amplifies errors, or decides by
 * them (ArgMax, DetectionOutput), is not held to more than it can keep.
 */
q8_code fuzz_reference_make(fuzz_reference *reference, const q8_graph *graph, uint64_t seed,
                            q8_err *err);

#define FUZZ_NMSE 1e-9

/**
 * Runs a graph in oneDNN; aborts if an output is further off than its tolerance. Values are not
 * compared where the reference has some that are not finite, or nearly so: how far a NaN spreads
 * differs, as a sum may run along or be made anew for each element.
 * @param named what passes made of the reference's graph: it has the same outputs, by whose names
 *              those of `graph` are found
 */
void fuzz_must_agree(const fuzz_reference *reference, const q8_graph *graph, const q8_graph *named,
                     const char *what, q8_err *err);

/** What sums that end in a float may pass on the way to it, whatever their order. */
#define FUZZ_LARGEST 1e30f

/** No element of any tensor is NaN or larger than that. */
bool fuzz_reference_finite(const fuzz_reference *reference);

#endif
