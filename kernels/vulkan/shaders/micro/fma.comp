// Rate of multiply-adds: 8 independent chains a thread, ITERATIONS long. WORDS of shared memory limit the occupancy.
#version 450
#ifdef FP16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define T float16_t
#elif defined(INT32)
#define T int
#else
#define T float
#endif
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ITERATIONS = 256;
layout(constant_id = 2) const uint WORDS = 1;
layout(std430, binding = 0) readonly buffer X { T x[]; };
layout(std430, binding = 1) writeonly buffer Y { T y[]; };

shared T room[WORDS];

T step_of(T v, T by, T plus) {
#ifdef INT32
    return v * by + plus;
#else
    return fma(v, by, plus);
#endif
}

void main() {
    uint i = gl_GlobalInvocationID.x;
    T by = x[0], plus = x[1], first = x[2 + i];
    if (gl_LocalInvocationID.x == 0) room[WORDS - 1] = plus;
    barrier();
    plus = room[WORDS - 1];
    T v0 = first, v1 = first + T(1), v2 = first + T(2), v3 = first + T(3);
    T v4 = first + T(4), v5 = first + T(5), v6 = first + T(6), v7 = first + T(7);
    for (uint trip = 0; trip < ITERATIONS; ++trip) {
        v0 = step_of(v0, by, plus); v1 = step_of(v1, by, plus); v2 = step_of(v2, by, plus); v3 = step_of(v3, by, plus);
        v4 = step_of(v4, by, plus); v5 = step_of(v5, by, plus); v6 = step_of(v6, by, plus); v7 = step_of(v7, by, plus);
    }
    y[i] = ((v0 + v1) + (v2 + v3)) + ((v4 + v5) + (v6 + v7));
}
