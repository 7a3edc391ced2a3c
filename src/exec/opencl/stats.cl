/* Statistics of a tensor, added to what its state holds. Counts and extents are integers, and sums
 * are in fixed point, so that order does not matter; see calib/stats.h for what is counted. */

int q8_is_finite_bits(uint bits)
{
    return (bits & 0x7fffffff) < 0x7f800000;
}

/* Adds to a number of 128 bits. */
void q8_add_wide(ulong *lo, ulong *hi, ulong add_lo, ulong add_hi)
{
    *lo += add_lo;
    *hi += add_hi + (*lo < add_lo);
}

/* Adds x in units of 2^-40, rounded towards 0 and no larger than 2^60. */
void q8_add_fixed(ulong *lo, ulong *hi, float x)
{
    const float most = 0x1p60f, size = fabs(x) < most ? fabs(x) : most;
    const uint bits = as_uint(size);
    const int exponent = bits >> 23;
    const ulong mantissa = (bits & 0x7fffff) | (exponent ? 0x800000 : 0);
    const int shift = (exponent ? exponent : 1) - 150 + 40;
    ulong low = 0, high = 0;
    if (shift >= 64)
        high = mantissa << (shift - 64);
    else if (shift >= 0) {
        low = mantissa << shift;
        high = shift ? mantissa >> (64 - shift) : 0;
    } else if (shift > -24)
        low = mantissa >> -shift;
    if (x < 0) {
        low = ~low + 1;
        high = ~high + (low == 0);
    }
    q8_add_wide(lo, hi, low, high);
}

/* Extents and sums: a team for each channel. */
__kernel __attribute__((reqd_work_group_size(Q8_CL_TEAM, 1, 1))) void
q8_stats_extent(__global const float *x, __global uint *state, q8_cl_stats s)
{
    __local int los[Q8_CL_TEAM], his[Q8_CL_TEAM];
    __local ulong low[Q8_CL_TEAM], high[Q8_CL_TEAM];
    const int me = get_local_id(0), c = get_group_id(0);
    const int words = Q8_CL_CHANNEL_BINS + s.steps * s.octaves;
    __global uint *channel = state + Q8_CL_STATS_BINS + Q8_CL_HIST_BINS + c * words;
    int lo = INT_MAX, hi = INT_MIN;
    ulong sum_lo = 0, sum_hi = 0;
    for (int p = 0; p < s.batch; p++) {
        __global const float *plane = x + (p * s.channels + c) * s.spatial;
        float sum = 0;
        int waits = 0;
        for (int i = me; i < s.spatial; i += Q8_CL_TEAM) {
            const int bits = as_int(plane[i]);
            if (!q8_is_finite_bits(bits))
                continue;
            const int key = bits ^ ((bits >> 31) & INT_MAX);
            lo = min(lo, key);
            hi = max(hi, key);
            sum += plane[i];
            if (++waits == 16) { /* few enough for a float */
                q8_add_fixed(&sum_lo, &sum_hi, sum);
                sum = 0;
                waits = 0;
            }
        }
        q8_add_fixed(&sum_lo, &sum_hi, sum);
    }
    los[me] = lo;
    his[me] = hi;
    low[me] = sum_lo;
    high[me] = sum_hi;
    for (int half_team = Q8_CL_TEAM / 2; half_team > 0; half_team /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (me < half_team) {
            los[me] = min(los[me], los[me + half_team]);
            his[me] = max(his[me], his[me + half_team]);
            ulong l = low[me], h = high[me];
            q8_add_wide(&l, &h, low[me + half_team], high[me + half_team]);
            low[me] = l;
            high[me] = h;
        }
    }
    if (me > 0 || los[0] > his[0])
        return;
    channel[Q8_CL_CHANNEL_LO] = min((int)channel[Q8_CL_CHANNEL_LO], los[0]);
    channel[Q8_CL_CHANNEL_HI] = max((int)channel[Q8_CL_CHANNEL_HI], his[0]);
    ulong l = channel[Q8_CL_CHANNEL_SUM] | (ulong)channel[Q8_CL_CHANNEL_SUM + 1] << 32;
    ulong h = channel[Q8_CL_CHANNEL_SUM + 2] | (ulong)channel[Q8_CL_CHANNEL_SUM + 3] << 32;
    q8_add_wide(&l, &h, low[0], high[0]);
    channel[Q8_CL_CHANNEL_SUM] = (uint)l;
    channel[Q8_CL_CHANNEL_SUM + 1] = (uint)(l >> 32);
    channel[Q8_CL_CHANNEL_SUM + 2] = (uint)h;
    channel[Q8_CL_CHANNEL_SUM + 3] = (uint)(h >> 32);
    const int down = los[0] < 0 ? ~los[0] : los[0], up = his[0] < 0 ? ~his[0] : his[0];
    atomic_max(&state[Q8_CL_STATS_ABSMAX], (uint)max(down, up));
}

/* Raises the range until it holds the largest |x|, merging bins: one team. */
__kernel __attribute__((reqd_work_group_size(Q8_CL_TEAM, 1, 1))) void
q8_stats_raise(__global uint *state, q8_cl_stats s)
{
    const int me = get_local_id(0);
    const int before = (int)state[Q8_CL_STATS_EXPONENT];
    const uint absmax = state[Q8_CL_STATS_ABSMAX];
    const int wanted = max((int)(absmax >> 23) - 126, s.min_exponent);
    __global uint *bin = state + Q8_CL_STATS_BINS;
    if (absmax == 0 || wanted <= before) /* alike for all of the team */
        return;
    barrier(CLK_GLOBAL_MEM_FENCE);
    /* Bin i gets the sum of a stretch that begins at i or behind it: first those that lie apart. */
    const int shift = before == INT_MIN ? 0 : min(wanted - before, 31);
    for (int first = 0; first < Q8_CL_HIST_BINS && shift; first += Q8_CL_TEAM) {
        const int i = first + me;
        uint sum = 0;
        if (i < Q8_CL_HIST_BINS)
            for (long k = (long)i << shift; k < min((long)(i + 1) << shift, (long)Q8_CL_HIST_BINS); k++)
                sum += bin[k];
        barrier(CLK_GLOBAL_MEM_FENCE);
        if (i < Q8_CL_HIST_BINS)
            bin[i] = sum;
        barrier(CLK_GLOBAL_MEM_FENCE);
    }
    if (me == 0)
        state[Q8_CL_STATS_EXPONENT] = (uint)wanted;
}

/* The histogram: teams that each count apart and then together. */
__kernel __attribute__((reqd_work_group_size(Q8_CL_TEAM, 1, 1))) void
q8_stats_count(__global const float *x, __global uint *state, q8_cl_stats s, int n)
{
    __local uint count[Q8_CL_HIST_BINS];
    __local uint zeros, not_finite;
    const int me = get_local_id(0), exponent = (int)state[Q8_CL_STATS_EXPONENT];
    const float scale = exponent == INT_MIN ? 1 : ldexp((float)Q8_CL_HIST_BINS, -exponent);
    for (int i = me; i < Q8_CL_HIST_BINS; i += Q8_CL_TEAM)
        count[i] = 0;
    if (me == 0)
        zeros = not_finite = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = get_global_id(0); i < n; i += get_global_size(0)) {
        const float v = x[i];
        if (!q8_is_finite_bits(as_uint(v)))
            atomic_inc(&not_finite);
        else if (v == 0)
            atomic_inc(&zeros);
        else
            atomic_inc(&count[(int)(fabs(v) * scale)]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = me; i < Q8_CL_HIST_BINS; i += Q8_CL_TEAM)
        if (count[i])
            atomic_add(&state[Q8_CL_STATS_BINS + i], count[i]);
    if (me == 0) {
        atomic_add(&state[Q8_CL_STATS_ZEROS], zeros);
        atomic_add(&state[Q8_CL_STATS_NOT_FINITE], not_finite);
    }
}

/* Channels' bins from a few pixels: a work-item for each channel. */
__kernel void q8_stats_channels(__global const float *x, __global uint *state, q8_cl_stats s)
{
    const int c = get_global_id(0), bins = s.steps * s.octaves;
    if (c >= s.channels)
        return;
    __global uint *channel =
        state + Q8_CL_STATS_BINS + Q8_CL_HIST_BINS + c * (Q8_CL_CHANNEL_BINS + bins);
    __global uint *bin = channel + Q8_CL_CHANNEL_BINS;
    const int infinite = 255 * s.steps;
    for (int p = 0; p < s.batch; p++) {
        __global const uint *plane =
            (__global const uint *)x + (p * s.channels + c) * s.spatial + s.first_pixel;
        int largest = 0;
        for (int i = 0; i < s.pixels; i++) {
            const int step = (plane[i * s.pixel_step] & 0x7fffffff) >> 19;
            largest = step < infinite ? max(largest, step) : largest;
        }
        const int rise = (largest / s.steps - (int)channel[Q8_CL_CHANNEL_TOP]) * s.steps;
        if (rise > 0) {
            const int lost = min(rise, bins);
            for (int i = 0; i < lost; i++)
                channel[Q8_CL_CHANNEL_SMALL] += bin[i];
            for (int i = 0; i < bins; i++)
                bin[i] = i + lost < bins ? bin[i + lost] : 0;
            channel[Q8_CL_CHANNEL_TOP] = largest / s.steps;
        }
        const int base = ((int)channel[Q8_CL_CHANNEL_TOP] - s.octaves + 1) * s.steps;
        for (int i = 0; i < s.pixels; i++) {
            const int step = (plane[i * s.pixel_step] & 0x7fffffff) >> 19;
            if (step >= infinite)
                continue;
            if (step < base || step == 0)
                channel[Q8_CL_CHANNEL_SMALL]++;
            else
                bin[step - base]++;
        }
    }
}
