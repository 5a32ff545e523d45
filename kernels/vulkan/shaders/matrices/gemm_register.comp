// C = A B, each thread a patch of 4 x 4 elements of C in registers. Threads of a work-group are neighbours along n.
#version 450
layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(push_constant) uniform Push { uint m, n, k; };
layout(std430, binding = 0) readonly buffer A { float a[]; };
layout(std430, binding = 1) readonly buffer B { float b[]; };
layout(std430, binding = 2) writeonly buffer C { float c[]; };

const uint PATCH = 4;

void main() {
    uint batch = gl_WorkGroupID.z, step_of_column = gl_WorkGroupSize.x;
    uint row = gl_GlobalInvocationID.y * PATCH;
    uint column = gl_WorkGroupID.x * step_of_column * PATCH + gl_LocalInvocationID.x;
    uint rows[PATCH], columns[PATCH];
    float sum[PATCH][PATCH];
    for (uint i = 0; i < PATCH; ++i) {
        rows[i] = batch * m * k + min(row + i, m - 1) * k;
        columns[i] = batch * k * n + min(column + i * step_of_column, n - 1);
        for (uint j = 0; j < PATCH; ++j) sum[i][j] = 0.0;
    }
    for (uint at = 0; at < k; ++at) {
        float of_b[PATCH];
        for (uint j = 0; j < PATCH; ++j) of_b[j] = b[columns[j] + at * n];
        for (uint i = 0; i < PATCH; ++i) {
            float of_a = a[rows[i] + at];
            for (uint j = 0; j < PATCH; ++j) sum[i][j] = fma(of_a, of_b[j], sum[i][j]);
        }
    }
    for (uint i = 0; i < PATCH; ++i)
        for (uint j = 0; j < PATCH; ++j) {
            uint of_column = column + j * step_of_column;
            if (row + i < m && of_column < n) c[batch * m * n + (row + i) * n + of_column] = sum[i][j];
        }
}
