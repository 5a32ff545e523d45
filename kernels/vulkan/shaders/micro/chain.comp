// Stages FIRST to FIRST + COUNT - 1 of a chain before and after a network: warp and windows of coordinates, then exposure,
// tone curve and contrast of colours. All of them in one dispatch is the fused chain, one of them a stage of the other.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint PER_THREAD = 4;
layout(constant_id = 2) const uint FIRST = 0;
layout(constant_id = 3) const uint COUNT = 12;
layout(push_constant) uniform Push { uint elements; };
layout(std430, binding = 0) readonly buffer X { float x[]; };
layout(std430, binding = 1) writeonly buffer Y { float y[]; };

float stage(uint which, float v) {
    switch (which) {
        case 0: return v * 0.5 + 0.5;
        case 1: return clamp(v, 0.0, 1.0);
        case 2: return v * v * (3.0 - 2.0 * v);
        case 3: return v * 1.25 - 0.125;
        case 4: return abs(v) * 0.9 + 0.05;
        case 5: return v * (1.0 - 0.25 * v);
        case 6: return v * 1.5;
        case 7: return v * (0.75 + 0.25 * v);
        case 8: return clamp(v, 0.0, 1.0);
        case 9: return 0.5 + (v - 0.5) * 1.1;
        case 10: return v * v * (3.0 - 2.0 * v);
        default: return v * 0.96 + 0.02;
    }
}

void main() {
    uint first = gl_WorkGroupID.x * gl_WorkGroupSize.x * PER_THREAD + gl_LocalInvocationID.x;
    for (uint step = 0; step < PER_THREAD; ++step) {
        uint i = first + step * gl_WorkGroupSize.x;
        if (i < elements) {
            float v = x[i];
            for (uint which = FIRST; which < FIRST + COUNT; ++which) v = stage(which, v);
            y[i] = v;
        }
    }
}
