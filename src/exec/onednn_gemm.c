#ifdef Q8_HAVE_ONEDNN

#include "exec/gemm.h"
#include "exec/onednn.h"

#include <oneapi/dnnl/dnnl_debug.h>

q8_code q8_gemm_run(const q8_gemm *g, q8_err *err)
{
    q8_dnnl_before before;
    q8_dnnl_enter(&before);
    const dnnl_status_t status =
        dnnl_sgemm(g->a_transposed ? 'T' : 'N', 'N', g->m, g->n, g->k, g->factor, g->a, g->a_stride,
                   g->b, g->b_stride, g->add ? 1 : 0, g->c, g->c_stride);
    q8_dnnl_leave(&before);
    if (status == dnnl_out_of_memory)
        return q8_fail_nomem(err);
    return status ? q8_fail(err, Q8_EINTERNAL, NULL, NULL, "oneDNN: cannot multiply matrices (%s)",
                            dnnl_status2str(status))
                  : Q8_OK;
}

#endif
