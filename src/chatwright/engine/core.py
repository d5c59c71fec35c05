"""The engine: requests join and leave a running batch between decoding steps.

Running requests live in the first n slots of one key-value cache, so a decoding step is one forward pass over a view
of it; when a request leaves, the last one moves into its slot. New requests are read in one padded pass. `submit` and
`cancel` may be called from any thread, `step` from one.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chatwright.engine.request import Completion, FinishReason, Request, Step
from chatwright.engine.sampling import draw, uniforms
from chatwright.engine.stream import TextStream
from chatwright.errors import InputError
from chatwright.machine import default_device
from chatwright.model.cache import KVCache
from chatwright.model.chat import ChatTemplate, fit_to_context
from chatwright.model.checkpoint import load_checkpoint
from chatwright.model.decoder import Decoder, causal_mask
from chatwright.model.shape import Shape
from chatwright.model.tokenizer import Tokenizer
from chatwright.records import Message

PREFILL_TOKENS = 16_384
"""Most prompt tokens read in one pass, padding included, so that a crowd of long prompts does not fill memory."""

MOST_SLOTS = 256
"""Requests at once beyond which a larger batch is no faster on two cores."""

CROWD = 8
"""One in so many slots must be free before a crowd of requests that nobody watches is let in together."""


@dataclass(slots=True)
class _Running:
    """One request in its slot."""

    handle: int
    request: Request
    uniforms: np.ndarray
    stream: TextStream | None
    watched: bool
    length: int = 0
    drawn: int = 0
    last: int = 0


@dataclass(slots=True)
class _Inbox:
    """What other threads have asked for since the last step."""

    waiting: deque[_Running] = field(default_factory=deque)
    cancelled: set[int] = field(default_factory=set)
    next_handle: int = 0


def roomy_batch(shape: Shape, device: str) -> int:
    """Slots for answering a long list: at most MOST_SLOTS, their cache in 2 GB or a quarter of a GPU's free memory."""
    memory = torch.cuda.mem_get_info(device)[0] // 4 if device.startswith("cuda") else 2 << 30
    slot = 2 * 4 * shape.layers * shape.kv_heads * shape.head_width * shape.context
    return max(1, min(MOST_SLOTS, memory // slot))


class Engine:
    """A model that answers many requests at once.

    `max_batch` requests run together, the rest wait in order.
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
    ) -> None:
        self.model, self.tokenizer, self.template, self.id = model, tokenizer, template, id
        self.context = min(context or model.shape.context, model.shape.context)
        self.max_batch = max_batch
        self.device = next(model.parameters()).device
        self._cache = KVCache(model.shape, max_batch, self.context, torch.float32, self.device)
        self._running: list[_Running] = []
        self._inbox = _Inbox()
        self._lock = threading.Lock()

    @staticmethod
    def load(path: Path | str, *, max_batch: int = 0, device: str | None = None) -> Engine:
        """An engine over a model folder; its id is the folder's artefact id, or its name where it has none.

        Without `device` it runs on the accelerator where there is one; without `max_batch` it takes as many requests
        at once as pay off and fit.
        """
        path = Path(path)
        device = device or default_device()
        checkpoint = load_checkpoint(path, device=device)
        max_batch = max_batch or roomy_batch(checkpoint.model.shape, device)
        from chatwright.workspace import find_artefact

        artefact = find_artefact(path)
        ident = artefact.id if artefact else path.name
        return Engine(checkpoint.model, checkpoint.tokenizer, checkpoint.template, max_batch=max_batch, id=ident)

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
        """Queues a request and returns its handle. Raises InputError for a prompt that cannot be continued.

        `text=False` is for answers that nobody watches as they grow: `step` gives no text of theirs (except where stop
        strings need it), and they may wait for others to be read with.
        """
        if not request.tokens:
            raise InputError("a prompt needs at least one token")
        if len(request.tokens) >= self.context:
            raise InputError(f"the prompt has {len(request.tokens)} tokens, the model reads at most {self.context - 1}")
        bad = [t for t in request.tokens if not 0 <= t < self.model.shape.vocab_size]
        if bad:
            raise InputError(f"token {bad[0]} is outside the vocabulary of {self.model.shape.vocab_size}")
        room = min(request.sampling.max_tokens, self.context - len(request.tokens))
        seed = request.sampling.seed
        if seed is None:
            seed = secrets.randbits(62)
        stream = TextStream(self.tokenizer, request.sampling.stop) if text or request.sampling.stop else None
        with self._lock:
            handle = self._inbox.next_handle
            self._inbox.next_handle += 1
            self._inbox.waiting.append(_Running(handle, request, uniforms(seed, room), stream, text))
        return handle

    def cancel(self, handle: int) -> None:
        """The request ends with the next step; unknown and finished handles are ignored."""
        with self._lock:
            self._inbox.cancelled.add(handle)

    @property
    def busy(self) -> bool:
        return bool(self._running or self._inbox.waiting)

    @property
    def waiting(self) -> int:
        """Requests that have not been read yet."""
        return len(self._inbox.waiting)

    @torch.inference_mode()
    def step(self) -> list[Step]:
        """One token for every running request, after letting new ones in. [] when there is nothing to do."""
        steps = self._take_cancelled()
        admitted = self._admit()
        if admitted:
            steps += self._emit(admitted, self._prefill(admitted))
            self._leave()
            return steps
        if self._running:
            steps += self._emit(self._running, self._decode())
            self._leave()
        return steps

    def generate(
        self, requests: Sequence[Request], *, on_done: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """Runs all requests to their end; answers in the order of the requests. `on_done` hears how many have ended.

        The longest prompts are read first, so that prompts of a length share a pass and the batch with little padding.
        """
        longest_first = sorted(range(len(requests)), key=lambda i: -len(requests[i].tokens))
        submitted = {i: self.submit(requests[i], text=False) for i in longest_first}
        handles = [submitted[i] for i in range(len(requests))]
        tokens: dict[int, list[int]] = {h: [] for h in handles}
        logprobs: dict[int, list[float]] = {h: [] for h in handles}
        texts: dict[int, list[str]] = {h: [] for h in handles}
        reasons: dict[int, FinishReason] = {}
        while len(reasons) < len(handles):
            for step in self.step():
                if step.handle not in tokens:
                    continue
                if step.finish_reason != "cancelled":
                    tokens[step.handle].append(step.token)
                    logprobs[step.handle].append(step.logprob)
                texts[step.handle].append(step.text)
                if step.finish_reason:
                    reasons[step.handle] = step.finish_reason
                    if on_done:
                        on_done(len(reasons))
        return [
            Completion(
                tuple(tokens[h]), tuple(logprobs[h]),
                "".join(texts[h]) if r.sampling.stop else self.tokenizer.decode(tokens[h]), reasons[h],
            )
            for h, r in zip(handles, requests, strict=True)
        ]  # fmt: skip

    # One step, in the order it happens.

    def _take_cancelled(self) -> list[Step]:
        with self._lock:
            cancelled, self._inbox.cancelled = self._inbox.cancelled, set()
            if not cancelled:
                return []
            gone = [r for r in (*self._running, *self._inbox.waiting) if r.handle in cancelled]
            self._inbox.waiting = deque(r for r in self._inbox.waiting if r.handle not in cancelled)
        for running in gone:
            running.drawn = -1
        self._leave()
        return [Step(r.handle, "", r.last, 0.0, "cancelled") for r in gone]

    def _admit(self) -> list[_Running]:
        """Takes waiting requests into free slots, in order, as many as one padded pass may hold.

        Where nobody watches and more wait than there are free slots, a pass for one slot would soon be followed by
        the next: it is put off until a part of all slots is free.
        """
        admitted: list[_Running] = []
        longest = 0
        with self._lock:
            free = self.max_batch - len(self._running)
            watched = any(r.watched for r in self._inbox.waiting)
            if not watched and free < min(len(self._inbox.waiting), self.max_batch // CROWD):
                return []
            while self._inbox.waiting and len(self._running) < self.max_batch:
                longest = max(longest, len(self._inbox.waiting[0].request.tokens))
                if admitted and longest * (len(admitted) + 1) > PREFILL_TOKENS:
                    break
                running = self._inbox.waiting.popleft()
                admitted.append(running)
                self._running.append(running)
        return admitted

    def _prefill(self, admitted: list[_Running]) -> Tensor:
        """Reads the prompts into the last slots; logits after each prompt, B V."""
        first = len(self._running) - len(admitted)
        lengths = torch.tensor([len(r.request.tokens) for r in admitted], device=self.device)
        width = int(lengths.max())
        tokens = torch.zeros(len(admitted), width, dtype=torch.long)
        for row, running in enumerate(admitted):
            tokens[row, : len(running.request.tokens)] = torch.tensor(running.request.tokens)
            running.length = len(running.request.tokens)
        positions = torch.arange(width, device=self.device).expand(len(admitted), width)
        self._cache.select(slice(first, len(self._running)), positions, seen=width)
        mask = causal_mask(positions[:1], positions[:1], self.model.shape.sliding_window)
        hidden = self.model.model(tokens.to(self.device), positions, mask, self._cache)
        return self.model.logits(hidden[torch.arange(len(admitted), device=self.device), lengths - 1])

    def _decode(self) -> Tensor:
        """Reads each request's last token; logits for the next, B V."""
        lengths = torch.tensor([r.length for r in self._running], device=self.device)
        seen = int(lengths.max()) + 1
        positions = lengths[:, None]
        keys = torch.arange(seen, device=self.device)[None]
        self._cache.select(slice(0, len(self._running)), positions, seen)
        tokens = torch.tensor([[r.last] for r in self._running], device=self.device)
        mask = causal_mask(positions, keys, self.model.shape.sliding_window)
        hidden = self.model.model(tokens, positions, mask, self._cache)
        for running in self._running:
            running.length += 1
        return self.model.logits(hidden[:, 0])

    def _emit(self, rows: list[_Running], logits_BV: Tensor) -> list[Step]:
        """Draws a token for each row and says what became of it."""
        sampling = [r.request.sampling for r in rows]

        def column(values: list[float] | list[int], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=self.device)

        tokens, logprobs = draw(
            logits_BV,
            column([s.temperature for s in sampling], torch.float32),
            column([s.top_k for s in sampling], torch.long),
            column([s.top_p for s in sampling], torch.float32),
            column([float(r.uniforms[r.drawn]) for r in rows], torch.float64),
        )
        steps = []
        for running, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            running.last = token
            running.drawn += 1
            steps.append(self._step_of(running, token, logprob))
        return steps

    def _step_of(self, running: _Running, token: int, logprob: float) -> Step:
        reason: FinishReason | None = None
        text = ""
        if token in self.template.stop_ids:
            reason = "stop"
        elif running.stream is not None:
            text = running.stream.push(token)
            if running.stream.stopped:
                reason = "stop"
        if reason is None and running.drawn == len(running.uniforms):
            reason = "length"
        if reason and running.stream is not None:
            text += running.stream.finish()
        if reason:
            running.drawn = -1
        return Step(running.handle, text, token, logprob, reason)

    def _leave(self) -> None:
        """Frees the slots of finished requests (drawn < 0): the last running request moves into each."""
        slot = 0
        while slot < len(self._running):
            if self._running[slot].drawn >= 0:
                slot += 1
                continue
            last = self._running.pop()
            if slot < len(self._running):
                filled = last.length
                here, there = slot, len(self._running)
                self._cache.keys[:, here, :, :filled] = self._cache.keys[:, there, :, :filled]
                self._cache.values[:, here, :, :filled] = self._cache.values[:, there, :, :filled]
                self._running[slot] = last
