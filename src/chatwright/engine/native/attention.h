/* Attention of rows over the cached keys and values of their own sequences. */
#ifndef CHATWRIGHT_ATTENTION_H
#define CHATWRIGHT_ATTENTION_H

#include "model.h"

enum { BLOCKS = 4 }; /* blocks of keys that are scored together */

/* Each score is two chains of additions, over even and over odd parts of the head: half as long to wait for. */
ALWAYS void score(const float *q, const void *keys, size_t from, int W, const int blocks, const size_t item,
                  float *scores) {
    Floats even[BLOCKS], odd[BLOCKS];
    UNROLL for (int b = 0; b < blocks; b++) even[b] = odd[b] = (Floats){0};
    for (int w = 0; w < W; w += 2)
        UNROLL for (int b = 0; b < blocks; b++) {
            size_t at = ((from + b) * W + w) * LANES;
            even[b] += kept(keys, at, item) * q[w];
            odd[b] += kept(keys, at + LANES, item) * q[w + 1];
        }
    UNROLL for (int b = 0; b < blocks; b++) store(scores + (from + b) * LANES, even[b] + odd[b]);
}

/* scores of the blocks from..to-1 -> weights that are 0 outside the positions first..last; returns 1 / their sum. */
static float soften(float *scores, int from, int to, int first, int last, float scale) {
    const Ints lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    Floats most = all(-INFINITY), sum = {0};
    for (int b = from; b < to; b++) {
        Ints at = lanes + b * LANES;
        Floats x = pick((at >= first) & (at <= last), load(scores + b * LANES) * scale, all(-INFINITY));
        store(scores + b * LANES, x);
        most = larger(most, x);
    }
    float top = largest_of(most);
    for (int b = from; b < to; b++) {
        Floats weight = exponential(load(scores + b * LANES) - top);
        store(scores + b * LANES, weight);
        sum += weight;
    }
    return 1 / sum_of(sum);
}

/* out = sum of weights * values over the positions first..last, `chunks` times sixteen numbers of it from `w` on; even
and odd positions apart, for speed. */
ALWAYS void mix(const float *weights, const void *values, int W, int w, int first, int last, float inverse,
                const int chunks, const size_t item, float *out) {
    Floats even[4] = {{0}}, odd[4] = {{0}};
    for (int s = first & ~1; s <= last; s += 2) {
        size_t at = (size_t)s * W + w;
        UNROLL for (int i = 0; i < chunks; i++) even[i] += kept(values, at + i * LANES, item) * weights[s];
        if (s < last)
            UNROLL for (int i = 0; i < chunks; i++) odd[i] += kept(values, at + W + i * LANES, item) * weights[s + 1];
    }
    UNROLL for (int i = 0; i < chunks; i++) store(out + w + i * LANES, (even[i] + odd[i]) * inverse);
}

typedef struct { Model *model; int layer, each; } Attending;

/* One row and one key-value head: all the query heads that share it. */
ALWAYS void attend(Model *model, int layer, int row, int kv_head, int part, const size_t item) {
    const Shape *s = &model->shape;
    int W = s->head_width, last = model->positions[row], groups = s->heads / s->kv_heads;
    int first = s->window && last >= s->window ? last - s->window + 1 : 0;
    int from = first / LANES, to = last / LANES + 1;
    const void *keys = keys_of(model, model->slots[row], layer, kv_head);
    const void *values = values_of(model, model->slots[row], layer, kv_head);
    const int stacked = to * LANES <= STACKED;
    float few[stacked ? to * LANES : 1], *scores = stacked ? few : model->scores + part * scores_apart(s);
    for (int head = kv_head * groups; head < (kv_head + 1) * groups; head++) {
        const float *q = model->qkv + (size_t)row * model->qkv_width + head * W;
        int b = from, w = 0;
        for (; b + BLOCKS <= to; b += BLOCKS) score(q, keys, b, W, BLOCKS, item, scores);
        for (; b < to; b++) score(q, keys, b, W, 1, item, scores);
        float inverse = soften(scores, from, to, first, last, 1 / sqrtf(W));
        float *out = model->attended + (size_t)row * model->attention + head * W;
        for (; w + 4 * LANES <= W; w += 4 * LANES) mix(scores, values, W, w, first, last, inverse, 4, item, out);
        for (; w < W; w += LANES) mix(scores, values, W, w, first, last, inverse, 1, item, out);
    }
}

static void attend_part(void *argument, int part) {
    const Attending *job = argument;
    int heads = job->model->shape.kv_heads, all = job->model->rows * heads;
    for (int at = part * job->each; at < (part + 1) * job->each && at < all; at++)
        if (job->model->item == 4) attend(job->model, job->layer, at / heads, at % heads, part, 4);
        else attend(job->model, job->layer, at / heads, at % heads, part, 2);
}

#endif
