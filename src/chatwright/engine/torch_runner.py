"""The runner in plain PyTorch, for any device: padded passes over a key-value cache of rows.

A slot is where the scheduler says a sequence lives, a row where it really does. Sequences that read one token each,
which is nearly every pass, are kept in the first rows of the cache, those with the same adapter together, so that such
a pass is a view of it: rows change places when the set of those sequences changes, and only then. Longer segments are
read in passes of their own, padded to the longest of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chatwright.engine.adapters import Adapter, adapted
from chatwright.engine.runner import Segment
from chatwright.model.cache import KVCache
from chatwright.model.decoder import Decoder, causal_mask
from chatwright.model.shape import Shape

PASS_TOKENS = 16_384
"""Most tokens of a padded pass, padding included."""

PASS_SCORES = 1 << 24
"""Most pairs of token and position looked at in a padded pass: 64 MB of attention scores for each head."""

WORTH_A_PASS = 256
"""So many tokens cost a pass of their own less than being padded to twice their length."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """Segments read together and their hidden states B T D; row b holds segment b in its first tokens."""

    segments: list[Segment]
    hidden: Tensor


class TorchRunner:
    """`slots` sequences of at most `context` tokens; weights are read where the model keeps them, never copied."""

    def __init__(self, model: Decoder, slots: int, context: int) -> None:
        self._model, self._slots, self._context = model, slots, context
        self._device = model.head.device
        # Padding is written to one more position, which nobody looks at.
        self._cache = KVCache(model.shape, slots, context + 1, torch.float32, self._device)
        self._row = list(range(slots))
        self._slot = list(range(slots))
        self._filled = [0] * slots
        self._adapters: dict[str, Adapter] = {}
        self._adapted = {"": model}  # by the name of the adapter, which a slot may be bound to
        self._bound = [""] * slots

    @property
    def shape(self) -> Shape:
        return self._model.shape

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def context(self) -> int:
        return self._context

    @property
    def device(self) -> torch.device:
        return self._device

    @torch.inference_mode()
    def forward(self, segments: Sequence[Segment]) -> Tensor:
        if any(s.logits > 1 for s in segments):
            raise ValueError("logits after several tokens of a segment come from the compiled runner alone")
        wanting = {s.slot: place for place, s in enumerate([s for s in segments if s.logits])}
        found: list[Tensor] = []
        places: list[int] = []
        for read in self._passes(segments):
            rows = [row for row, s in enumerate(read.segments) if s.logits]
            if not rows:
                continue
            places += [wanting[read.segments[row].slot] for row in rows]
            if read.hidden.shape[1] == 1 and len(rows) == len(read.hidden):
                found.append(read.hidden[:, 0])
            else:
                found.append(read.hidden[rows, [len(read.segments[row].tokens) - 1 for row in rows]])
        if not found:
            return torch.empty(0, self.shape.vocab_size, device=self._device)
        states = found[0] if len(found) == 1 else torch.cat(found)
        if any(place != row for row, place in enumerate(places)):
            order = sorted(range(len(places)), key=places.__getitem__)
            states = states[order]
        return self._model.logits(states)

    @torch.inference_mode()
    def hidden(self, segments: Sequence[Segment]) -> Tensor:
        parts: dict[int, list[Tensor]] = {s.slot: [] for s in segments}
        for read in self._passes(segments):
            for row, segment in enumerate(read.segments):
                parts[segment.slot].append(read.hidden[row, : len(segment.tokens)])
        return torch.cat([part for s in segments for part in parts[s.slot]]).float()

    @torch.inference_mode()
    def copy(self, source: int, target: int, length: int) -> None:
        self._cache.copy(self._row[source], self._row[target], length)
        self._filled[target] = length

    def load(self, model: Decoder) -> None:
        self._model = model
        self._adapted = {"": model, **{name: adapted(model, a) for name, a in self._adapters.items()}}
        self._filled = [0] * self._slots
        # As at the beginning: rounding depends on the order of rows, and a resumed run must go on with the same bits.
        self._row, self._slot = list(range(self._slots)), list(range(self._slots))

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        self._adapted[name] = adapted(self._model, adapter)
        self._adapters[name] = adapter

    def bind(self, slot: int, adapter: str) -> None:
        self._bound[slot] = adapter

    def _passes(self, segments: Sequence[Segment]) -> Iterator[_Pass]:
        """Everything that was asked for, in passes whose slots have the same adapter."""
        names = sorted({self._bound[s.slot] for s in segments}) if self._adapters else [""]
        first = 0
        for name in names:
            mine = segments if len(names) == 1 else [s for s in segments if self._bound[s.slot] == name]
            model = self._adapted[name]
            single = [s for s in mine if len(s.tokens) == 1]
            if single:
                yield self._read_single(model, single, first)
                first += len(single)
            if len(single) < len(mine):
                for group in grouped([s for s in mine if len(s.tokens) > 1]):
                    yield self._read_padded(model, group)

    def _read_single(self, model: Decoder, segments: list[Segment], first: int) -> _Pass:
        """One token of each: a pass over a view of the rows from `first` on."""
        self._bring_to(first, segments)
        segments = sorted(segments, key=lambda s: self._row[s.slot])
        starts = [s.start for s in segments]
        seen = max(starts) + 1
        tokens = torch.tensor([[s.tokens[0]] for s in segments], device=self._device)
        positions = torch.tensor(starts, device=self._device)[:, None]
        window = self.shape.sliding_window
        mask = None
        if min(starts) + 1 != seen or (window is not None and seen > window):
            mask = causal_mask(positions, torch.arange(seen, device=self._device)[None], window)
        self._cache.select(slice(first, first + len(segments)), positions, seen)
        for segment in segments:
            self._filled[segment.slot] = segment.start + 1
        return _Pass(segments, model.model(tokens, positions, mask, self._cache))

    def _read_padded(self, model: Decoder, segments: list[Segment]) -> _Pass:
        width = max(len(s.tokens) for s in segments)
        ends = [s.start + len(s.tokens) for s in segments]
        seen = max(ends)
        tokens = torch.zeros(len(segments), width, dtype=torch.long)
        for row, segment in enumerate(segments):
            tokens[row, : len(segment.tokens)] = torch.tensor(segment.tokens)
            self._filled[segment.slot] = ends[row]
        starts = torch.tensor([s.start for s in segments], device=self._device)[:, None]
        last = torch.tensor(ends, device=self._device)[:, None] - 1
        running = starts + torch.arange(width, device=self._device)
        # Padding stands where its row ends, so that it has something to look at, and is stored where nobody looks.
        positions = torch.minimum(running, last)
        stored = torch.where(running > last, self._context, positions)
        alike = len({s.start for s in segments}) == 1
        queries = running[:1] if alike else positions
        mask = causal_mask(queries, torch.arange(seen, device=self._device)[None], self.shape.sliding_window)
        rows = [self._row[s.slot] for s in segments]
        adjacent = rows == list(range(rows[0], rows[0] + len(rows)))
        chosen = slice(rows[0], rows[0] + len(rows)) if adjacent else torch.tensor(rows, device=self._device)
        self._cache.select(chosen, stored, seen)
        return _Pass(segments, model.model(tokens.to(self._device), positions, mask, self._cache))

    def _bring_to(self, first: int, segments: list[Segment]) -> None:
        """Gives the slots of `segments` the rows from `first` on, moving as few as possible."""
        wanted = range(first, first + len(segments))
        outside = [s.slot for s in segments if self._row[s.slot] not in wanted]
        if not outside:
            return
        inside = {self._row[s.slot] for s in segments}
        free = (row for row in wanted if row not in inside)
        for slot, row in zip(outside, free, strict=True):
            other, old = self._slot[row], self._row[slot]
            self._cache.swap(row, old, max(self._filled[slot], self._filled[other]))
            self._row[slot], self._row[other] = row, old
            self._slot[row], self._slot[old] = slot, other


def grouped(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Passes for segments of any length: alike in length, bounded in padded tokens and attention scores.

    A segment too long for one pass is read in parts, each in a later pass than the one before it.
    """
    rest = [_parts(s) for s in segments]
    while rest:
        nexts = sorted((next_ for parts in rest if (next_ := parts.pop(0))), key=lambda s: -len(s.tokens))
        rest = [parts for parts in rest if parts]
        group: list[Segment] = []
        width = tokens = seen = 0
        for segment in nexts:
            length, end = len(segment.tokens), segment.start + len(segment.tokens)
            size = (len(group) + 1) * max(width, length)
            wasteful = 2 * length <= width and tokens >= WORTH_A_PASS
            if group and (size > PASS_TOKENS or size * max(seen, end) > PASS_SCORES or wasteful):
                yield group
                group, width, tokens, seen = [], 0, 0, 0
            group.append(segment)
            width, tokens, seen = max(width, length), tokens + length, max(seen, end)
        yield group


def _parts(segment: Segment) -> list[Segment]:
    """The segment, cut where one pass would hold too many scores; only the last part wants logits."""
    length, end = len(segment.tokens), segment.start + len(segment.tokens)
    size = max(1, min(PASS_TOKENS, PASS_SCORES // end))
    if length <= size:
        return [segment]
    parts = []
    for at in range(0, length, size):
        last = at + size >= length
        parts.append(
            Segment(segment.slot, segment.start + at, segment.tokens[at : at + size], segment.logits if last else 0)
        )
    return parts
