// DPX functions, each thread on its own last result. Macros: FUNCTION, ELEMENT (int or unsigned), TERNARY, ITERATIONS.
typedef unsigned int u32;

extern "C" __global__ void dpx(ELEMENT* y, u32* cycles, const ELEMENT* x) {
    // x holds 16 operands and then one value for each thread
    ELEMENT operand[16], value = x[16 + blockIdx.x * blockDim.x + threadIdx.x];
#pragma unroll
    for (int i = 0; i < 16; ++i) operand[i] = x[i];
    __syncthreads();
    const long long start = clock64();
    for (int trip = 0; trip < ITERATIONS; ++trip) {
#pragma unroll
        for (int i = 0; i < 16; ++i) {
#if TERNARY
            value = FUNCTION(value, operand[i], operand[(7 * i + 3) % 16]);
#else
            value = FUNCTION(value, operand[i]);
#endif
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) cycles[blockIdx.x] = (u32)(clock64() - start);
    y[blockIdx.x * blockDim.x + threadIdx.x] = value;
}
