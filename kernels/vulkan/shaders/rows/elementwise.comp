// One result from each element of the inputs; FUNCTION says which. A work-group does PER_THREAD x its threads elements,
// neighbouring threads touching neighbouring elements.
#version 450
#ifdef FP16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define T float16_t
#else
#define T float
#endif
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint PER_THREAD = 4;
layout(constant_id = 2) const uint FUNCTION = 0;
layout(push_constant) uniform Push { uint elements; };
layout(std430, binding = 0) readonly buffer X { T x[]; };
layout(std430, binding = 1) readonly buffer Y { T y[]; };
layout(std430, binding = 2) writeonly buffer Z { T z[]; };

float tanh_of(float v) { return 1.0 - 2.0 / (exp(2.0 * v) + 1.0); }

T apply(uint i) {
    switch (FUNCTION) {
        case 1: return x[i] + y[i];
        case 2: return x[i] * y[i];
        case 3: return max(x[i], T(0));
        case 4: {
            float v = float(x[i]);
            return T(0.5 * v * (1.0 + tanh_of(0.7978845608 * (v + 0.044715 * v * v * v))));
        }
        case 5: {
            float v = float(x[i]);
            return T(v * float(y[i]) / (1.0 + exp(-v)));
        }
        case 6: return x[i] + T(3) * y[i];
        default: return x[i];
    }
}

void main() {
    uint first = gl_WorkGroupID.x * gl_WorkGroupSize.x * PER_THREAD + gl_LocalInvocationID.x;
    for (uint step = 0; step < PER_THREAD; ++step) {
        uint i = first + step * gl_WorkGroupSize.x;
        if (i < elements) z[i] = apply(i);
    }
}
