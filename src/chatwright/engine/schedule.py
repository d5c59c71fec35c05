"""Who is read when: requests wait, take a slot, read their prompt in parts, answer, and leave.

The scheduler computes nothing itself. It says what the next pass of the runner reads, and has beginnings that two
requests share copied from slot to slot. `add` and `cancel` may be called from any thread, the rest from one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from chatwright.engine.adapters import AdaptingRunner
from chatwright.engine.prefix import Prefixes
from chatwright.engine.rows import Row
from chatwright.engine.runner import Runner, Segment

PREFILL_TOKENS = 16_384
"""Prompt tokens read in one step where nobody watches: enough to fill large passes, too little to fill memory."""

CROWD = 8
"""One in so many slots must be free before a crowd of requests that nobody watches is let in together."""

FEW = 4
"""Rows up to which guesses are read: their passes wait for weights, so that more tokens in them cost little."""


class Scheduler:
    """`slots` requests run together in the first slots of `runner`, the rest wait in order.

    Where somebody watches, `chunk` prompt tokens at most are read in one step, beside one token of every request that
    answers already. `ahead` tokens at most are guessed.
    """

    def __init__(self, runner: Runner, slots: int, chunk: int, ahead: int = 0) -> None:
        self.runner, self.chunk, self.ahead = runner, chunk, ahead
        self.rows: list[Row] = []
        self.prefixes = Prefixes(slots)
        self._slots = slots
        self._adapting = runner if isinstance(runner, AdaptingRunner) else None
        self._waiting: deque[Row] = deque()
        self._cancelled: set[int] = set()
        self._next_handle = 0
        self._lock = threading.Lock()

    def add(self, row: Row) -> int:
        """Queues a request; returns the handle it is given."""
        with self._lock:
            row.handle = self._next_handle
            self._next_handle += 1
            self._waiting.append(row)
        return row.handle

    def cancel(self, handle: int) -> None:
        with self._lock:
            self._cancelled.add(handle)

    @property
    def busy(self) -> bool:
        return bool(self.rows or self._waiting)

    @property
    def waiting(self) -> int:
        """Requests that have no slot yet."""
        return len(self._waiting)

    def take_cancelled(self) -> list[Row]:
        """Takes out whoever was cancelled since the last call, whether waiting or running."""
        if not self._cancelled:
            return []
        with self._lock:
            wanted, self._cancelled = self._cancelled, set()
            gone = [r for r in (*self.rows, *self._waiting) if r.handle in wanted]
            self._waiting = deque(r for r in self._waiting if r.handle not in wanted)
        for row in gone:
            row.ended = True
        self.leave()
        return gone

    def plan(self) -> list[tuple[Row, Segment]]:
        """Lets new requests in; what each row reads in this step: its last token, or its part of the prompt tokens."""
        for row in self.rows:
            if row.source is not None:
                self._join(row)
        if self._waiting:
            self._admit()
        read: list[tuple[Row, Segment]] = []
        prompts: list[Row] = []
        for row in self.rows:
            if row.source is None:
                if row.computed == len(row.tokens) - 1:
                    row.guesses = self._guess(row)
                    tokens = [row.tokens[-1], *row.guesses]
                    read.append((row, Segment(row.slot, row.computed, tokens, len(tokens))))
                else:
                    prompts.append(row)
        if prompts:
            budget = self.chunk if any(r.watched for r in self.rows) else PREFILL_TOKENS
            for row, count in zip(prompts, shares([r.pending for r in prompts], budget), strict=True):
                if count:
                    end = row.computed + count
                    part = Segment(row.slot, row.computed, row.tokens[row.computed : end], int(end == len(row.tokens)))
                    read.append((row, part))
        return read

    def done(self, read: Sequence[tuple[Row, Segment]]) -> list[Row]:
        """What was planned is read; the rows that can draw now, in the order of their logits, once for each of them.

        Guesses do not count as read until they have turned out right.
        """
        for row, segment in read:
            row.computed += len(segment.tokens) - max(0, segment.logits - 1)
            self.prefixes.fill(row.slot, row.computed)
        return [row for row, segment in read for _ in range(segment.logits)]

    def _guess(self, row: Row) -> list[int]:
        """What may follow in `row`, where few rows run: many fill a pass by themselves."""
        if row.lookup is None or len(self.rows) > FEW:
            return []
        return row.lookup.guess(row.tokens, min(self.ahead, len(row.uniforms) - row.drawn - 1))

    def leave(self) -> None:
        """Frees the slots of rows that have ended; what they computed stays there until somebody needs the slot."""
        for row in self.rows:
            if row.ended:
                self.prefixes.release(row.slot, row.tokens[: row.computed])
        self.rows = [row for row in self.rows if not row.ended]

    def start_again(self) -> None:
        """Nothing that is computed counts any more: prompts and answers so far will be read again."""
        self.prefixes.forget()
        for row in self.rows:
            row.computed = 0
            if row.source is None:
                row.cached = 0

    def bind(self, slot: int, adapter: str) -> None:
        """`slot` is computed with this adapter; "" is the model itself."""
        if self._adapting is not None:
            self._adapting.bind(slot, adapter)

    def _admit(self) -> None:
        """Gives waiting requests the free slots, in order.

        Where nobody watches and more wait than there are free slots, a pass for one slot would soon be followed by
        the next: it is put off until a part of all slots is free.
        """
        with self._lock:
            waiting, free = self._waiting, self.prefixes.idle
            if free < min(len(waiting), self._slots // CROWD) and not any(r.watched for r in waiting):
                return
            admitted = [waiting.popleft() for _ in range(min(free, len(waiting)))]
            self.rows += admitted
        for row in admitted:
            placed = self.prefixes.take(row.tokens, row.request.adapter)
            row.slot, row.cached = placed.slot, placed.shared
            self.bind(row.slot, row.request.adapter)
            if placed.source == placed.slot:
                row.computed = placed.shared
            else:
                row.source = placed.source
                self._join(row)

    def _join(self, row: Row) -> None:
        """Copies the beginning that a row shares with another slot, once it is there or will not come any more."""
        assert row.source is not None
        held = min(self.prefixes.filled(row.source), row.cached)
        if held < row.cached and self.prefixes.busy(row.source):
            return
        if held:
            self.runner.copy(row.source, row.slot, held)
            self.prefixes.fill(row.slot, held)
        row.computed = row.cached = held
        row.source = None


def shares(pending: Sequence[int], budget: int) -> list[int]:
    """How many of each row's pending prompt tokens are read in this step, oldest row first; `budget` in all.

    The oldest gets at least half, so that no prompt waits for ever; the rest goes to those who need least, so that a
    short prompt does not stand behind a long one. Nothing of the budget is left where somebody needs it.
    """
    given = [0] * len(pending)
    if not pending:
        return given
    given[0] = min(pending[0], -(-budget // 2))
    left = budget - given[0]
    for row in sorted(range(len(pending)), key=lambda row: pending[row] - given[row]):
        more = min(left, pending[row] - given[row])
        given[row] += more
        left -= more
    return given
