// C = A B on a device's matrix units (VK_KHR_cooperative_matrix): a subgroup keeps ROWS x COLUMNS tiles of C, and loads
// tiles of A and B straight from memory. A work-group is HIGH x WIDE subgroups. m, n and k must be whole blocks and tiles.
#version 450
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require
#ifdef INT8
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_EXT_shader_8bit_storage : require
#define ELEMENT int8_t
#define SUM int
#else
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_16bit_storage : require
#define ELEMENT float16_t
#define SUM float
#endif
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TILE_M = 16;
layout(constant_id = 2) const uint TILE_N = 16;
layout(constant_id = 3) const uint TILE_K = 16;
layout(constant_id = 4) const uint ROWS = 2;
layout(constant_id = 5) const uint COLUMNS = 2;
layout(constant_id = 6) const uint WIDE = 2;
layout(constant_id = 7) const uint HIGH = 2;
layout(push_constant) uniform Push { uint m, n, k; };
layout(std430, binding = 0) readonly buffer A { ELEMENT a[]; };
layout(std430, binding = 1) readonly buffer B { ELEMENT b[]; };
layout(std430, binding = 2) writeonly buffer C { SUM c[]; };

const int BY_ROWS = gl_CooperativeMatrixLayoutRowMajor;

void main() {
    uint top = (gl_WorkGroupID.y * HIGH + gl_SubgroupID / WIDE) * ROWS * TILE_M;
    uint left = (gl_WorkGroupID.x * WIDE + gl_SubgroupID % WIDE) * COLUMNS * TILE_N;
    coopmat<SUM, gl_ScopeSubgroup, TILE_M, TILE_N, gl_MatrixUseAccumulator> sum[ROWS * COLUMNS];
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i)
        sum[i] = coopmat<SUM, gl_ScopeSubgroup, TILE_M, TILE_N, gl_MatrixUseAccumulator>(SUM(0));
    for (uint at = 0; at < k; at += TILE_K) {
        coopmat<ELEMENT, gl_ScopeSubgroup, TILE_K, TILE_N, gl_MatrixUseB> of_b[COLUMNS];
        [[unroll]] for (uint j = 0; j < COLUMNS; ++j) coopMatLoad(of_b[j], b, at * n + left + j * TILE_N, n, BY_ROWS);
        [[unroll]] for (uint i = 0; i < ROWS; ++i) {
            coopmat<ELEMENT, gl_ScopeSubgroup, TILE_M, TILE_K, gl_MatrixUseA> of_a;
            coopMatLoad(of_a, a, (top + i * TILE_M) * k + at, k, BY_ROWS);
            [[unroll]] for (uint j = 0; j < COLUMNS; ++j)
                sum[i * COLUMNS + j] = coopMatMulAdd(of_a, of_b[j], sum[i * COLUMNS + j]);
        }
    }
    [[unroll]] for (uint i = 0; i < ROWS; ++i)
        [[unroll]] for (uint j = 0; j < COLUMNS; ++j)
            coopMatStore(sum[i * COLUMNS + j], c, (top + i * TILE_M) * n + left + j * TILE_N, n, BY_ROWS);
}
