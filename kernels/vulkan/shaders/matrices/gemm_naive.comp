// C = A B, one thread an element of C, operands straight from memory. K is at most 65,535 on lavapipe.
#version 450
layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(push_constant) uniform Push { uint m, n, k; };
layout(std430, binding = 0) readonly buffer A { float a[]; };
layout(std430, binding = 1) readonly buffer B { float b[]; };
layout(std430, binding = 2) writeonly buffer C { float c[]; };

void main() {
    uint row = gl_GlobalInvocationID.y, column = gl_GlobalInvocationID.x, batch = gl_WorkGroupID.z;
    if (row >= m || column >= n) return;
    uint of_a = batch * m * k + row * k, of_b = batch * k * n + column;
    float sum = 0.0;
    for (uint i = 0; i < k; ++i) sum = fma(a[of_a + i], b[of_b + i * n], sum);
    c[batch * m * n + row * n + column] = sum;
}
