/* Drawing tokens from logits; the meaning is that of `draw` in chatwright/engine/sampling.py, which tests hold it to. */
#include "vectors.h"

#include <stdlib.h>

typedef struct { float logit; int token; } Candidate;

/* Most likely first; equals in the order of their tokens. */
static int by_logit(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->token - y->token;
}

static int by_token(const void *a, const void *b) {
    return ((const Candidate *)a)->token - ((const Candidate *)b)->token;
}

/* sum of e^((logit - most) / temperature); it is no number where a logit is none, or infinite, or all are ruled out. */
typedef struct { float most; int best; double sum; } Softmax;

static Softmax softmax_of(const float *logits, int vocab, float temperature) {
    Softmax made = {logits[0], 0, 0};
    for (int i = 1; i < vocab; i++)
        if (logits[i] > made.most) made.most = logits[i], made.best = i;
    float inverse = 1 / temperature;
    int i = 0;
    for (; i + LANES <= vocab; i += LANES) made.sum += sum_of(exponential((load(logits + i) - made.most) * inverse));
    for (; i < vocab; i++) made.sum += expf((logits[i] - made.most) * inverse);
    return made;
}

static float logprob_of(Softmax softmax, float logit, float temperature) {
    return (float)((logit - softmax.most) / (double)temperature - log(softmax.sum));
}

/* Where the running sum of weights passes `uniform` of the whole; the last that has any where rounding passes none. */
static int invert(const float *logits, int vocab, Softmax softmax, float temperature, double uniform) {
    double threshold = uniform * softmax.sum, running = 0;
    float inverse = 1 / temperature;
    int i = 0, last = softmax.best;
    for (; i + LANES <= vocab; i += LANES) {
        Floats weights = exponential((load(logits + i) - softmax.most) * inverse);
        double block = sum_of(weights);
        if (running + block <= threshold) {
            running += block;
            if (block > 0) last = i;
            continue;
        }
        for (int lane = 0; lane < LANES; lane++) {
            running += weights[lane];
            if (weights[lane] > 0) {
                if (running > threshold) return i + lane;
                last = i + lane;
            }
        }
    }
    for (; i < vocab; i++) {
        float weight = expf((logits[i] - softmax.most) * inverse);
        running += weight;
        if (weight > 0) {
            if (running > threshold) return i;
            last = i;
        }
    }
    return last;
}

/* As `invert`, among the tokens that top_k, then top_p, then min_p leave. */
static int invert_cut(const float *logits, int vocab, Softmax softmax, float temperature, int top_k, float top_p,
                      float min_p, double uniform, Candidate *candidates) {
    /* All tokens less likely than (1 - top_p) / V together have less than 1 - top_p: none of them is in the nucleus. */
    double least = (1.0 - top_p) / vocab * softmax.sum;
    if (min_p > least) least = min_p * 0.999;
    if (top_k > 0) least = 0; /* the nucleus is one of the top k then, so that all of them count */
    int count = 0;
    for (int i = 0; i < vocab; i++) {
        if (isinf(logits[i])) continue;
        float z = (logits[i] - softmax.most) / temperature;
        if (least > 0 && exp(z) < least) continue;
        candidates[count++] = (Candidate){logits[i], i};
    }
    qsort(candidates, count, sizeof *candidates, by_logit);
    if (top_k > 0 && top_k < count) count = top_k;
    double whole = 0, before = 0;
    for (int i = 0; i < count; i++) whole += exp((candidates[i].logit - softmax.most) / temperature);
    if (top_k <= 0) whole = softmax.sum;
    int left = 0;
    for (; left < count; left++) {
        double weight = exp((candidates[left].logit - softmax.most) / temperature);
        if (left && top_p < 1 && before >= top_p * whole) break;
        if (left && weight < min_p) break;
        before += weight;
    }
    /* In the order of tokens, as the reference sums them. */
    qsort(candidates, left, sizeof *candidates, by_token);
    double threshold = uniform * before, running = 0;
    for (int i = 0; i < left; i++) {
        running += exp((candidates[i].logit - softmax.most) / temperature);
        if (running > threshold) return candidates[i].token;
    }
    return candidates[left - 1].token;
}

enum { COLDEST_INVERSE = 100000 }; /* temperatures below 1e-5 are greedy */

/* One token for each row. `logprobs` are of the tempered distribution before the cuts (of the plain one for greedy
rows), `plain` of that at temperature 1. `candidates` has room for V of them. */
void draw(int rows, int vocab, const float *logits, const float *temperature, const int64_t *top_k, const float *top_p,
          const float *min_p, const double *uniform, int64_t *tokens, float *logprobs, float *plain,
          Candidate *candidates) {
    for (int row = 0; row < rows; row++, logits += vocab) {
        int greedy = temperature[row] < 1.0f / COLDEST_INVERSE;
        float heat = greedy ? 1 : temperature[row];
        Softmax one = softmax_of(logits, vocab, 1), softmax = heat == 1 ? one : softmax_of(logits, vocab, heat);
        int token = softmax.best;
        if (isnan(softmax.sum)) greedy = 1; /* the log-probabilities tell the caller */
        if (!greedy && (top_k[row] > 0 || top_p[row] < 1 || min_p[row] > 0))
            token = invert_cut(logits, vocab, softmax, heat, (int)top_k[row], top_p[row], min_p[row], uniform[row],
                               candidates);
        else if (!greedy)
            token = invert(logits, vocab, softmax, heat, uniform[row]);
        tokens[row] = token;
        logprobs[row] = logprob_of(softmax, logits[token], heat);
        plain[row] = logprob_of(one, logits[token], 1);
    }
}
