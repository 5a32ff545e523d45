// C[m,n] = A[m,k] B[k,n] in fp32, row-major: naive, tiles of shared memory (TILE), and register blocks (4 x 4 a thread).
#ifndef TILE
#define TILE 16
#endif

extern "C" __global__ void gemm_naive(float* c, const float* a, const float* b, int m, int n, int k) {
    const int row = blockIdx.y * blockDim.y + threadIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= m || column >= n) return;
    float sum = 0.f;
    for (int i = 0; i < k; ++i) sum = fmaf(a[(long long)row * k + i], b[(long long)i * n + column], sum);
    c[(long long)row * n + column] = sum;
}

extern "C" __global__ void gemm_tiled(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float sa[TILE][TILE], sb[TILE][TILE];
    const int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
    float sum = 0.f;
    for (int start = 0; start < k; start += TILE) {
        sa[y][x] = row < m && start + x < k ? a[(long long)row * k + start + x] : 0.f;
        sb[y][x] = start + y < k && column < n ? b[(long long)(start + y) * n + column] : 0.f;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < TILE; ++i) sum = fmaf(sa[y][i], sb[i][x], sum);
        __syncthreads();
    }
    if (row < m && column < n) c[(long long)row * n + column] = sum;
}

// 256 threads compute 64 x 64 of C; k in steps of 16.
extern "C" __global__ void gemm_register(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float sa[16][64 + 4], sb[16][64];
    const int thread = threadIdx.y * 16 + threadIdx.x, top = blockIdx.y * 64, left = blockIdx.x * 64;
    float sum[4][4] = {};
    for (int start = 0; start < k; start += 16) {
        for (int i = thread; i < 64 * 16; i += 256) {
            const int row = i / 16, step = i % 16;
            sa[step][row] = top + row < m && start + step < k ? a[(long long)(top + row) * k + start + step] : 0.f;
        }
        for (int i = thread; i < 16 * 64; i += 256) {
            const int step = i / 64, column = i % 64;
            sb[step][column] = start + step < k && left + column < n ? b[(long long)(start + step) * n + left + column] : 0.f;
        }
        __syncthreads();
#pragma unroll
        for (int step = 0; step < 16; ++step) {
            float ra[4], rb[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                ra[i] = sa[step][threadIdx.y * 4 + i];
                rb[i] = sb[step][threadIdx.x * 4 + i];
            }
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] = fmaf(ra[i], rb[j], sum[i][j]);
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) {
            const int row = top + threadIdx.y * 4 + i, column = left + threadIdx.x * 4 + j;
            if (row < m && column < n) c[(long long)row * n + column] = sum[i][j];
        }
}
