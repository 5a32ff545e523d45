// C = A B through shared memory: a work-group of TILE x TILE threads computes a tile of C, TILE of k at a time.
#version 450
layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 0) const uint TILE = 16;
layout(push_constant) uniform Push { uint m, n, k; };
layout(std430, binding = 0) readonly buffer A { float a[]; };
layout(std430, binding = 1) readonly buffer B { float b[]; };
layout(std430, binding = 2) writeonly buffer C { float c[]; };

shared float tile_a[TILE * TILE];
shared float tile_b[TILE * TILE];

void main() {
    uint x = gl_LocalInvocationID.x, y = gl_LocalInvocationID.y, batch = gl_WorkGroupID.z;
    uint row = gl_WorkGroupID.y * TILE + y, column = gl_WorkGroupID.x * TILE + x;
    float sum = 0.0;
    for (uint start = 0; start < k; start += TILE) {
        uint of_k_a = start + x, of_k_b = start + y;
        tile_a[y * TILE + x] = row < m && of_k_a < k ? a[batch * m * k + row * k + of_k_a] : 0.0;
        tile_b[y * TILE + x] = column < n && of_k_b < k ? b[batch * k * n + of_k_b * n + column] : 0.0;
        barrier();
        for (uint i = 0; i < TILE; ++i) sum = fma(tile_a[y * TILE + i], tile_b[i * TILE + x], sum);
        barrier();
    }
    if (row < m && column < n) c[batch * m * n + row * n + column] = sum;
}
