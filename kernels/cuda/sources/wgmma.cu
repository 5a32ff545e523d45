// wgmma m64nNkK of one warp group, a chain of ITERATIONS on one accumulator; sm_90a only.
// Macros: N, K, ELEMENTS, STORED, ACCUMULATOR, A_IN_SHARED, WAIT_EACH, and WGMMA(d, a, b): one instruction.
// Operands in shared memory are K-major without swizzle: core matrices of 8 rows x 16 bytes, 128 bytes each; the two of
// one row group lie side by side (leading offset 128 B), row groups follow one another (stride 256 B). PTX ISA, wgmma.
typedef unsigned int u32;
typedef unsigned long long u64;

__device__ u64 descriptor(const void* shared) {
    const u32 address = (u32)__cvta_generic_to_shared(shared);
    return ((u64)(address & 0x3FFFF) >> 4) | ((u64)(128 >> 4) << 16) | ((u64)(256 >> 4) << 32);
}

// Row-major rows of 32 bytes → core matrices.
__device__ void to_core_matrices(uint4* shared, const STORED* from, int rows) {
    for (int i = threadIdx.x; i < rows * 2; i += blockDim.x) {
        const int row = i / 2, half = i % 2;
        shared[(row / 8) * 16 + half * 8 + row % 8] = ((const uint4*)from)[row * 2 + half];
    }
}

// a[64][K], b[N][K] (B transposed) → y[64][N] = ITERATIONS a b^T
extern "C" __global__ void __launch_bounds__(128) wgmma(ACCUMULATOR* y, u32* cycles, const STORED* a, const STORED* b) {
    __shared__ __align__(128) uint4 sa[64 * 2];
    __shared__ __align__(128) uint4 sb[N * 2];
    to_core_matrices(sa, a, 64);
    to_core_matrices(sb, b, N);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
#if A_IN_SHARED
    const u64 da = descriptor(sa);
#else
    u32 da[4];
#pragma unroll
    for (int r = 0; r < 4; ++r)
        da[r] = *(const u32*)(a + (16 * warp + g + 8 * (r % 2)) * K + t * ELEMENTS + 4 * ELEMENTS * (r / 2));
#endif
    const u64 db = descriptor(sb);
    ACCUMULATOR d[N / 2] = {};
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    const long long start = clock64();
#pragma unroll 1
    for (int i = 0; i < ITERATIONS; ++i) {
        WGMMA(d, da, db);
#if WAIT_EACH
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
    }
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    const u32 taken = (u32)(clock64() - start);
    if (threadIdx.x == 0) cycles[blockIdx.x] = taken;
    if (blockIdx.x == 0)
#pragma unroll
        for (int i = 0; i < N / 2; ++i)
            y[(16 * warp + g + 8 * (i / 2 % 2)) * N + i / 4 * 8 + t * 2 + i % 2] = d[i];
}
