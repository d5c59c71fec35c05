/* The decoder's forward pass over rows of tokens that may belong to any sequences at any positions.

One row is one token. A prompt is many rows of one slot, a decoding step one row for each running slot, and a pass may
hold both. What a row gives depends on its own sequence alone (see matrix.h). The arithmetic is that of
chatwright/model/decoder.py, which the tests hold it against. */
#include "attention.h"

#include <sys/mman.h>

/* -- Making ----------------------------------------------------------------------------------------------------------- */

static void *room(size_t bytes) { return aligned_alloc(64, (bytes + 127) / 64 * 64); }

/* For what is large and read in pieces: on huge pages where the system has them, as each page of the usual size costs
a look-up of its address. Pages that nothing has reached yet take no memory. */
static void *wide_room(size_t bytes) {
    const size_t page = 2 << 20;
    void *made = aligned_alloc(page, (bytes + page - 1) / page * page);
#ifdef MADV_HUGEPAGE
    if (made) madvise(made, (bytes + page - 1) / page * page, MADV_HUGEPAGE);
#endif
    return made;
}

static Matrix matrix_new(int format, int outputs, int inputs, int stride) {
    int panels = (outputs + LANES * CHUNK - 1) / (LANES * CHUNK) * CHUNK, depth = depth_of((Format)format, stride);
    return (Matrix){(Format)format, outputs, inputs, panels, depth, wide_room(panels * panel_bytes((Format)format, depth))};
}

static void rows_new(Model *model) {
    Shape s = model->shape;
    size_t rows = s.most_rows, widest = s.width > model->attention ? s.width : model->attention;
    if (widest < (size_t)model->mlp_stride) widest = model->mlp_stride;
    widest = (widest + GROUP - 1) / GROUP * GROUP;
    model->x = room(4 * rows * s.width);
    model->normed = room(4 * rows * s.width);
    model->qkv = room(4 * rows * model->qkv_width);
    model->attended = room(4 * rows * model->attention);
    model->activated = room(4 * rows * model->mlp_stride);
    model->prepared = room(2 * rows * widest);
    model->scales = room(4 * rows * widest / GROUP);
    if (s.context > STACKED) model->scores = room(4 * ATTEND_PARTS * (size_t)s.threads * scores_apart(&s));
}

void model_free(Model *model);

/* A new model, or with `owner` another set of weights that works with that model's threads, rows and cache. NULL where
memory cannot hold the cache. */
Model *model_new(const Shape *given, Model *owner) {
    Model *model = calloc(1, sizeof *model);
    Shape s = model->shape = *given;
    if (owner) *model = *owner;
    model->owner = owner ? owner : model;
    int unit = LANES * CHUNK / 2;
    model->attention = s.heads * s.head_width;
    model->qkv_width = (s.heads + 2 * s.kv_heads) * s.head_width;
    model->mlp_stride = (s.mlp_width + unit - 1) / unit * unit;
    model->layers = calloc(s.layers, sizeof *model->layers);
    for (Layer *layer = model->layers; layer < model->layers + s.layers; layer++) {
        layer->input_norm = room(4 * s.width);
        layer->post_norm = room(4 * s.width);
        layer->q_norm = room(4 * s.head_width);
        layer->k_norm = room(4 * s.head_width);
        layer->bias = room(4 * model->qkv_width);
        layer->qkv = matrix_new(s.format, model->qkv_width, s.width, s.width);
        layer->out = matrix_new(s.format, s.width, model->attention, model->attention);
        layer->gate_up = matrix_new(s.format, 2 * model->mlp_stride, s.width, s.width);
        layer->down = matrix_new(s.format, s.width, s.mlp_width, model->mlp_stride);
    }
    model->head = matrix_new(s.format, s.vocab, s.width, s.width);
    model->embedding = room(4 * (size_t)s.vocab * s.width);
    model->final_norm = room(4 * s.width);
    model->rope = room(4 * (size_t)s.context * s.head_width);
    model->item = s.format == F32 ? 4 : 2;
    model->keys_each = model->item * ((s.context + LANES - 1) / LANES * LANES) * s.head_width + APART;
    model->values_each = model->item * s.context * s.head_width + APART;
    if (owner) return model;
    size_t each = (size_t)s.slots * s.layers * s.kv_heads;
    model->keys = wide_room(each * model->keys_each);
    model->values = wide_room(each * model->values_each);
    if (!model->keys || !model->values) {
        model->crew = hire(1);
        model_free(model);
        return NULL;
    }
    rows_new(model);
    model->crew = hire(s.threads);
    return model;
}

void model_free(Model *model) {
    int owns = model->owner == model;
    if (owns) dismiss(model->crew);
    for (Layer *layer = model->layers; layer < model->layers + model->shape.layers; layer++) {
        void *parts[] = {layer->input_norm, layer->post_norm, layer->q_norm, layer->k_norm, layer->bias,
                         layer->qkv.data, layer->out.data, layer->gate_up.data, layer->down.data};
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
    }
    void *shared[] = {model->keys, model->values, model->x, model->normed, model->qkv, model->attended,
                      model->activated, model->prepared, model->scales, model->scores};
    for (size_t i = 0; i < sizeof shared / sizeof *shared && owns; i++) free(shared[i]);
    void *own[] = {model->layers, model->head.data, model->embedding, model->final_norm, model->rope, model};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) free(own[i]);
}

/* -- Weights ---------------------------------------------------------------------------------------------------------- */

typedef enum { INPUT_NORM, POST_NORM, Q_NORM, K_NORM, BIAS, QKV, OUT, GATE_UP, DOWN, EMBEDDING, FINAL_NORM, ROPE, HEAD } Name;
typedef struct { Matrix *matrix; const float *rows; int apart; } Packing; /* apart: rows from gate to up, or 0 */

static void pack_part(void *argument, int panel) {
    const Packing *job = argument;
    const float *rows[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        int row = job->apart ? panel / 2 * LANES + lane : panel * LANES + lane;
        int present = row < (job->apart ? job->apart : job->matrix->outputs);
        if (job->apart && panel % 2) row += job->apart;
        rows[lane] = present ? job->rows + (size_t)row * job->matrix->inputs : NULL;
    }
    pack_panel(job->matrix, panel, rows);
}

/* Takes one tensor, float32, rows one after another; GATE_UP is gate and then up, QKV queries, keys and then values. */
void model_set(Model *model, int name, int index, const float *from) {
    const Shape *s = &model->shape;
    Layer *layer = &model->layers[index];
    struct { float *to; size_t count; } plain[] = {
        [INPUT_NORM] = {layer->input_norm, s->width}, [POST_NORM] = {layer->post_norm, s->width},
        [Q_NORM] = {layer->q_norm, s->head_width}, [K_NORM] = {layer->k_norm, s->head_width},
        [BIAS] = {layer->bias, model->qkv_width}, [FINAL_NORM] = {model->final_norm, s->width},
        [EMBEDDING] = {model->embedding, (size_t)s->vocab * s->width},
        [ROPE] = {model->rope, (size_t)s->context * s->head_width}, [HEAD] = {NULL, 0},
    };
    if (plain[name].to) {
        memcpy(plain[name].to, from, 4 * plain[name].count);
        return;
    }
    Matrix *matrices[] = {[QKV] = &layer->qkv, [OUT] = &layer->out, [GATE_UP] = &layer->gate_up,
                          [DOWN] = &layer->down, [HEAD] = &model->head};
    Packing job = {matrices[name], from, name == GATE_UP ? s->mlp_width : 0};
    share(model->crew, pack_part, &job, job.matrix->panels);
}

/* -- Rows: norms, rotation, the cache ----------------------------------------------------------------------------------- */

typedef void (*RowWork)(Model *model, int row, const void *more);
typedef struct { Model *model; RowWork work; const void *more; int rows, each; } RowJob;

static void rows_part(void *argument, int part) {
    const RowJob *job = argument;
    int end = (part + 1) * job->each;
    for (int row = part * job->each; row < end && row < job->rows; row++) job->work(job->model, row, job->more);
}

/* Does `work` for every row; a few rows are not worth sharing. */
static void each_row(Model *model, int rows, RowWork work, const void *more) {
    int each = rows / (4 * model->shape.threads) + 4;
    RowJob job = {model, work, more, rows, each};
    share(model->crew, rows_part, &job, (rows + each - 1) / each);
}

static void normalise(const float *x, const float *weight, float *to, int width, float eps) {
    Floats squares = {0};
    float rest = 0;
    int i = 0;
    for (; i + LANES <= width; i += LANES) squares += load(x + i) * load(x + i);
    for (int j = i; j < width; j++) rest += x[j] * x[j];
    float scale = 1 / sqrtf((sum_of(squares) + rest) / width + eps);
    for (i = 0; i + LANES <= width; i += LANES) store(to + i, load(x + i) * scale * load(weight + i));
    for (; i < width; i++) to[i] = x[i] * scale * weight[i];
}

typedef struct { const Matrix *matrix; const float *from, *norm; int stride; } Preparing;

static void prepare_one(Model *model, int row, const void *more) {
    const Preparing *job = more;
    const Matrix *w = job->matrix;
    const float *x = job->from + (size_t)row * job->stride;
    if (job->norm) {
        float *to = model->normed + (size_t)row * job->stride;
        normalise(x, job->norm, to, job->stride, model->shape.norm_eps);
        x = to;
    }
    size_t size = w->format == INT8 ? 1 : 2;
    void *values = (char *)model->prepared + (size_t)row * w->depth * size;
    prepare_row(w->format, x, job->stride, w->depth, values, model->scales + (size_t)row * (w->depth / GROUP));
}

/* out = from W', or with `norm` that of the normalised rows. */
static void apply(Model *model, const Matrix *w, int rows, const float *from, int stride, const float *norm, float *out,
                  int width, Into into) {
    Preparing job = {w, from, norm, stride};
    if (norm || w->format != F32) each_row(model, rows, prepare_one, &job);
    const void *values = w->format != F32 ? model->prepared : norm ? model->normed : from;
    Inputs inputs = {rows, w->depth, values, model->scales};
    multiply(model->crew, w, &inputs, out, width, into);
}

/* Turns the pairs (i, i + W/2) by the angle of the position. */
static void rotate(float *x, const float *rope, int width) {
    int half = width / 2;
    for (int i = 0; i < half; i++) {
        float first = x[i], second = x[i + half], cos = rope[i], sin = rope[i + half];
        x[i] = first * cos - second * sin;
        x[i + half] = second * cos + first * sin;
    }
}

/* Finishes a row's queries, keys and values, and puts keys and values where its sequence keeps them. */
static void place(Model *model, int row, const void *more) {
    const Shape *s = &model->shape;
    int index = *(const int *)more, W = s->head_width, position = model->positions[row], slot = model->slots[row];
    const Layer *layer = &model->layers[index];
    float *qkv = model->qkv + (size_t)row * model->qkv_width, *rope = model->rope + (size_t)position * W;
    if (s->qkv_bias)
        for (int i = 0; i < model->qkv_width; i++) qkv[i] += layer->bias[i];
    for (int head = 0; head < s->heads + s->kv_heads; head++) {
        float *x = qkv + head * W;
        if (s->qk_norm) normalise(x, head < s->heads ? layer->q_norm : layer->k_norm, x, W, s->norm_eps);
        rotate(x, rope, W);
    }
    for (int head = 0; head < s->kv_heads; head++) {
        const float *key = qkv + (s->heads + head) * W, *value = qkv + (s->heads + s->kv_heads + head) * W;
        size_t at = (size_t)(position / LANES) * LANES * W + position % LANES, from = (size_t)position * W;
        void *keys = keys_of(model, slot, index, head), *values = values_of(model, slot, index, head);
        for (int w = 0; w < W; w++) keep(keys, at + w * LANES, key[w], model->item);
        for (int w = 0; w < W; w++) keep(values, from + w, value[w], model->item);
    }
}

/* -- The pass ------------------------------------------------------------------------------------------------------------ */

static void embed(Model *model, int row, const void *more) {
    (void)more;
    int width = model->shape.width;
    memcpy(model->x + (size_t)row * width, model->embedding + (size_t)model->tokens[row] * width, 4 * width);
}

static void final(Model *model, int row, const void *to) {
    int width = model->shape.width;
    const float *x = model->x + (size_t)row * width;
    normalise(x, model->final_norm, (float *)to + (size_t)row * width, width, model->shape.norm_eps);
}

static void block(Model *model, int index) {
    const Shape *s = &model->shape;
    const Layer *layer = &model->layers[index];
    int items = model->rows * s->kv_heads;
    apply(model, &layer->qkv, model->rows, model->x, s->width, layer->input_norm, model->qkv, model->qkv_width, WRITE);
    each_row(model, model->rows, place, &index);
    Attending job = {model, index, items / (ATTEND_PARTS * s->threads) + 1};
    share(model->crew, attend_part, &job, (items + job.each - 1) / job.each);
    apply(model, &layer->out, model->rows, model->attended, model->attention, NULL, model->x, s->width, ADD);
    apply(model, &layer->gate_up, model->rows, model->x, s->width, layer->post_norm, model->activated,
          model->mlp_stride, SWIGLU);
    apply(model, &layer->down, model->rows, model->activated, model->mlp_stride, NULL, model->x, s->width, ADD);
}

/* Reads `rows` tokens, at most most_rows. logits: one row of V for each of the `count` rows in `wanted`, which ascend;
hidden, where not NULL: rows x D after the final norm. */
void model_forward(Model *model, int rows, const int32_t *tokens, const int32_t *slots, const int32_t *positions,
                   int count, const int32_t *wanted, float *logits, float *hidden) {
    int width = model->shape.width;
    model->rows = rows, model->tokens = tokens, model->slots = slots, model->positions = positions;
    each_row(model, rows, embed, NULL);
    for (int i = 0; i < model->shape.layers; i++) block(model, i);
    if (hidden) each_row(model, rows, final, hidden);
    for (int i = 0; i < count; i++)
        if (wanted[i] != i) memcpy(model->x + (size_t)i * width, model->x + (size_t)wanted[i] * width, 4 * width);
    if (count)
        apply(model, &model->head, count, model->x, width, model->final_norm, logits, model->shape.vocab, WRITE);
}

/* Gives slot `target` the first `length` positions of `source`. */
void model_copy(Model *model, int source, int target, int length) {
    const Shape *s = &model->shape;
    size_t blocks = (size_t)(length + LANES - 1) / LANES * LANES;
    for (int layer = 0; layer < s->layers; layer++)
        for (int head = 0; head < s->kv_heads; head++) {
            memcpy(keys_of(model, target, layer, head), keys_of(model, source, layer, head),
                   model->item * blocks * s->head_width);
            memcpy(values_of(model, target, layer, head), values_of(model, source, layer, head),
                   model->item * length * s->head_width);
        }
}

int model_threads(const Model *model) { return model->crew->helpers + 1; }
