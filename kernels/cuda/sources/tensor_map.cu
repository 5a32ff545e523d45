// Boxes of a tensor of 2 or 3 dimensions, copied into shared memory by the tensor memory accelerator; sm_90 and later.
// Macros: RANK, BOX_X, BOX_Y, BOX_Z (words), BOXES_X, BOXES_Y (boxes along an axis), STAGES (boxes in flight a CTA).
typedef unsigned int u32;
typedef unsigned long long u64;

struct __align__(64) TensorMap { u64 words[16]; };  // CUtensorMap of the driver API
#define BOX_WORDS (BOX_X * BOX_Y * BOX_Z)

__device__ u32 shared_address(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }

// One thread: tell the barrier how many bytes come, and ask for them.
__device__ void ask_for(u32 box, u32 target, u32 barrier, const TensorMap* map) {
    const u32 x = box % BOXES_X * BOX_X, y = box / BOXES_X % BOXES_Y * BOX_Y, z = box / (BOXES_X * BOXES_Y) * BOX_Z;
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(4 * BOX_WORDS) : "memory");
#if RANK == 3
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(target),
        "l"((u64)map), "r"(x), "r"(y), "r"(z), "r"(barrier)
        : "memory");
#else
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(target),
        "l"((u64)map), "r"(x), "r"(y), "r"(barrier)
        : "memory");
#endif
}

__device__ void wait_for(u32 barrier, u32 phase) {
    u32 done = 0;
    while (!done)
        asm volatile(
            "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
            : "=r"(done)
            : "r"(barrier), "r"(phase)
            : "memory");
}

// CTA i takes boxes i, i + CTAs, …, STAGES of them at a time, and sums word t and three times word t of the last 32 of each.
extern "C" __global__ void tensor_copy(u32* y, u32* cycles, const __grid_constant__ TensorMap map, u32 boxes) {
    extern __shared__ __align__(128) u32 words[];
    __shared__ __align__(8) u64 barriers[STAGES];
    const u32 mine = (boxes - blockIdx.x + gridDim.x - 1) / gridDim.x, t = threadIdx.x;
    if (t == 0) {
        for (u32 stage = 0; stage < STAGES; ++stage)
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barriers + stage)));
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        asm volatile("prefetch.tensormap [%0];" ::"l"((u64)&map) : "memory");
    }
    __syncthreads();
    u32 total = 0;
    const long long start = clock64();
    if (t == 0)
        for (u32 i = 0; i < STAGES && i < mine; ++i)
            ask_for(blockIdx.x + i * gridDim.x, shared_address(words + i * BOX_WORDS), shared_address(barriers + i), &map);
    for (u32 i = 0; i < mine; ++i) {
        const u32 stage = i % STAGES;
        const u32* box = words + stage * BOX_WORDS;
        wait_for(shared_address(barriers + stage), i / STAGES & 1);
        total += box[t] + 3 * box[BOX_WORDS - 32 + t];
        __syncthreads();  // all have read the box before the next one takes its place
        if (t == 0 && i + STAGES < mine)
            ask_for(blockIdx.x + (i + STAGES) * gridDim.x, shared_address(box), shared_address(barriers + stage), &map);
    }
    if (t == 0) cycles[blockIdx.x] = (u32)(clock64() - start);
    y[blockIdx.x * 32 + t] = total;
}
