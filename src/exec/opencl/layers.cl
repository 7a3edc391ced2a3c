/* Layers without products of matrices. Tensors are NCHW; a batch lies picture after picture. */

float q8_apply(q8_cl_function f, float x)
{
    switch (f.kind) {
    case 1:
        return x < 0 ? 0 : x;
    case 2:
        return x < 0 ? x * f.a : x;
    case 3:
        return x < f.a ? f.a : x > f.b ? f.b : x;
    case 4:
        return 1 / (1 + exp(-x));
    case 5: /* ln(1 + e^x) is x itself long before e^x overflows */
        return x * tanh(x > 40 ? x : log1p(exp(x)));
    case 6: {
        const float y = x * f.a + f.b;
        return x * (y < 0 ? 0 : y > 1 ? 1 : y);
    }
    case Q8_CL_ABS:
        return fabs(x);
    case Q8_CL_BNLL:
        return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
    case Q8_CL_ELU:
        return x < 0 ? f.a * expm1(x) : x;
    case Q8_CL_EXP: {
        const float y = f.b * x + f.c;
        return f.a == -1 ? exp(y) : pow(f.a, y);
    }
    case Q8_CL_LOG: {
        const float y = log(f.b * x + f.c);
        return f.a == -1 ? y : y / log(f.a);
    }
    case Q8_CL_SWISH:
        return x / (1 + exp(-x));
    case Q8_CL_TANH:
        return tanh(x);
    case Q8_CL_THRESHOLD:
        return x > f.a ? 1 : 0;
    case Q8_CL_POWER: {
        const float y = f.b * x + f.c;
        return f.a == 1 ? y : pow(y, f.a);
    }
    default:
        return x;
    }
}

__kernel void q8_unary(__global const float *x, __global float *y, int n, q8_cl_function f)
{
    const int i = get_global_id(0);
    if (i < n)
        y[i] = q8_apply(f, x[i]);
}

/* y = f(a[c] * x + b[c]), with c the channel; a or b may be left out. In place if x is y. */
__kernel void q8_affine(__global const float *x, __global float *y, int n, int channels,
                        int spatial, __global const float *a, int has_a, __global const float *b,
                        int has_b, q8_cl_function f)
{
    const int i = get_global_id(0);
    if (i >= n)
        return;
    const int c = i / spatial % channels;
    float v = x[i];
    if (has_a)
        v *= a[c];
    if (has_b)
        v += b[c];
    y[i] = q8_apply(f, v);
}

__kernel void q8_prelu(__global const float *x, __global float *y, int n, int channels,
                       int spatial, __global const float *slope)
{
    const int i = get_global_id(0);
    if (i < n)
        y[i] = x[i] < 0 ? x[i] * slope[i / spatial % channels] : x[i];
}

/* kind: 0 product, 1 sum, 2 largest */
__kernel void q8_eltwise(__global const float *x, __global const float *y, __global float *out,
                         int n, int kind, float cx, float cy)
{
    const int i = get_global_id(0);
    if (i >= n)
        return;
    const float a = x[i], b = y[i];
    out[i] = kind == 0 ? a * b : kind == 2 ? (b > a ? b : a) : a * cx + b * cy;
}

float q8_operate(int type, float x, float y)
{
    switch (type) {
    case 0:
        return x + y;
    case 1:
        return x - y;
    case 2:
        return x * y;
    case 3:
        return x / y;
    case 4:
        return x > y ? x : y;
    case 5:
        return x < y ? x : y;
    case 6:
        return pow(x, y);
    case 7:
        return y - x;
    default:
        return y / x;
    }
}

__kernel void q8_binary_scalar(__global const float *x, __global float *y, int n, int type,
                               float b)
{
    const int i = get_global_id(0);
    if (i < n)
        y[i] = q8_operate(type, x[i], b);
}

__kernel void q8_binary(__global const float *x, __global const float *y, __global float *out,
                        q8_cl_pairs p)
{
    const int i = get_global_id(0);
    if (i >= p.all)
        return;
    const int picture = i / p.count;
    int rest = i % p.count, ix = picture * p.in_count[0], iy = picture * p.in_count[1];
    for (int k = p.rank - 1; k >= 0; k--) {
        const int at = rest % p.dim[k];
        rest /= p.dim[k];
        ix += at * p.step[0][k];
        iy += at * p.step[1][k];
    }
    out[i] = q8_operate(p.type, x[ix], y[iy]);
}

/* Each element is another one, or `fill`. */
__kernel void q8_gather(__global const float *x, __global float *y, __global const int *from,
                        int n_in, int n_out, int all, float fill)
{
    const int i = get_global_id(0);
    if (i >= all)
        return;
    const int at = from[i % n_out];
    y[i] = at < 0 ? fill : x[i / n_out * n_in + at];
}

/* Rows of `row` elements go into longer ones of `pitch`, at `first`. */
__kernel void q8_place(__global const float *x, __global float *y, int n, int row, int pitch,
                       int first)
{
    const int i = get_global_id(0);
    if (i < n)
        y[i / row * pitch + first + i % row] = x[i];
}

__kernel void q8_pool(__global const float *x, __global float *y, q8_cl_pool p)
{
    const int i = get_global_id(0);
    const int area = p.out_h * p.out_w;
    if (i >= p.planes * area)
        return;
    const int row = i % area / p.out_w, column = i % p.out_w;
    const int y0 = row * p.stride_h - p.top, x0 = column * p.stride_w - p.left;
    const int from_y = max(y0, 0), to_y = min(y0 + p.kernel_h, p.h);
    const int from_x = max(x0, 0), to_x = min(x0 + p.kernel_w, p.w);
    __global const float *plane = x + i / area * (p.h * p.w);
    float sum = 0, largest = plane[from_y * p.w + from_x];
    for (int r = from_y; r < to_y; r++)
        for (int c = from_x; c < to_x; c++) {
            const float v = plane[r * p.w + c];
            sum += v;
            largest = v > largest ? v : largest;
        }
    const int count = (to_y - from_y) * (to_x - from_x);
    y[i] = p.average ? sum / (p.whole ? p.kernel_h * p.kernel_w : count) : largest;
}

/* A whole plane by a team. */
__kernel __attribute__((reqd_work_group_size(Q8_CL_TEAM, 1, 1))) void
q8_pool_all(__global const float *x, __global float *y, int spatial, int average)
{
    __local float part[Q8_CL_TEAM];
    const int me = get_local_id(0), plane = get_group_id(0);
    float v = average ? 0 : x[plane * spatial];
    for (int i = me; i < spatial; i += Q8_CL_TEAM) {
        const float one = x[plane * spatial + i];
        v = average ? v + one : one > v ? one : v;
    }
    part[me] = v;
    for (int half_team = Q8_CL_TEAM / 2; half_team > 0; half_team /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (me < half_team) {
            const float other = part[me + half_team];
            part[me] = average ? part[me] + other : other > part[me] ? other : part[me];
        }
    }
    if (me == 0)
        y[plane] = average ? part[0] / spatial : part[0];
}

__kernel void q8_lrn(__global const float *x, __global float *y, q8_cl_lrn l)
{
    const int i = get_global_id(0);
    const int area = l.h * l.w;
    if (i >= l.batch * l.channels * area)
        return;
    const int c = i / area % l.channels, row = i % area / l.w, column = i % l.w;
    __global const float *picture = x + i / (l.channels * area) * (l.channels * area);
    float sum = 0;
    for (int k = max(c - l.around_c, 0); k <= min(c + l.around_c, l.channels - 1); k++)
        for (int r = max(row - l.around_s, 0); r <= min(row + l.around_s, l.h - 1); r++)
            for (int q = max(column - l.around_s, 0); q <= min(column + l.around_s, l.w - 1);
                 q++) {
                const float v = picture[k * area + r * l.w + q];
                sum += v * v;
            }
    y[i] = x[i] * pow(l.bias + l.scale * sum, -l.beta);
}

/* Along an axis of `n` elements that lie `inner` apart. */
__kernel void q8_softmax(__global const float *x, __global float *y, int rows, int n, int inner)
{
    const int i = get_global_id(0);
    if (i >= rows)
        return;
    const int first = i / inner * (n * inner) + i % inner;
    float largest = -INFINITY, sum = 0;
    for (int k = 0; k < n; k++)
        largest = max(largest, x[first + k * inner]);
    for (int k = 0; k < n; k++) {
        const float e = exp(x[first + k * inner] - largest);
        y[first + k * inner] = e;
        sum += e;
    }
    for (int k = 0; k < n; k++)
        y[first + k * inner] /= sum;
}

/* Bilinear: where each row and column of the output lies is in tables. */
__kernel void q8_resize(__global const float *x, __global float *y, __global const int *from,
                        __global const float *part, q8_cl_resize s)
{
    const int i = get_global_id(0), area = s.out_h * s.out_w;
    if (i >= s.planes * area)
        return;
    const int row = i % area / s.out_w, column = s.out_h + i % s.out_w;
    __global const float *at = x + i / area * (s.h * s.w) + from[row] * s.w + from[column];
    const float down = part[row], right = part[column];
    const float upper = (1 - right) * at[0] + right * at[1];
    const float lower = (1 - right) * at[s.w] + right * at[s.w + 1];
    y[i] = (1 - down) * upper + down * lower;
}

/* The sum of all members' values, for all of them. */
float q8_team_sum(float mine, __local float *part)
{
    const int me = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    part[me] = mine;
    for (int half_team = Q8_CL_TEAM / 2; half_team > 0; half_team /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (me < half_team)
            part[me] += part[me + half_team];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return part[0];
}

/* A group with one norm by a team. */
__kernel __attribute__((reqd_work_group_size(Q8_CL_TEAM, 1, 1))) void
q8_normalize(__global const float *x, __global float *y, __global const float *scale,
             q8_cl_normalize g)
{
    __local float part[Q8_CL_TEAM];
    const int me = get_local_id(0), group = get_group_id(0);
    const int across = g.spatial / g.group_spatial, n = g.group_channels * g.group_spatial;
    /* Groups lie picture by picture, then channel by channel, then position by position. */
    const int first = group / across * (g.group_channels * g.spatial) + group % across;
    float sum = 0;
    for (int i = me; i < n; i += Q8_CL_TEAM) {
        const float v = x[first + i / g.group_spatial * g.spatial + i % g.group_spatial];
        sum += v * v;
    }
    sum = q8_team_sum(sum, part);
    const float norm = g.eps_mode == 0   ? sqrt(sum + g.eps)
                       : g.eps_mode == 1 ? fmax(sqrt(sum), g.eps)
                                         : sqrt(fmax(sum, g.eps));
    for (int i = me; i < n; i += Q8_CL_TEAM) {
        const int at = first + i / g.group_spatial * g.spatial + i % g.group_spatial;
        y[at] = x[at] / norm * scale[g.shared ? 0 : at / g.spatial % g.channels];
    }
}

/* Each stretch of `n` elements by a team. */
__kernel __attribute__((reqd_work_group_size(Q8_CL_TEAM, 1, 1))) void
q8_mvn(__global const float *x, __global float *y, int n, int variance, float eps)
{
    __local float part[Q8_CL_TEAM];
    const int me = get_local_id(0), first = get_group_id(0) * n;
    float sum = 0, squares = 0;
    for (int i = me; i < n; i += Q8_CL_TEAM)
        sum += x[first + i];
    const float mean = q8_team_sum(sum, part) / n;
    for (int i = me; i < n; i += Q8_CL_TEAM)
        squares += (x[first + i] - mean) * (x[first + i] - mean);
    const float deviation = sqrt(q8_team_sum(squares, part) / n) + eps;
    for (int i = me; i < n; i += Q8_CL_TEAM)
        y[first + i] = variance ? (x[first + i] - mean) / deviation : x[first + i] - mean;
}

int q8_offset(const q8_cl_walk *w, int i)
{
    int offset = 0;
    for (int k = 3; k >= 0; k--) {
        offset += i % w->dim[k] * w->step[k];
        i /= w->dim[k];
    }
    return offset;
}

float q8_reduce_two(int type, float a, float b)
{
    switch (type) {
    case 4:
        return b > a ? b : a;
    case 5:
        return b < a ? b : a;
    case 6:
        return a * b;
    default:
        return a + b;
    }
}

/* An output by a team. */
__kernel __attribute__((reqd_work_group_size(Q8_CL_TEAM, 1, 1))) void
q8_reduce(__global const float *x, __global float *y, q8_cl_reduce r)
{
    __local float part[Q8_CL_TEAM];
    const int me = get_local_id(0), output = get_group_id(0);
    __global const float *from =
        x + output / r.kept.count * r.count + q8_offset(&r.kept, output % r.kept.count);
    float value = r.type == 4 ? -INFINITY : r.type == 5 ? INFINITY : r.type == 6;
    for (int i = me; i < r.inner.count; i += Q8_CL_TEAM) {
        const float v = from[q8_offset(&r.inner, i)];
        value = q8_reduce_two(r.type, value, r.type == 1 ? fabs(v) : r.type == 2 ? v * v : v);
    }
    part[me] = value;
    for (int half_team = Q8_CL_TEAM / 2; half_team > 0; half_team /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (me < half_team)
            part[me] = q8_reduce_two(r.type, part[me], part[me + half_team]);
    }
    if (me == 0)
        y[output] = part[0] * r.coeff;
}
