// Multiresolution grid encoding (Mueller et al. 2022, arXiv:2201.05989), indexed as tiny-cuda-nn does: one thread a query
// and level, trilinear interpolation of 2 features from 8 corners. INDEXING: 0 hash, 1 dense, 2 tiled.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint INDEXING = 0;
layout(push_constant) uniform Push { uint queries, levels; };
struct Level { float scale; uint resolution, entries, first; };
layout(std430, binding = 0) readonly buffer Points { float points[]; };
layout(std430, binding = 1) readonly buffer Levels { Level level_of[]; };
layout(std430, binding = 2) readonly buffer Table { vec2 table[]; };
layout(std430, binding = 3) writeonly buffer Y { vec2 y[]; };

uint entry_of(uvec3 corner, Level level) {
    uint stride = 1u, index = 0u;
    for (uint axis = 0; axis < 3 && stride <= level.entries; ++axis) {
        index += corner[axis] * stride;
        stride *= level.resolution;
    }
    if (INDEXING == 0 && level.entries < stride)
        index = corner.x ^ (corner.y * 2654435761u) ^ (corner.z * 805459861u);
    return level.first + index % level.entries;
}

void main() {
    uint query = gl_GlobalInvocationID.x, of_level = gl_WorkGroupID.y;
    if (query >= queries) return;
    Level level = level_of[of_level];
    vec3 at = vec3(points[3 * query], points[3 * query + 1], points[3 * query + 2]) * level.scale + 0.5;
    uvec3 cell = uvec3(floor(at));
    vec3 within = at - floor(at);
    vec2 sum = vec2(0.0);
    for (uint corner = 0; corner < 8; ++corner) {
        uvec3 side = uvec3(corner & 1u, (corner >> 1) & 1u, corner >> 2);
        vec3 weight = mix(1.0 - within, within, vec3(side));
        sum += weight.x * weight.y * weight.z * table[entry_of(cell + side, level)];
    }
    y[query * levels + of_level] = sum;
}
