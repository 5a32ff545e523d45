// A network of HIDDEN layers of WIDTH neurons, all layers in one kernel: one thread a query, activations its own.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint INPUTS = 32;
layout(constant_id = 2) const uint WIDTH = 64;
layout(constant_id = 3) const uint HIDDEN = 2;
layout(constant_id = 4) const uint OUTPUTS = 16;
layout(push_constant) uniform Push { uint queries; };
layout(std430, binding = 0) readonly buffer X { float x[]; };
layout(std430, binding = 1) readonly buffer Weights { vec4 weights[]; };
layout(std430, binding = 2) writeonly buffer Y { vec4 y[]; };

const uint MOST = 64;

void main() {
    uint query = gl_GlobalInvocationID.x;
    if (query >= queries) return;
    float now[MOST];
    vec4 next[MOST / 4];
    for (uint i = 0; i < INPUTS; ++i) now[i] = x[query * INPUTS + i];
    uint rows = INPUTS, first = 0;
    for (uint layer = 0; layer < HIDDEN; ++layer) {
        for (uint j = 0; j < WIDTH / 4; ++j) next[j] = vec4(0.0);
        for (uint i = 0; i < rows; ++i)
            for (uint j = 0; j < WIDTH / 4; ++j) next[j] = fma(vec4(now[i]), weights[first + i * (WIDTH / 4) + j], next[j]);
        for (uint j = 0; j < WIDTH; ++j) now[j] = max(next[j / 4][j % 4], 0.0);
        first += rows * (WIDTH / 4);
        rows = WIDTH;
    }
    for (uint j = 0; j < OUTPUTS / 4; ++j) {
        vec4 sum = vec4(0.0);
        for (uint i = 0; i < WIDTH; ++i) sum = fma(vec4(now[i]), weights[first + i * (OUTPUTS / 4) + j], sum);
        y[query * (OUTPUTS / 4) + j] = sum;
    }
}
