// Micro-benchmarks of the memory system and the FMA pipes. No headers: NVRTC alone compiles this file.
// Macros come from the case: ITERATIONS, WORDS, CACHED, and the element type: TYPE_FP16 (pairs), TYPE_INT32 or
// else fp32.
typedef unsigned int u32;
typedef unsigned long long u64;

extern "C" __global__ void launch(u32* y, const u32* x) {
    if (threadIdx.x == 0 && blockIdx.x == 0) y[0] = x[0] + 1u;
}

extern "C" __global__ void copy(uint4* y, const uint4* x, u64 vectors) {
    for (u64 i = blockIdx.x * (u64)blockDim.x + threadIdx.x; i < vectors; i += (u64)gridDim.x * blockDim.x) y[i] = x[i];
}

extern "C" __global__ void triad(float4* z, const float4* x, const float4* y, u64 vectors) {
    for (u64 i = blockIdx.x * (u64)blockDim.x + threadIdx.x; i < vectors; i += (u64)gridDim.x * blockDim.x) {
        float4 a = x[i], b = y[i];
        z[i] = make_float4(a.x + 3.f * b.x, a.y + 3.f * b.y, a.z + 3.f * b.z, a.w + 3.f * b.w);
    }
}

#if CACHED
#define LOAD "ld.global.ca.u32 %0, [%1];"
#else
#define LOAD "ld.global.cg.u32 %0, [%1];"
#endif

// All threads read a word of every sector, which leaves as much of the array in the caches as they hold; then the first
// one follows the links. `cycles` has its loads alone. One CTA on one SM, or one on each.
extern "C" __global__ void pointer_chase(u32* y, u32* cycles, const u32* next, u32 loads, u32 words) {
    u32 at;
    for (u32 i = threadIdx.x * 8; i < words; i += blockDim.x * 8) asm volatile(LOAD : "=r"(at) : "l"(next + i));
    __syncthreads();
    if (threadIdx.x != 0) return;
    at = 0;
    const long long start = clock64();
#pragma unroll 16
    for (u32 i = 0; i < loads; ++i) asm volatile(LOAD : "=r"(at) : "l"(next + at));
    cycles[blockIdx.x] = (u32)(clock64() - start);
    y[blockIdx.x] = at;
}

#if TYPE_INT32
typedef int element;
__device__ element multiply_add(element a, element b, element c) { return a * b + c; }
__device__ element add(element a, element b) { return a + b; }
__device__ element chain_of(element x, int chain) { return x + chain; }
__device__ element splat(element x) { return x; }
typedef int stored;
#elif TYPE_FP16
typedef u32 element;  // two halves
__device__ element multiply_add(element a, element b, element c) {
    element d;
    asm volatile("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}
__device__ element add(element a, element b) {
    element d;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}
__device__ element splat(unsigned short x) { return x | ((u32)x << 16); }
__device__ element chain_of(element x, int chain) {
    unsigned short h;
    asm("cvt.rn.f16.s32 %0, %1;" : "=h"(h) : "r"(chain));
    return add(x, splat(h));
}
typedef unsigned short stored;
#else
typedef float element;
__device__ element multiply_add(element a, element b, element c) { return fmaf(a, b, c); }
__device__ element add(element a, element b) { return a + b; }
__device__ element chain_of(element x, int chain) { return x + (float)chain; }
__device__ element splat(element x) { return x; }
typedef float stored;
#endif

// x holds factor, summand and then one value for each thread; with fp16 each thread has two values. Dynamic shared
// memory that the launch asks for is not used: it limits the occupancy.
extern "C" __global__ void fma_rate(element* y, const stored* x) {
    const element factor = splat(x[0]), summand = splat(x[1]);
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    element v[8];
#pragma unroll
    for (int chain = 0; chain < 8; ++chain) v[chain] = chain_of(((const element*)(x + 2))[i], chain);
#pragma unroll 8
    for (int trip = 0; trip < ITERATIONS; ++trip) {
#pragma unroll
        for (int chain = 0; chain < 8; ++chain) v[chain] = multiply_add(v[chain], factor, summand);
    }
    element total = v[0];
#pragma unroll
    for (int chain = 1; chain < 8; ++chain) total = add(total, v[chain]);
    y[i] = total;
}

extern "C" __global__ void shared_read(u32* y, const u32* x, u32 stride) {
    extern __shared__ u32 words[];
    for (u32 i = threadIdx.x; i < WORDS; i += blockDim.x) words[i] = x[i];
    __syncthreads();
    u32 at = (threadIdx.x * stride) % WORDS, total = 0;
#pragma unroll 4
    for (int trip = 0; trip < 4 * ITERATIONS; ++trip) {
        total += words[at];
        at = at + 1 == WORDS ? 0 : at + 1;
    }
    y[blockIdx.x * blockDim.x + threadIdx.x] = total;
}
