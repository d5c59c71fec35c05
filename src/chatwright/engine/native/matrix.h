/* Products with packed weight matrices: y = x W', for one row or many.

A matrix N x K is cut into panels of sixteen outputs, and a panel lies in memory in the order it is read. Three formats:
  F32   [panel][k][16]               float32
  BF16  [panel][k / 2][16][2]        bfloat16, products of rounded inputs summed in float32
  INT8  [panel][k / 64] of a group   scales bfloat16 [16], sums int16 [16], weights int8 [16 steps][16][4]
In INT8 weights and inputs are rounded to 255 steps in groups of 64, each group with its own scale. Inputs are held
with 128 added, as the processor's instruction multiplies unsigned by signed; the sums of a group's weights take it away.

Every output is one chain of additions in the order of k, whatever else is computed beside it. So a row's result does
not depend, in any bit, on how many rows are in the batch or how many threads work. */
#ifndef CHATWRIGHT_MATRIX_H
#define CHATWRIGHT_MATRIX_H

#include "threads.h"
#include "vectors.h"

typedef enum { F32, BF16, INT8 } Format;
enum { GROUP = 64, CHUNK = 4 /* panels that one part of a product covers */ };
typedef struct { uint16_t scale[LANES]; int16_t sum[LANES]; int8_t weight[GROUP / 4][LANES][4]; } Group;

typedef struct {
    Format format;
    int outputs, inputs, panels, depth; /* depth: inputs rounded up to what the format needs */
    void *data;
} Matrix;

/* Rows of inputs as a format wants them: `values` row after row, and in INT8 a scale for each group. */
typedef struct {
    int rows, depth;
    const void *values;
    const float *scales;
} Inputs;

typedef enum { WRITE, ADD, SWIGLU } Into; /* SWIGLU: panels alternate between gate and up */

static int depth_of(Format format, int inputs) {
    int unit = format == INT8 ? GROUP : format == BF16 ? 2 : 1;
    return (inputs + unit - 1) / unit * unit;
}

static size_t panel_bytes(Format format, int depth) {
    if (format == INT8) return (size_t)depth / GROUP * sizeof(Group);
    return (size_t)depth * LANES * (format == BF16 ? 2 : 4);
}

/* -- Packing ------------------------------------------------------------------------------------------------------- */

static void pack_group(Group *group, const float *rows[LANES], int from, int inputs) {
    for (int lane = 0; lane < LANES; lane++) {
        float most = 0, zeros = 0;
        int sum = 0;
        for (int k = from; k < from + GROUP && k < inputs && rows[lane]; k++) {
            most = fmaxf(most, fabsf(rows[lane][k]));
            zeros += rows[lane][k] * 0;
        }
        if (zeros != 0) most = NAN; /* a weight is infinite or no number, and rounding must not hide it */
        uint32_t bits;
        /* most / 127, rounded up to a bfloat16 so that nothing is cut off: a step is then at most 1 in 128 too wide. */
        float step_size = most / 127, scale;
        memcpy(&bits, &step_size, 4);
        bits = ((bits & 0x7fffffff) + 0xffff) & 0xffff0000u;
        memcpy(&scale, &bits, 4);
        for (int k = from; k < from + GROUP; k++) {
            float value = rows[lane] && k < inputs && scale > 0 ? rows[lane][k] / scale : 0;
            int8_t step = (int8_t)lrintf(fminf(fmaxf(value, -127), 127));
            group->weight[(k - from) / 4][lane][(k - from) % 4] = step;
            sum += step;
        }
        group->scale[lane] = (uint16_t)(bits >> 16);
        group->sum[lane] = (int16_t)sum;
    }
}

/* Writes one panel: `rows` are its sixteen weight rows, NULL past the matrix. */
static void pack_panel(Matrix *matrix, int panel, const float *rows[LANES]) {
    char *to = (char *)matrix->data + panel * panel_bytes(matrix->format, matrix->depth);
    if (matrix->format == INT8) {
        for (int g = 0; g < matrix->depth / GROUP; g++) pack_group((Group *)to + g, rows, g * GROUP, matrix->inputs);
        return;
    }
    for (int k = 0; k < matrix->depth; k++)
        for (int lane = 0; lane < LANES; lane++) {
            float value = rows[lane] && k < matrix->inputs ? rows[lane][k] : 0;
            if (matrix->format == F32) ((float *)to)[k * LANES + lane] = value;
            else ((uint16_t *)to)[(k / 2 * LANES + lane) * 2 + k % 2] = to_bf16(value);
        }
}

/* Rows of inputs -> the format's own form, into buffers that hold rows * depth values and rows * depth / GROUP scales. */
static void prepare_row(Format format, const float *x, int inputs, int depth, void *values, float *scales) {
    if (format == F32) return;
    if (format == BF16) {
        uint16_t *to = values;
        for (int k = 0; k < inputs; k++) to[k] = to_bf16(x[k]);
        for (int k = inputs; k < depth; k++) to[k] = 0;
        return;
    }
    uint8_t *to = values;
    for (int g = 0; g < depth / GROUP; g++) {
        float padded[GROUP] = {0};
        const float *from = x + g * GROUP;
        if ((g + 1) * GROUP > inputs) {
            memcpy(padded, from, sizeof(float) * (inputs - g * GROUP));
            from = padded;
        }
        /* The largest of the magnitudes' bits, read as whole numbers: unlike a comparison of floats, that keeps NaN. */
        Ints most = {0};
        for (int k = 0; k < GROUP; k += LANES) {
            Ints magnitude = (Ints)load(from + k) & 0x7fffffff, mask = magnitude > most;
            most = (magnitude & mask) | (most & ~mask);
        }
        int32_t bits = 0;
        float scale;
        for (int i = 0; i < LANES; i++) bits = most[i] > bits ? most[i] : bits;
        memcpy(&scale, &bits, 4);
        scale /= 127;
        float inverse = scale > 0 ? 1 / scale : 0;
        for (int k = 0; k < GROUP; k += LANES) {
            const float round = 12582912.0f;
            Floats steps = load(from + k) * inverse;
            Ints whole = __builtin_convertvector((steps + round) - round, Ints) + 128;
            typedef uint8_t Bytes __attribute__((vector_size(16)));
            Bytes bytes = __builtin_convertvector(whole, Bytes);
            memcpy(to + g * GROUP + k, &bytes, 16);
        }
        scales[g] = scale;
    }
}

/* -- One tile: M rows x P panels ----------------------------------------------------------------------------------- */

#define UNROLL _Pragma("GCC unroll 16")

ALWAYS void tile_f32(const Matrix *w, const Inputs *x, int panel, int row, const int P, const int M, Floats sums[]) {
    const float *weights = (const float *)((char *)w->data + panel * panel_bytes(F32, w->depth));
    const float *inputs = (const float *)x->values + (size_t)row * x->depth;
    const size_t apart = (size_t)w->depth * LANES;
    for (int k = 0; k < w->depth; k++) {
        Floats column[4];
        UNROLL for (int p = 0; p < P; p++) column[p] = load(weights + p * apart + k * LANES);
        UNROLL for (int m = 0; m < M; m++) {
            float value = inputs[(size_t)m * x->depth + k];
            UNROLL for (int p = 0; p < P; p++) sums[m * P + p] += column[p] * value;
        }
    }
}

ALWAYS Floats pairs_bf16(Floats sum, const uint16_t *weights, uint32_t pair) {
#if defined(__AVX512BF16__)
    __m512i w = _mm512_loadu_si512(weights);
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)pair), (__m512bh)w);
#else
    Ints both;
    memcpy(&both, weights, sizeof both);
    uint32_t first = pair << 16, second = pair & 0xffff0000u;
    float a, b;
    memcpy(&a, &first, 4);
    memcpy(&b, &second, 4);
    sum += (Floats)(both & (int32_t)0xffff0000) * b;
    return sum + (Floats)(both << 16) * a;
#endif
}

ALWAYS void tile_bf16(const Matrix *w, const Inputs *x, int panel, int row, const int P, const int M, Floats sums[]) {
    const uint16_t *weights = (const uint16_t *)((char *)w->data + panel * panel_bytes(BF16, w->depth));
    const uint16_t *inputs = (const uint16_t *)x->values + (size_t)row * x->depth;
    const size_t apart = (size_t)w->depth * LANES;
    for (int k = 0; k < w->depth; k += 2)
        UNROLL for (int m = 0; m < M; m++) {
            uint32_t pair;
            memcpy(&pair, inputs + (size_t)m * x->depth + k, 4);
            UNROLL for (int p = 0; p < P; p++)
                sums[m * P + p] = pairs_bf16(sums[m * P + p], weights + p * apart + k * LANES, pair);
        }
}

ALWAYS Ints fours_int8(Ints sum, const int8_t (*weights)[4], uint32_t four) {
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32((int)four), _mm512_loadu_si512(weights));
#else
    Ints each;
    memcpy(&each, weights, sizeof each);
    for (int i = 0; i < 4; i++) sum += ((each << (24 - 8 * i)) >> 24) * (int32_t)(four >> 8 * i & 255);
    return sum;
#endif
}

ALWAYS void tile_int8(const Matrix *w, const Inputs *x, int panel, int row, const int P, const int M, Floats sums[]) {
    typedef int16_t Shorts __attribute__((vector_size(32)));
    const int groups = w->depth / GROUP;
    const Group *weights = (const Group *)w->data + (size_t)panel * groups;
    for (int g = 0; g < groups; g++) {
        Ints whole[16];
        UNROLL for (int p = 0; p < P; p++) {
            Shorts sum;
            memcpy(&sum, weights[(size_t)p * groups + g].sum, sizeof sum);
            Ints off = __builtin_convertvector(sum, Ints) * -128;
            UNROLL for (int m = 0; m < M; m++) whole[m * P + p] = off;
        }
        for (int step = 0; step < GROUP / 4; step++)
            UNROLL for (int m = 0; m < M; m++) {
                uint32_t four;
                memcpy(&four, (const uint8_t *)x->values + (size_t)(row + m) * x->depth + g * GROUP + step * 4, 4);
                UNROLL for (int p = 0; p < P; p++)
                    whole[m * P + p] = fours_int8(whole[m * P + p], weights[(size_t)p * groups + g].weight[step], four);
            }
        UNROLL for (int p = 0; p < P; p++) {
            Floats scale = from_bf16(weights[(size_t)p * groups + g].scale);
            UNROLL for (int m = 0; m < M; m++)
                sums[m * P + p] += __builtin_convertvector(whole[m * P + p], Floats) *
                                   (scale * x->scales[(size_t)(row + m) * groups + g]);
        }
    }
}

/* -- The product ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const Matrix *matrix;
    const Inputs *inputs;
    float *out; /* rows x width */
    int width;
    Into into;
} Product;

ALWAYS void put(const Product *job, int panel, int row, const int P, const int M, const Floats sums[]) {
    UNROLL for (int m = 0; m < M; m++) {
        float *out = job->out + (size_t)(row + m) * job->width;
        if (job->into == SWIGLU) {
            UNROLL for (int p = 0; p + 1 < P; p += 2) {
                Floats gate = sums[m * P + p], up = sums[m * P + p + 1];
                store(out + (panel + p) / 2 * LANES, gate / (1.0f + exponential(-gate)) * up);
            }
            continue;
        }
        UNROLL for (int p = 0; p < P; p++) {
            float *to = out + (panel + p) * LANES;
            int left = job->matrix->outputs - (panel + p) * LANES;
            Floats sum = sums[m * P + p];
            if (left >= LANES) store(to, job->into == ADD ? load(to) + sum : sum);
            else for (int i = 0; i < left; i++) to[i] = job->into == ADD ? to[i] + sum[i] : sum[i];
        }
    }
}

ALWAYS void tile(const Product *job, int panel, int row, const int P, const int M) {
    Floats sums[16];
    UNROLL for (int i = 0; i < P * M; i++) sums[i] = (Floats){0};
    if (job->matrix->format == F32) tile_f32(job->matrix, job->inputs, panel, row, P, M, sums);
    else if (job->matrix->format == BF16) tile_bf16(job->matrix, job->inputs, panel, row, P, M, sums);
    else tile_int8(job->matrix, job->inputs, panel, row, P, M, sums);
    put(job, panel, row, P, M, sums);
}

/* One chunk of panels for all rows. Few rows take four panels at once, so that enough additions are under way; many
rows two panels and as many rows as there are registers for, so that a weight that was loaded is used as often. */
static void product_part(void *argument, int part) {
    const Product *job = argument;
    int first = part * CHUNK, row = 0, rows = job->inputs->rows;
#if defined(__AVX512F__)
    for (; row + 8 <= rows; row += 8)
        for (int panel = first; panel < first + CHUNK; panel += 2) tile(job, panel, row, 2, 8);
    for (; row + 4 <= rows; row += 4) tile(job, first, row, 4, 4);
    for (; row + 2 <= rows; row += 2) tile(job, first, row, 4, 2);
    for (; row < rows; row++) tile(job, first, row, 4, 1);
#else
    for (; row + 2 <= rows; row += 2)
        for (int panel = first; panel < first + CHUNK; panel += 2) tile(job, panel, row, 2, 2);
    for (; row < rows; row++)
        for (int panel = first; panel < first + CHUNK; panel += 2) tile(job, panel, row, 2, 1);
#endif
}

static void multiply(Crew *crew, const Matrix *matrix, const Inputs *inputs, float *out, int width, Into into) {
    Product job = {matrix, inputs, out, width, into};
    share(crew, product_part, &job, matrix->panels / CHUNK);
}

#endif
