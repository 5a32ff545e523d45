// Launch cost: one thread that passes one word on, so that the result can be checked.
#version 450
layout(local_size_x = 1) in;
layout(std430, binding = 0) readonly buffer X { uint x[]; };
layout(std430, binding = 1) writeonly buffer Y { uint y[]; };

void main() { y[0] = x[0] + 1u; }
