// Softmax, RMS norm or layer norm of each row: one work-group a row, reductions through shared memory.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 64;
layout(constant_id = 1) const uint FUNCTION = 0;
layout(push_constant) uniform Push { uint cols; };
layout(std430, binding = 0) readonly buffer X { float x[]; };
layout(std430, binding = 1) readonly buffer Scale { float scale[]; };
layout(std430, binding = 2) readonly buffer Shift { float shift[]; };
layout(std430, binding = 3) writeonly buffer Y { float y[]; };

const uint SOFTMAX = 0, RMSNORM = 1;
const float EPSILON = 1e-5;
shared float partial[THREADS];

float reduced(float value, bool largest) {
    uint me = gl_LocalInvocationID.x;
    partial[me] = value;
    barrier();
    for (uint half_of = THREADS / 2; half_of > 0; half_of /= 2) {
        if (me < half_of) {
            float other = partial[me + half_of];
            partial[me] = largest ? max(partial[me], other) : partial[me] + other;
        }
        barrier();
    }
    float result = partial[0];
    barrier();
    return result;
}

void main() {
    uint row = gl_WorkGroupID.x * cols;
    uint me = gl_LocalInvocationID.x;
    if (FUNCTION == SOFTMAX) {
        float largest = -3.4e38;
        for (uint j = me; j < cols; j += THREADS) largest = max(largest, x[row + j]);
        largest = reduced(largest, true);
        float sum = 0.0;
        for (uint j = me; j < cols; j += THREADS) sum += exp(x[row + j] - largest);
        float inverse = 1.0 / reduced(sum, false);
        for (uint j = me; j < cols; j += THREADS) y[row + j] = exp(x[row + j] - largest) * inverse;
        return;
    }
    float mean = 0.0;
    if (FUNCTION != RMSNORM) {
        for (uint j = me; j < cols; j += THREADS) mean += x[row + j];
        mean = reduced(mean, false) / float(cols);
    }
    float squares = 0.0;
    for (uint j = me; j < cols; j += THREADS) {
        float v = x[row + j] - mean;
        squares += v * v;
    }
    float inverse = inversesqrt(reduced(squares, false) / float(cols) + EPSILON);
    for (uint j = me; j < cols; j += THREADS) {
        float v = (x[row + j] - mean) * inverse * scale[j];
        y[row + j] = FUNCTION == RMSNORM ? v : v + shift[j];
    }
}
