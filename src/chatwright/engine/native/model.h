/* What the decoder consists of: its shape, its weights, its cache, and the room a pass works in.

The cache of one slot, layer and key-value head holds keys in blocks of sixteen positions, [position / 16][W][16], so
that sixteen scores are one chain of multiplications, and values as [position][W]. W is a multiple of 16. With weights
in float32 the cache is float32, else bfloat16: with long texts it is the cache that is read from memory. */
#ifndef CHATWRIGHT_MODEL_H
#define CHATWRIGHT_MODEL_H

#include "matrix.h"

typedef struct {
    int vocab, layers, width, heads, kv_heads, head_width, mlp_width, slots, context, window; /* window 0: none */
    int qkv_bias, qk_norm, format, threads, most_rows;
    float norm_eps;
} Shape;

typedef struct {
    float *input_norm, *post_norm, *q_norm, *k_norm, *bias; /* bias of queries, keys and values, one after another */
    Matrix qkv, out, gate_up, down;
} Layer;

typedef struct Model {
    Shape shape;
    struct Model *owner; /* of crew, cache and rows; itself, or the model that this one is a variant of */
    Crew *crew;
    Layer *layers;
    Matrix head;
    float *embedding, *final_norm, *rope; /* rope: context x [cos W/2, sin W/2] */
    char *keys, *values;
    size_t item, keys_each, values_each; /* bytes of a number, and of one slot, layer and head */
    int attention, qkv_width, mlp_stride;
    /* Of the pass under way: */
    int rows;
    const int32_t *tokens, *slots, *positions;
    float *x, *normed, *qkv, *attended, *activated, *scales, *scores;
    void *prepared;
} Model;

/* Bytes between two heads' keys. Without them the same position of all sequences would lie a power of two apart, and
the processor's caches would hold few of them at a time (measured: a batch of 16 took four times as long as one of 8). */
enum { APART = 5 * 64 };

/* Attention scores of so many positions lie on the stack, which is in the nearest cache already; those of longer
contexts have a place of their own for each part of the work, as a thread's stack may be small. */
enum { STACKED = 1 << 14, ATTEND_PARTS = 8 /* for each thread */ };

static size_t scores_apart(const Shape *s) { return ((size_t)s->context + LANES - 1) / LANES * LANES; }

static void *keys_of(const Model *m, int slot, int layer, int head) {
    return m->keys + (((size_t)slot * m->shape.layers + layer) * m->shape.kv_heads + head) * m->keys_each;
}

static void *values_of(const Model *m, int slot, int layer, int head) {
    return m->values + (((size_t)slot * m->shape.layers + layer) * m->shape.kv_heads + head) * m->values_each;
}

ALWAYS void keep(void *cache, size_t at, float x, size_t item) {
    if (item == 4) ((float *)cache)[at] = x;
    else ((uint16_t *)cache)[at] = to_bf16(x);
}

ALWAYS Floats kept(const void *cache, size_t at, size_t item) {
    return item == 4 ? load((const float *)cache + at) : from_bf16((const uint16_t *)cache + at);
}

#endif
