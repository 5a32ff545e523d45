// Thread block clusters: distributed shared memory and bulk copies; sm_90 and later.
// Macros: CLUSTER (CTAs of a cluster), WORDS (of a CTA's shared memory), ITERATIONS, LOAD_BYTES.
typedef unsigned int u32;
typedef unsigned long long u64;

__device__ u32 shared_address(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }

__device__ u32 in_neighbour(u32 address) {
    u32 rank, remote;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"((rank + 1) % CLUSTER));
    return remote;
}

__device__ u32 load_remote(u32 address) {
    u32 value;
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
    return value;
}

__device__ void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}

// Links of WORDS words in every CTA, followed in the next CTA of the cluster by one thread.
extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) cluster_chase(u32* y, u32* cycles, const u32* next, u32 loads) {
    __shared__ u32 words[WORDS];
    for (u32 i = threadIdx.x; i < WORDS; i += blockDim.x) words[i] = next[i];
    cluster_barrier();
    if (threadIdx.x == 0) {
        const u32 remote = in_neighbour(shared_address(words));
        u32 at = 0;
        const long long start = clock64();
#pragma unroll 16
        for (u32 i = 0; i < loads; ++i) at = load_remote(remote + 4 * at);
        cycles[blockIdx.x] = (u32)(clock64() - start);
        y[blockIdx.x] = at;
    }
    cluster_barrier();  // no CTA leaves while another reads its memory
}

// All threads read all of the next CTA's words, ITERATIONS times; each CTA has its own part of x.
extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) cluster_read(u32* y, const u32* x) {
    __shared__ u32 words[WORDS];
    for (u32 i = threadIdx.x; i < WORDS; i += blockDim.x) words[i] = x[blockIdx.x * WORDS + i];
    cluster_barrier();
    const u32 remote = in_neighbour(shared_address(words));
    u32 total = 0;
    for (int trip = 0; trip < ITERATIONS; ++trip) {
#pragma unroll 8
        for (u32 i = threadIdx.x; i < WORDS; i += blockDim.x) total += load_remote(remote + 4 * i);
    }
    y[blockIdx.x * blockDim.x + threadIdx.x] = total;
    cluster_barrier();
}

// Each CTA copies its chunks of LOAD_BYTES with the tensor memory accelerator, one after another, and sums their first 32 words.
extern "C" __global__ void bulk_copy(u32* y, u32* cycles, const u32* x, u32 chunks) {
    __shared__ __align__(128) u32 words[LOAD_BYTES / 4];
    __shared__ __align__(8) u64 barrier;
    const u32 mbarrier = shared_address(&barrier), target = shared_address(words);
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(mbarrier));
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();
    u32 total = 0, phase = 0;
    const long long start = clock64();
    for (u32 chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        if (threadIdx.x == 0) {
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(mbarrier), "r"(LOAD_BYTES) : "memory");
            asm volatile(
                "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(target),
                "l"(x + (u64)chunk * (LOAD_BYTES / 4)), "r"(LOAD_BYTES), "r"(mbarrier)
                : "memory");
        }
        u32 done = 0;
        while (!done)
            asm volatile(
                "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                : "=r"(done)
                : "r"(mbarrier), "r"(phase)
                : "memory");
        phase ^= 1;
        total += words[threadIdx.x];
        __syncthreads();
    }
    if (threadIdx.x == 0) cycles[blockIdx.x] = (u32)(clock64() - start);
    y[blockIdx.x * 32 + threadIdx.x] = total;
}
