// One layer of a network: one thread a query and 4 neurons, activations through memory. RELU: 1 for hidden layers.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint INPUTS = 64;
layout(constant_id = 2) const uint OUTPUTS = 64;
layout(constant_id = 3) const uint RELU = 1;
layout(push_constant) uniform Push { uint queries, first; };
layout(std430, binding = 0) readonly buffer X { float x[]; };
layout(std430, binding = 1) readonly buffer Weights { vec4 weights[]; };
layout(std430, binding = 2) writeonly buffer Y { vec4 y[]; };

void main() {
    uint query = gl_GlobalInvocationID.x, j = gl_WorkGroupID.y;
    if (query >= queries) return;
    vec4 sum = vec4(0.0);
    for (uint i = 0; i < INPUTS; ++i)
        sum = fma(vec4(x[query * INPUTS + i]), weights[first + i * (OUTPUTS / 4) + j], sum);
    y[query * (OUTPUTS / 4) + j] = RELU == 1 ? max(sum, vec4(0.0)) : sum;
}
