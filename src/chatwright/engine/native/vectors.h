/* Sixteen floats at once, in GCC's and Clang's portable vector types: the compiler makes AVX-512, AVX2 or NEON of them. */
#ifndef CHATWRIGHT_VECTORS_H
#define CHATWRIGHT_VECTORS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

enum { LANES = 16 };
#define ALWAYS static inline __attribute__((always_inline))
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef float LooseFloats __attribute__((vector_size(64), aligned(4)));

ALWAYS Floats load(const float *from) { return *(const LooseFloats *)from; }
ALWAYS void store(float *to, Floats x) { *(LooseFloats *)to = x; }
ALWAYS Floats all(float x) { return x - (Floats){0}; }

ALWAYS uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (x != x) return 0x7fc0; /* rounding could carry into the sign and leave a zero */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16); /* to the nearest, ties to even */
}

ALWAYS Floats from_bf16(const uint16_t *from) {
#if defined(__AVX512F__)
    return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)from)), 16);
#else
    typedef uint16_t Halves __attribute__((vector_size(32)));
    Halves halves;
    memcpy(&halves, from, sizeof halves);
    return (Floats)(__builtin_convertvector(halves, Ints) << 16);
#endif
}

ALWAYS float sum_of(Floats x) {
    float total = 0;
    for (int i = 0; i < 8; i++) x[i] += x[i + 8];
    for (int i = 0; i < 4; i++) x[i] += x[i + 4];
    for (int i = 0; i < 4; i++) total += x[i];
    return total;
}

/* a where the mask is set, b elsewhere. */
ALWAYS Floats pick(Ints mask, Floats a, Floats b) { return (Floats)(((Ints)a & mask) | ((Ints)b & ~mask)); }
ALWAYS Floats larger(Floats a, Floats b) { return pick(a > b, a, b); }

ALWAYS float largest_of(Floats x) {
    float most = x[0];
    for (int i = 1; i < LANES; i++) most = x[i] > most ? x[i] : most;
    return most;
}

/* e^x to a few units in the last place: 2^n times a polynomial in the remainder, |r| <= ln(2) / 2. Below -87 it is 0.
What is no number stays none. */
ALWAYS Floats exponential(Floats x) {
    const float round = 12582912.0f; /* 1.5 * 2^23: adding and taking it away rounds to whole numbers */
    Ints gone = x <= -87.0f;
    x = pick(gone, all(-87.0f), x);
    x = pick(x > 88.0f, all(88.0f), x);
    Floats n = (x * 1.44269504f + round) - round;
    Floats r = x - n * 0.693359375f; /* ln 2 in two parts, so that no bits are lost */
    r = r + n * 2.12194440e-4f;
    Floats p = all(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    Ints whole = __builtin_convertvector(n, Ints);
    Ints power = (whole + 127) << 23;
    return (Floats)((Ints)(p * (Floats)power) & ~gone);
}

#endif
