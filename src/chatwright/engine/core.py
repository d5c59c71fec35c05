"""The engine: requests join and leave a running batch between its steps.

In every step each running request draws one token, and at most a budget of prompt tokens is read beside that, so that
a long prompt holds nobody up. `schedule.py` decides who is read when, a runner does the arithmetic, `prefix.py` knows
what need not be computed again. `submit` and `cancel` may be called from any thread, everything else from the one that
steps.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from chatwright.engine.adapters import AdaptingRunner, load_adapter
from chatwright.engine.choose import Wish, choose_runner, choose_weights
from chatwright.engine.grammar import Grammars
from chatwright.engine.lookup import Lookup
from chatwright.engine.native.runner import NativeRunner, Weights
from chatwright.engine.request import MOST_ALTERNATIVES, Completion, FinishReason, Request, Step
from chatwright.engine.rows import Columns, Drawn, Row, cancelled
from chatwright.engine.runner import Runner, Segment
from chatwright.engine.sampling import uniforms
from chatwright.engine.schedule import PREFILL_TOKENS, Scheduler
from chatwright.engine.shaping import Shaper
from chatwright.engine.stream import TextStream
from chatwright.errors import InputError
from chatwright.machine import default_device
from chatwright.model.chat import ChatTemplate, fit_to_context
from chatwright.model.checkpoint import load_checkpoint
from chatwright.model.decoder import Decoder
from chatwright.model.shape import Shape
from chatwright.model.tokenizer import Tokenizer
from chatwright.records import Message

CHUNK_CPU, CHUNK_GPU = 256, 2048
"""Prompt tokens read in one step where somebody watches: matrix products are about as fast as they get with so many
rows, and a step still takes only some milliseconds with a small model."""

OPENINGS = ("Hello!", "Who are you?", "What is the capital of France?", "Write a short story.", "How do I cook rice?")
"""What a model answers when its rounded weights are measured."""

MOST_SLOTS = 256
"""Requests at once beyond which a larger batch is no faster on two cores."""


def roomy_batch(shape: Shape, device: str) -> int:
    """Slots for answering a long list: at most MOST_SLOTS, their cache in 2 GB or a quarter of a GPU's free memory."""
    memory = torch.cuda.mem_get_info(device)[0] // 4 if device.startswith("cuda") else 2 << 30
    slot = 2 * 4 * shape.layers * shape.kv_heads * shape.head_width * shape.context
    return max(1, min(MOST_SLOTS, memory // slot))


class Engine:
    """A model that answers many requests at once.

    `max_batch` requests run together, the rest wait in order. Where somebody watches, `chunk` prompt tokens at most are
    read in one step. The runner may hold a copy of the weights: whoever changes them calls `swap`. A `runner` that is
    given has one slot more than `max_batch`, for `embed`. `lookup` tokens at most are guessed ahead (`lookup.py`).
    """

    def __init__(
        self,
        model: Decoder,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        *,
        max_batch: int = 16,
        context: int | None = None,
        id: str = "model",
        runner: Runner | None = None,
        chunk: int | None = None,
        weights: Weights = "fp32",
        lookup: int = 0,
    ) -> None:
        self.model, self.tokenizer, self.template, self.id = model, tokenizer, template, id
        context = min(context or model.shape.context, model.shape.context)
        self.runner = runner or choose_runner(model, max_batch + 1, context, weights)
        self.context = min(context, self.runner.context)
        self.max_batch = max_batch
        self.version = 0
        if self.runner.slots != max_batch + 1:
            raise ValueError(f"the runner has {self.runner.slots} slots, the engine needs {max_batch + 1}")
        self.device = self.runner.device
        on_cpu = self.device.type == "cpu"
        self._compiled = isinstance(self.runner, NativeRunner)
        self.computes = f"weights in {weights}" if self._compiled else "weights in fp32, computed with PyTorch"
        self._schedule = Scheduler(
            self.runner, max_batch, chunk or (CHUNK_CPU if on_cpu else CHUNK_GPU), lookup if self._compiled else 0
        )
        self._columns = Columns([], self.device, 0)
        self._adapters: set[str] = set()
        self._grammars = Grammars(tokenizer, model.shape.vocab_size, template.stop_ids)

    @staticmethod
    def load(
        path: Path | str, *, max_batch: int = 0, device: str | None = None, weights: Wish = "fp32", lookup: int = 0
    ) -> Engine:
        """An engine over a model folder; its id is the folder's artefact id, or its name where it has none.

        Without `device` it runs on the accelerator where there is one; without `max_batch` it takes as many requests
        at once as pay off and fit. `weights` other than fp32 are for serving, on CPUs; "auto" takes int8 where the
        model still writes the same with it (`gate.py`), and `computes` says what was measured.
        """
        path = Path(path)
        device = device or default_device()
        checkpoint = load_checkpoint(path, device=device)
        max_batch = max_batch or roomy_batch(checkpoint.model.shape, device)
        from chatwright.workspace import find_artefact

        artefact = find_artefact(path)
        ident = artefact.id if artefact else path.name
        chosen: Weights = "fp32"
        found = ""
        if weights != "fp32":
            template = checkpoint.template
            openings = [
                template.render([Message("user", text)], add_generation_prompt=True).tokens for text in OPENINGS
            ]
            chosen, found = choose_weights(checkpoint.model, weights, openings)
        engine = Engine(
            checkpoint.model,
            checkpoint.tokenizer,
            checkpoint.template,
            max_batch=max_batch,
            id=ident,
            weights=chosen,
            lookup=lookup,
        )
        engine.computes = found or engine.computes
        return engine

    # What callers use.

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The prompt tokens of a conversation; raises InputError where they leave no room for an answer."""
        tokens = self.template.render(messages, add_generation_prompt=True).tokens
        if len(tokens) >= self.context:
            raise InputError(
                f"this conversation has {len(tokens)} tokens, but the model reads at most {self.context - 1}; "
                "shorten it or start a new one"
            )
        return tuple(tokens)

    def encode_cut(self, messages: Sequence[Message], room: int = 1) -> tuple[tuple[int, ...], int]:
        """As `encode`, but cuts the oldest turns until `room` tokens are left; also how many were cut.

        However long an answer is wanted, the prompt may keep half of the context.
        """
        kept, dropped = fit_to_context(self.template, messages, self.context - min(max(1, room), self.context // 2))
        return tuple(self.template.render(kept, add_generation_prompt=True).tokens), dropped

    def submit(self, request: Request, *, text: bool = True) -> int:
        """Queues a request and returns its handle. Raises InputError for one that cannot be answered.

        `text=False` is for answers that nobody watches as they grow: `step` gives no text of theirs (except where stop
        strings need it), they may wait for others to be read with, and their prompts are read in large passes.
        """
        self._check(request)
        sampling = request.sampling
        room = min(sampling.max_tokens, self.context - len(request.tokens))
        seed = secrets.randbits(62) if sampling.seed is None else sampling.seed
        stream = TextStream(self.tokenizer, sampling.stop) if text or sampling.stop else None
        shaper = None
        if sampling.reshapes:
            matcher = self._grammars.matcher(sampling.schema) if sampling.schema else None
            shaper = Shaper(sampling, request.tokens, self.model.shape.vocab_size, self.device, matcher)
        row = Row(-1, request, list(request.tokens), uniforms(seed, room), stream, shaper, text)
        if self._schedule.ahead and shaper is None:
            row.lookup = Lookup()
        return self._schedule.add(row)

    def prepare(self, schema: str) -> None:
        """Compiles a schema (`SamplingParams.schema`), so that `submit` need not. Any thread may call, beside all else.

        Raises InputError where the schema cannot be used.
        """
        self._grammars.compile(schema)

    def _check(self, request: Request) -> None:
        vocab = self.model.shape.vocab_size
        if not request.tokens:
            raise InputError("a prompt needs at least one token")
        if len(request.tokens) >= self.context:
            raise InputError(f"the prompt has {len(request.tokens)} tokens, the model reads at most {self.context - 1}")
        named = (*request.tokens, *(token for token, _ in request.sampling.logit_bias))
        if min(named) < 0 or max(named) >= vocab:
            bad = next(t for t in named if not 0 <= t < vocab)
            raise InputError(f"token {bad} is outside the vocabulary of {vocab}")
        if not 0 <= request.alternatives <= MOST_ALTERNATIVES:
            raise InputError(f"alternatives must lie between 0 and {MOST_ALTERNATIVES}, not {request.alternatives}")
        if request.adapter and request.adapter not in self._adapters:
            raise InputError(f"there is no adapter {request.adapter!r} here")

    def cancel(self, handle: int) -> None:
        """The request ends with the next step; unknown and finished handles are ignored."""
        self._schedule.cancel(handle)

    @property
    def busy(self) -> bool:
        return self._schedule.busy

    @property
    def waiting(self) -> int:
        """Requests that have no slot yet."""
        return self._schedule.waiting

    def swap(self, model: Decoder) -> None:
        """Takes new weights, also where `model` is the module it has and was changed in place; `version` counts on.

        What was computed with the old ones is forgotten. Running requests go on with the new ones: prompt and answer
        so far are read again. Raises InputError for a model of another shape.
        """
        if model.shape != self.model.shape:
            raise InputError("the new weights are of another shape than the engine's; start an engine of their own")
        self.runner.load(model)
        self.model = model
        self.version += 1
        self._schedule.start_again()

    def add_adapter(self, name: str, folder: Path | str) -> None:
        """Loads a LoRA adapter (a folder of the peft library), which requests may name from now on.

        Raises CheckpointError for one that cannot be read or belongs to another model, InputError for a name that is
        taken or where the engine's runner computes no adapters.
        """
        if not isinstance(self.runner, AdaptingRunner):
            raise InputError("this engine computes without adapters; start it with a runner that knows them")
        if not name or name in self._adapters:
            raise InputError(f"an adapter needs a name of its own, not {name!r}")
        self.runner.add_adapter(name, load_adapter(folder))
        self._adapters.add(name)

    @torch.inference_mode()
    def step(self) -> list[Step]:
        """Lets new requests in, reads prompts, and draws a token for every request whose prompt is read.

        [] where there is nothing to do, or only a part of a prompt was read.
        """
        steps = [cancelled(row) for row in self._schedule.take_cancelled()]
        read = self._schedule.plan()
        if read:
            logits = self.runner.forward([segment for _, segment in read])
            ready = self._schedule.done(read)
            if ready:
                steps += self._draw(ready, logits)
        return steps

    @torch.inference_mode()
    def embed(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """The mean of the hidden states of each token list, D numbers. Raises InputError for an impossible one.

        Requests that run are not disturbed: texts are read in slots that hold nothing, at most PREFILL_TOKENS a pass.
        """
        for tokens in texts:
            if not tokens or len(tokens) > self.context:
                raise InputError(f"a text to embed must have 1 to {self.context} tokens, not {len(tokens)}")
            if min(tokens) < 0 or max(tokens) >= self.model.shape.vocab_size:
                raise InputError(f"a token is outside the vocabulary of {self.model.shape.vocab_size}")
        slots = [self.max_batch, *self._schedule.prefixes.empty()]
        means: list[list[float]] = []
        while len(means) < len(texts):
            group: list[Segment] = []
            room = PREFILL_TOKENS
            for slot, tokens in zip(slots, texts[len(means) :], strict=False):
                room -= len(tokens)
                if group and room < 0:
                    break
                group.append(Segment(slot, 0, tokens))
                self._schedule.bind(slot, "")
            hidden = self.runner.hidden(group)
            means += [part.mean(0).tolist() for part in hidden.split([len(s.tokens) for s in group])]
        return means

    def generate(
        self, requests: Sequence[Request], *, on_done: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """Runs all requests to their end; answers in the order of the requests. `on_done` hears how many have ended.

        The longest prompts are read first, so that prompts of a length share a pass and the batch with little padding.
        """
        longest_first = sorted(range(len(requests)), key=lambda i: -len(requests[i].tokens))
        submitted: dict[int, int] = {}
        try:
            for i in longest_first:
                submitted[i] = self.submit(requests[i], text=False)
        except InputError:  # none of them, rather than some that nobody waits for
            for handle in submitted.values():
                self.cancel(handle)
            raise
        handles = [submitted[i] for i in range(len(requests))]
        tokens: dict[int, list[int]] = {h: [] for h in handles}
        logprobs: dict[int, list[float]] = {h: [] for h in handles}
        texts: dict[int, list[str]] = {h: [] for h in handles}
        ends: dict[int, tuple[FinishReason, int]] = {}
        while len(ends) < len(handles):
            for step in self.step():
                if step.handle not in tokens:
                    continue
                if step.finish_reason != "cancelled":
                    tokens[step.handle].append(step.token)
                    logprobs[step.handle].append(step.logprob)
                texts[step.handle].append(step.text)
                if step.finish_reason:
                    ends[step.handle] = (step.finish_reason, self.version)
                    if on_done:
                        on_done(len(ends))
        return [
            Completion(
                tuple(tokens[h]), tuple(logprobs[h]),
                "".join(texts[h]) if r.sampling.stop else self.tokenizer.decode(tokens[h]), *ends[h],
            )
            for h, r in zip(handles, requests, strict=True)
        ]  # fmt: skip

    # What a token does to its request.

    def _draw(self, rows: list[Row], logits_BV: Tensor) -> list[Step]:
        """Draws a token for each row, and after right guesses the next ones, and says what became of it."""
        if rows != self._columns.rows:
            self._columns = Columns(rows, self.device, self.model.shape.vocab_size if self._compiled else 0)
        drawn = self._columns.draw(logits_BV)
        steps: list[Step] = []
        at = 0
        while at < len(rows):
            row, guesses = rows[at], rows[at].guesses
            steps.append(self._step_of(row, drawn, at))
            for ahead, guess in enumerate(guesses, 1):
                right = row.tokens[-1] == guess
                if row.lookup is not None:
                    row.lookup.count(right)
                if row.ended or not right:
                    break
                row.computed += 1
                steps.append(self._step_of(row, drawn, at + ahead))
            at += 1 + len(guesses)
        if any(row.ended for row in rows):
            self._schedule.leave()
        return steps

    def _step_of(self, row: Row, drawn: Drawn, at: int) -> Step:
        token = drawn.tokens[at]
        row.tokens.append(token)
        row.drawn += 1
        text, reason = self._end_of(row, token)
        row.ended = reason is not None
        return Step(
            row.handle, text, token, drawn.logprobs[at], reason, drawn.model_logprobs[at], drawn.alternatives[at],
            row.cached,
        )  # fmt: skip

    def _end_of(self, row: Row, token: int) -> tuple[str, FinishReason | None]:
        """What became visible with this token, and why the answer ends with it, where it does."""
        sampling, shaper, text = row.request.sampling, row.shaper, ""
        reason: FinishReason | None = None
        if token in self.template.stop_ids and (sampling.schema or not sampling.ignore_end):
            reason = "length" if shaper is not None and shaper.stuck else "stop"
        else:
            if shaper is not None:
                shaper.push(token)
            if row.stream is not None:
                text = row.stream.push(token)
                if row.stream.stopped:
                    reason = "stop"
        if reason is None and row.drawn == len(row.uniforms):
            reason = "stop" if shaper is not None and shaper.complete else "length"
        if reason and row.stream is not None:
            text += row.stream.finish()
        return text, reason
