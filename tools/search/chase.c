/* Latency of a load that misses, and the clock: a chain of loads over a buffer by chance, a chain of multiplications. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LINE = 64, LOADS = 1000000, MULTIPLICATIONS = 30000000, TRIES = 5, MULTIPLY_CLOCKS = 3 };

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

int main(int count, char **words)
{
    size_t lines = (count > 1 ? atol(words[1]) : 64L << 20) / LINE;
    size_t *buffer = aligned_alloc(LINE, lines * LINE), *order = malloc(lines * sizeof *order);
    for (size_t i = 0; i < lines; i++) order[i] = i;
    srand(1);
    for (size_t i = lines - 1; i > 0; i--) { /* Sattolo: one cycle through all lines */
        size_t j = ((size_t)rand() * RAND_MAX + rand()) % i, kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (size_t i = 0; i < lines; i++) buffer[order[i] * 8] = order[(i + 1) % lines] * 8;
    double load_s = 1.0, multiply_s = 1.0;
    size_t at = 0;
    unsigned long product = 1;
    for (int try = 0; try < TRIES; try++) {
        double begun = cpu_s();
        for (int i = 0; i < LOADS; i++) at = buffer[at];
        double taken = (cpu_s() - begun) / LOADS;
        if (taken < load_s) load_s = taken;
        begun = cpu_s();
        for (int i = 0; i < MULTIPLICATIONS; i++) __asm__ volatile("imul %0, %0" : "+r"(product));
        taken = (cpu_s() - begun) / MULTIPLICATIONS;
        if (taken < multiply_s) multiply_s = taken;
    }
    printf("{\"latency_s\": %.4g, \"clock_hz\": %.4g, \"end\": %d}\n", load_s, MULTIPLY_CLOCKS / multiply_s, (int)(at + product) & 1);
    return 0;
}
