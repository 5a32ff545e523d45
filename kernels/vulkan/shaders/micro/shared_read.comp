// Shared-memory bandwidth: each thread adds up words STRIDE x its number apart; strides show conflicts of banks.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint STRIDE = 1;
layout(constant_id = 2) const uint ITERATIONS = 64;
layout(constant_id = 3) const uint WORDS = 2048;
layout(std430, binding = 0) readonly buffer X { uint x[]; };
layout(std430, binding = 1) writeonly buffer Y { uint y[]; };

shared uint room[WORDS];

void main() {
    uint me = gl_LocalInvocationID.x;
    for (uint i = me; i < WORDS; i += gl_WorkGroupSize.x) room[i] = x[i];
    barrier();
    uint sum = 0, at = me * STRIDE;
    for (uint trip = 0; trip < ITERATIONS; ++trip) {
        sum += room[at % WORDS] + room[(at + 1) % WORDS] + room[(at + 2) % WORDS] + room[(at + 3) % WORDS];
        at += 4;
    }
    y[gl_GlobalInvocationID.x] = sum;
}
