// What the CUDA sources without tensor instructions use of CUDA, on threads of a CPU: CTAs one after another, the threads
// of a CTA side by side. For tests of what the kernels compute; it says nothing of their speed.
#include <algorithm>
#include <barrier>
#include <cmath>
#include <thread>
#include <utility>
#include <vector>

struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

static thread_local dim3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static std::barrier<>* of_cta;
static unsigned dynamic_shared[1 << 16];

#define __global__
#define __device__ static
#define __launch_bounds__(threads)
#define __shared__ static
#define __align__(bytes) alignas(bytes)

static void __syncthreads() { of_cta->arrive_and_wait(); }
static long long clock64() { return 0; }
static int __viaddmax_s32(int a, int b, int c) { return std::max((int)((unsigned)a + (unsigned)b), c); }
static int __vimax3_s32(int a, int b, int c) { return std::max(std::max(a, b), c); }
static int __vimax_s32_relu(int a, int b) { return std::max(std::max(a, b), 0); }

template <class... Arguments, std::size_t... Places>
static void call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<Places...>) {
    kernel(*(Arguments*)arguments[Places]...);
}

template <class... Arguments>
static void run_grid(void (*kernel)(Arguments...), dim3 grid, dim3 block, void** arguments) {
    const unsigned threads = block.x * block.y * block.z;
    std::barrier<> barrier(threads);
    of_cta = &barrier, blockDim = block, gridDim = grid;
    std::vector<std::thread> running;
    for (unsigned i = 0; i < threads; ++i)
        running.emplace_back([=, &barrier] {
            threadIdx = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
            for (unsigned cta = 0; cta < grid.x * grid.y * grid.z; ++cta) {
                blockIdx = {cta % grid.x, cta / grid.x % grid.y, cta / (grid.x * grid.y)};
                call(kernel, arguments, std::index_sequence_for<Arguments...>());
                barrier.arrive_and_wait();
            }
        });
    for (std::thread& thread : running) thread.join();
}
