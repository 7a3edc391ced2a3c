/**
 * The GPU backend as the plan and the calibration see it; OpenCL's handles stay in exec/opencl*.c.
 * A build without OpenCL has the same functions, of which those that open something fail
 * (exec/gpu_none.c).
 */
#ifndef Q8_EXEC_GPU_H
#define Q8_EXEC_GPU_H

#include "exec/backend.h"
#include "exec/slab.h"

/** What `--gpu 1` says in a build without the backend. */
q8_code q8_gpu_fail_not_built(q8_err *err);
/** What it says where OpenCL finds no device. @param platforms how many drivers are installed */
q8_code q8_gpu_fail_no_device(unsigned platforms, q8_err *err);
/** What it says of a device number that there is none for. */
q8_code q8_gpu_fail_no_such_device(int device, size_t n, q8_err *err);

/* --- kernels ---------------------------------------------------------------------------------- */

/** Whether the backend exists in this build. */
bool q8_gpu_is_built(void);
/** Whether there are kernels for the node; asks no device. */
bool q8_gpu_takes(const q8_graph *graph, const q8_node *node, int batch);
/** Makes a kernel, or leaves `*kernel` NULL where q8_gpu_takes() says no. Constants are uploaded.
 */
q8_code q8_gpu_compile(q8_gpu *gpu, const q8_graph *graph, const q8_node *node, int batch,
                       q8_kernel **kernel, q8_err *err);
/** A kernel that copies a batch of a tensor to the GPU (`up`) or from there. */
q8_code q8_gpu_transfer(q8_gpu *gpu, const q8_shape *shape, int batch, bool up, q8_kernel **kernel,
                        q8_err *err);

/* --- runs ------------------------------------------------------------------------------------- */

/** One thread's queue of work and memory on the GPU. */
typedef struct q8_gpu_run q8_gpu_run;

/** Offsets of parts in the GPU's memory are multiples of this if their sizes are. */
enum { Q8_GPU_ALIGN = 1024 };

/** Its memory is all zeros at first. Parts that are not `on_gpu` have none. */
q8_code q8_gpu_run_open(q8_gpu_run **run, q8_gpu *gpu, const q8_slab_part *part, int n_parts,
                        size_t slab_bytes, size_t scratch_bytes, q8_err *err);
void q8_gpu_run_close(q8_gpu_run **run);
/** For q8_spot; NULL for a part that is not on the GPU. */
void *q8_gpu_run_part(const q8_gpu_run *run, int part);
/** Waits until all that was enqueued is done; tells whether it went well. */
q8_code q8_gpu_run_finish(q8_gpu_run *run, q8_err *err);

/** A tensor on the GPU, as q8_view has it. */
typedef struct q8_gpu_tensor {
    q8_gpu_run *run;
    void *memory;
} q8_gpu_tensor;

/* --- statistics ------------------------------------------------------------------------------- */

/** What statistics are to be like; see calib/stats.h and calib/channel_bins.h. */
typedef struct q8_gpu_stats_form {
    int channels, spatial;
    int min_exponent;                    /**< of the histogram's range */
    int steps, octaves;                  /**< of the channels' bins */
    int first_pixel, pixel_step, pixels; /**< looked at for these; 0 pixels: bins stay empty */
} q8_gpu_stats_form;

/** One tensor's, which stay on the GPU while pictures are added. */
typedef struct q8_gpu_stats q8_gpu_stats;

/** A channel's; the sum is in units of 2^-40. */
typedef struct q8_gpu_channel {
    int32_t lo, hi; /**< sortable, as in calib's q8_extent; lo > hi: no finite value */
    uint64_t sum_lo;
    int64_t sum_hi;
    int32_t top;
    uint32_t small;
    const uint32_t *bin; /**< steps * octaves */
} q8_gpu_channel;

/** What was counted, read back. */
typedef struct q8_gpu_counts {
    int32_t exponent; /**< INT32_MIN: no value but 0 */
    uint32_t zeros, not_finite;
    const uint32_t *bin;
} q8_gpu_counts;

q8_code q8_gpu_stats_open(q8_gpu_stats **stats, q8_gpu *gpu, const q8_gpu_stats_form *form,
                          q8_err *err);
void q8_gpu_stats_close(q8_gpu_stats **stats);
/** Has a view's pictures counted, after the work that makes them. At most 2^31 values between two
 *  q8_gpu_stats_read(). */
q8_code q8_gpu_stats_add(q8_gpu_stats *stats, const q8_view *view, q8_err *err);
/** Reads the counts, which stay valid until the next call, and starts again from nothing. All runs
 *  that added to them must have finished. */
q8_code q8_gpu_stats_read(q8_gpu_stats *stats, q8_gpu_counts *counts, q8_err *err);
/** One channel of what was read. */
q8_gpu_channel q8_gpu_stats_channel(const q8_gpu_stats *stats, int channel);
/** The GPU that a view's tensor is on. */
q8_gpu *q8_gpu_of(const q8_view *view);

#endif
