// Latency of dependent loads: one thread follows a cycle of indices, 16 loads a trip.
#version 450
layout(local_size_x = 1) in;
layout(push_constant) uniform Push { uint trips; };
layout(std430, binding = 0) readonly buffer Next { uint next[]; };
layout(std430, binding = 1) writeonly buffer Y { uint y[]; };

void main() {
    uint at = 0;
    for (uint trip = 0; trip < trips; ++trip) {
        at = next[at]; at = next[at]; at = next[at]; at = next[at];
        at = next[at]; at = next[at]; at = next[at]; at = next[at];
        at = next[at]; at = next[at]; at = next[at]; at = next[at];
        at = next[at]; at = next[at]; at = next[at]; at = next[at];
    }
    y[0] = at;
}
