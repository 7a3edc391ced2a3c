/* The simulation of int8 layers, see ops/int8.h: codes and their sums are integers in floats, and
 * every value is the one that the host computes. */

#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#pragma OPENCL FP_CONTRACT OFF

/* Half away from zero; limits are put on the bits, as there NaN is a case of its own. */
float q8_code(float scaled)
{
    const int bits = as_int(scaled), size_bits = bits & INT_MAX;
    const float size = as_float(min(size_bits, as_int(127.0f)));
    const int whole = (int)size;
    const float rounded = whole + (size - whole >= 0.5f);
    return bits < 0 || size_bits > as_int(INFINITY) ? -rounded : rounded;
}

__kernel void q8_quantize(__global const float *x, __global float *code, int n, float scale)
{
    const int i = get_global_id(0);
    if (i < n)
        code[i] = q8_code(x[i] * scale);
}

/* How many values of a picture are beyond the largest code: a team for each. */
__kernel __attribute__((reqd_work_group_size(Q8_CL_TEAM, 1, 1))) void
q8_beyond(__global const float *x, __global float *count, int each, float scale)
{
    __local int part[Q8_CL_TEAM];
    const int me = get_local_id(0), picture = get_group_id(0);
    int beyond = 0;
    for (int i = me; i < each; i += Q8_CL_TEAM)
        beyond += fabs(x[picture * each + i] * scale) > 127.5f;
    part[me] = beyond;
    for (int half_team = Q8_CL_TEAM / 2; half_team > 0; half_team /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (me < half_team)
            part[me] += part[me + half_team];
    }
    if (me == 0)
        count[picture] = part[0];
}

/* As the host does it, in double; without it the product and the sum are still rounded once, which
 * is the same but for one case in 2^29. */
__kernel void q8_dequantize(__global const float *sums, __global float *y, int n, int channels,
                            int spatial, __global const float *scale, __global const float *bias,
                            q8_cl_function f)
{
    const int i = get_global_id(0);
    if (i >= n)
        return;
    const int c = i / spatial % channels;
#ifdef cl_khr_fp64
    const float v = (double)sums[i] * scale[c] + bias[c];
#else
    const float v = fma(sums[i], scale[c], bias[c]);
#endif
    y[i] = q8_apply(f, v);
}

/* An output of an InnerProduct by a group, in integers. */
__kernel __attribute__((reqd_work_group_size(Q8_CL_GROUP, 1, 1))) void
q8_int8_inner(__global const float *codes, __global float *sums, __global const char *weight,
              int inputs, int outputs)
{
    __local int part[Q8_CL_GROUP];
    const int me = get_local_id(0), o = get_group_id(0), picture = get_global_id(1);
    int sum = 0;
    for (int i = me; i < inputs; i += Q8_CL_GROUP)
        sum += weight[o * inputs + i] * (int)codes[picture * inputs + i];
    part[me] = sum;
    for (int half_group = Q8_CL_GROUP / 2; half_group > 0; half_group /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (me < half_group)
            part[me] += part[me + half_group];
    }
    if (me == 0)
        sums[picture * outputs + o] = part[0];
}

/* --- Compare ---------------------------------------------------------------------------------- */

/* A sum in two floats, the second what the first leaves over. */
float2 q8_add(float2 sum, float x)
{
    const float total = sum.x + x, of_x = total - sum.x;
    return (float2)(total, sum.y + ((sum.x - (total - of_x)) + (x - of_x)));
}

float2 q8_add_sum(float2 sum, float2 other)
{
    sum = q8_add(sum, other.x);
    sum.y += other.y;
    return sum;
}

/* Parts of the sums of a picture by some teams; y, and z if has_z, are simulations of f. */
__kernel __attribute__((reqd_work_group_size(Q8_CL_TEAM, 1, 1))) void
q8_compare(__global const float *f, __global const float *y, __global const float *z, int has_z,
           __global float2 *parts, int each, int channels, int spatial,
           __global const float *inverse, float shift)
{
    __local float2 part[Q8_CL_TEAM];
    const int me = get_local_id(0), picture = get_global_id(1);
    float2 sum[Q8_CL_COMPARE_SUMS];
    for (int k = 0; k < Q8_CL_COMPARE_SUMS; k++)
        sum[k] = 0;
    for (int i = get_global_id(0); i < each; i += get_global_size(0)) {
        const int at = picture * each + i;
        const float back = inverse[i / spatial % channels];
        const float want = f[at], got = (y[at] - shift) * back;
        sum[0] = q8_add(sum[0], want * want);
        sum[1] = q8_add(sum[1], (got - want) * (got - want));
        sum[2] = q8_add(sum[2], want * got);
        sum[3] = q8_add(sum[3], got * got);
        if (!has_z)
            continue;
        const float own = (z[at] - shift) * back;
        sum[4] = q8_add(sum[4], (own - want) * (own - want));
        sum[5] = q8_add(sum[5], want * own);
        sum[6] = q8_add(sum[6], own * own);
    }
    for (int k = 0; k < Q8_CL_COMPARE_SUMS; k++) {
        part[me] = sum[k];
        for (int half_team = Q8_CL_TEAM / 2; half_team > 0; half_team /= 2) {
            barrier(CLK_LOCAL_MEM_FENCE);
            if (me < half_team)
                part[me] = q8_add_sum(part[me], part[me + half_team]);
        }
        if (me == 0)
            parts[(picture * get_num_groups(0) + get_group_id(0)) * Q8_CL_COMPARE_SUMS + k] = part[0];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

/* A sum of a picture, from its parts in their order. */
__kernel void q8_compare_total(__global const float2 *parts, __global float *out, int n, int teams)
{
    const int i = get_global_id(0);
    if (i >= n)
        return;
    const int picture = i / Q8_CL_COMPARE_SUMS, k = i % Q8_CL_COMPARE_SUMS;
    float2 sum = 0;
    for (int t = 0; t < teams; t++)
        sum = q8_add_sum(sum, parts[(picture * teams + t) * Q8_CL_COMPARE_SUMS + k]);
    out[2 * i] = sum.x + sum.y;
    out[2 * i + 1] = sum.y - (out[2 * i] - sum.x);
}
