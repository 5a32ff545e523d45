// mma.sync m16n8kK: CHAINS independent accumulators a warp, ITERATIONS instructions on each.
// Macros: K, ELEMENTS (of a 32-bit register: 4, 2 or 1), A_REGISTERS, B_REGISTERS, STORED (element as it is in memory),
// ACCUMULATOR (float or int), CONSTRAINT ("+f" or "+r"), INSTRUCTION (its text with {0,1,2,3}, A, B, {0,1,2,3}).
// Fragments as in the PTX ISA, "Matrix fragments for mma.m16n8kK": with g = lane / 4 and t = lane % 4, register r of A
// has row g + 8 (r % 2) and columns t E + i + 4 E (r / 2); register r of B has rows t E + i + 4 E r and column g.
typedef unsigned int u32;

__device__ u32 packed(const STORED* from, int step) {
    union { STORED elements[ELEMENTS]; u32 word; } fragment;
#pragma unroll
    for (int i = 0; i < ELEMENTS; ++i) fragment.elements[i] = from[i * step];
    return fragment.word;
}

// a[16][K], b[K][8] → y[16][8] = CHAINS ITERATIONS a b, by every warp; the first one writes it and its clocks.
extern "C" __global__ void mma_sync(ACCUMULATOR* y, u32* cycles, const STORED* a, const STORED* b) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    u32 ra[A_REGISTERS], rb[B_REGISTERS];
#pragma unroll
    for (int r = 0; r < A_REGISTERS; ++r)
        ra[r] = packed(a + (g + 8 * (r % 2)) * K + t * ELEMENTS + 4 * ELEMENTS * (r / 2), 1);
#pragma unroll
    for (int r = 0; r < B_REGISTERS; ++r) rb[r] = packed(b + (t * ELEMENTS + 4 * ELEMENTS * r) * 8 + g, 8);
    ACCUMULATOR d[CHAINS][4] = {};
    __syncthreads();
    const long long start = clock64();
#pragma unroll 4
    for (int i = 0; i < ITERATIONS; ++i) {
#pragma unroll
        for (int chain = 0; chain < CHAINS; ++chain) MMA(d[chain], ra, rb);
    }
    ACCUMULATOR sum[4] = {};
#pragma unroll
    for (int chain = 0; chain < CHAINS; ++chain)
#pragma unroll
        for (int i = 0; i < 4; ++i) sum[i] += d[chain][i];
    __syncthreads();
    const u32 taken = (u32)(clock64() - start);
    if (threadIdx.x == 0) cycles[blockIdx.x] = taken;
    if (threadIdx.x < 32 && blockIdx.x == 0)
#pragma unroll
        for (int i = 0; i < 4; ++i) y[(g + 8 * (i / 2)) * 8 + t * 2 + i % 2] = sum[i];
    else if (sum[0] != sum[0]) y[0] = sum[0];  // keeps the other warps' work
}
