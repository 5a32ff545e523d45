// What the CUDA sources without tensor instructions use of CUDA, on threads of a CPU: clusters one after another (a CTA is
// one of its own, unless the source says otherwise), the threads of a cluster side by side. For tests of what the kernels
// compute; it says nothing of their speed. Few headers: it is compiled once for each kernel.
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <utility>

struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct __attribute__((aligned(16))) uint4 { unsigned x, y, z, w; };
struct __attribute__((aligned(16))) float4 { float x, y, z, w; };
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

static thread_local dim3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static pthread_barrier_t of_cluster;
static unsigned ctas_of_cluster;
static unsigned dynamic_shared[1 << 16];

#define __global__
#define __device__ static
#define __launch_bounds__(threads)
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __cluster_dims__(x, y, z)
#define __grid_constant__

static void __syncthreads() { pthread_barrier_wait(&of_cluster); }  // clusters of several CTAs have no other barrier
static long long clock64() { return 0; }
static int larger(int a, int b) { return a > b ? a : b; }
static int __viaddmax_s32(int a, int b, int c) { return larger((int)((unsigned)a + (unsigned)b), c); }
static int __vimax3_s32(int a, int b, int c) { return larger(larger(a, b), c); }
static int __vimax_s32_relu(int a, int b) { return larger(larger(a, b), 0); }

// Addresses of shared memory are 32 bits wide: distances from the dynamic part.
static long __cvta_generic_to_shared(const void* pointer) { return (const char*)pointer - (const char*)dynamic_shared; }
static char* in_shared(unsigned address) { return (char*)dynamic_shared + (int)address; }

// A barrier in shared memory counts the copies that have come: one ends a phase, and waits ask for its parity.
static unsigned long long* barrier_at(unsigned address) { return (unsigned long long*)in_shared(address); }
static void copy_came(unsigned barrier) { __atomic_add_fetch(barrier_at(barrier), 1, __ATOMIC_SEQ_CST); }
static unsigned arrived(unsigned barrier, unsigned phase) {
    const unsigned done = (__atomic_load_n(barrier_at(barrier), __ATOMIC_SEQ_CST) & 1) != phase;
    if (!done) sched_yield();  // the thread that copies may need this core
    return done;
}

// What the copy engine does, done by the thread that asks for it.
struct Map { unsigned long long tensor, rank, sides[3], strides[2], box[3]; };  // as fake_tensor_map.py writes it
static void copy_box(unsigned target, const void* given, unsigned x, unsigned y, unsigned z, unsigned barrier) {
    const Map& map = *(const Map*)given;
    const char* from = (const char*)map.tensor + 4 * x;
    char* to = in_shared(target);
    for (unsigned plane = 0; plane < (map.rank == 3 ? map.box[2] : 1); ++plane)
        for (unsigned row = 0; row < map.box[1]; ++row, to += 4 * map.box[0])
            memcpy(to, from + (y + row) * map.strides[0] + (z + plane) * map.strides[1], 4 * map.box[0]);
    copy_came(barrier);
}
static void copy_bulk(unsigned target, const void* from, unsigned bytes, unsigned barrier) {
    memcpy(in_shared(target), from, bytes);
    copy_came(barrier);
}

template <class... Arguments, size_t... Places>
static void call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<Places...>) {
    kernel(*(Arguments*)arguments[Places]...);
}

template <class... Arguments>
struct Thread {
    void (*kernel)(Arguments...);
    void** arguments;
    unsigned number;

    static void* run(void* given) {
        const Thread& self = *(Thread*)given;
        const dim3 block = blockDim, grid = gridDim;
        const unsigned threads = block.x * block.y * block.z, thread = self.number % threads;
        threadIdx = {thread % block.x, thread / block.x % block.y, thread / (block.x * block.y)};
        for (unsigned cta = self.number / threads; cta < grid.x * grid.y * grid.z; cta += ctas_of_cluster) {
            blockIdx = {cta % grid.x, cta / grid.x % grid.y, cta / (grid.x * grid.y)};
            call(self.kernel, self.arguments, std::index_sequence_for<Arguments...>());
            pthread_barrier_wait(&of_cluster);
        }
        return nullptr;
    }
};

template <class... Arguments>
static void run_grid(void (*kernel)(Arguments...), unsigned cluster, dim3 grid, dim3 block, void** arguments) {
    const unsigned threads = cluster * block.x * block.y * block.z;
    blockDim = block, gridDim = grid, ctas_of_cluster = cluster;
    pthread_barrier_init(&of_cluster, nullptr, threads);
    auto* handles = (pthread_t*)malloc(threads * sizeof(pthread_t));
    auto* given = (Thread<Arguments...>*)malloc(threads * sizeof(Thread<Arguments...>));
    for (unsigned i = 0; i < threads; ++i) {
        given[i] = {kernel, arguments, i};
        if (pthread_create(handles + i, nullptr, Thread<Arguments...>::run, given + i) != 0) abort();
    }
    for (unsigned i = 0; i < threads; ++i) pthread_join(handles[i], nullptr);
    free(handles), free(given);
    pthread_barrier_destroy(&of_cluster);
}
