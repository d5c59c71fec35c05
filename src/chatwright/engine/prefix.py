"""Which slot holds which tokens, so that what two prompts begin with is computed once.

Plain data: nothing here knows of tensors. A slot is busy while a request runs in it and idle afterwards, when it keeps
its tokens until somebody needs the slot. A new request takes over an idle slot where nothing worth keeping is lost by
that, has the beginning copied from another slot otherwise, and evicts the idle slot that was used least recently.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

WORTH_SHARING = 8
"""Tokens; fewer are computed again sooner than found and copied."""

EMPTY = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Placement:
    """A request's slot. `shared` of its first tokens are, or will be, in `source`, which may be `slot` itself."""

    slot: int
    source: int
    shared: int


@dataclass(slots=True)
class _Slot:
    """`tokens` are those that a slot holds or, while it is busy, will hold; the first `filled` are there."""

    tokens: np.ndarray
    key: Hashable = None
    filled: int = 0
    busy: bool = False


class Prefixes:
    """The tokens of `slots` slots. Sequences with different keys (adapters, say) never share."""

    def __init__(self, slots: int) -> None:
        self._slots = [_Slot(EMPTY) for _ in range(slots)]
        self._idle = dict.fromkeys(range(slots))  # in order of use, the least recent first
        self._beginning: dict[Hashable, set[int]] = {}  # slots by what they begin with

    @property
    def idle(self) -> int:
        """Slots that no request runs in."""
        return len(self._idle)

    def take(self, tokens: Sequence[int], key: Hashable = None) -> Placement:
        """A slot for a request with these prompt tokens; its last is never shared, since its logits are wanted.

        There must be an idle slot. Where `source` is another slot that holds fewer than `shared` tokens as yet
        (`filled`), the request waits for it.
        """
        wanted = np.asarray(tokens, dtype=np.int64)
        oldest = next(iter(self._idle))
        source, shared = self._best(wanted, key)
        if shared < WORTH_SHARING:
            source, shared = oldest, 0
        held = self._slots[source]
        slot = source if not held.busy and shared >= len(held.tokens) - 1 else oldest
        del self._idle[slot]
        self._hold(slot, wanted, key, shared if slot == source else 0)
        self._slots[slot].busy = True
        return Placement(slot, source, shared)

    def filled(self, slot: int) -> int:
        """How many of its tokens a slot holds already."""
        return self._slots[slot].filled

    def busy(self, slot: int) -> bool:
        return self._slots[slot].busy

    def fill(self, slot: int, count: int) -> None:
        """The first `count` tokens of a busy slot are there now."""
        self._slots[slot].filled = count

    def release(self, slot: int, tokens: Sequence[int]) -> None:
        """The request in `slot` has ended and leaves these tokens in it."""
        held = self._slots[slot]
        self._hold(slot, np.asarray(tokens, dtype=np.int64), held.key, len(tokens))
        held.busy = False
        self._idle[slot] = None

    def forget(self) -> None:
        """No slot holds anything any more: the weights are new. Busy slots will be filled again.

        Idle slots stand as at the beginning, so that a run that was resumed here goes on as one that was not.
        """
        for slot, held in enumerate(self._slots):
            held.filled = 0
            if not held.busy:
                self._hold(slot, EMPTY, None, 0)
        self._idle = dict.fromkeys(sorted(self._idle))

    def empty(self) -> list[int]:
        """Idle slots without tokens."""
        return [slot for slot in self._idle if not len(self._slots[slot].tokens)]

    def _hold(self, slot: int, tokens: np.ndarray, key: Hashable, filled: int) -> None:
        held = self._slots[slot]
        if (old := _beginning(held.tokens, held.key)) in self._beginning:
            self._beginning[old].discard(slot)
            if not self._beginning[old]:
                del self._beginning[old]
        held.tokens, held.key, held.filled = tokens, key, filled
        if len(tokens) >= WORTH_SHARING:
            self._beginning.setdefault(_beginning(tokens, key), set()).add(slot)

    def _best(self, wanted: np.ndarray, key: Hashable) -> tuple[int, int]:
        """(slot with the longest common prefix, its length); of equals one that is there and may be taken over."""
        best, rank = (0, 0), (0, False, 0)
        for slot in sorted(self._beginning.get(_beginning(wanted, key), ())):
            held = self._slots[slot]
            shared = common(wanted[:-1], held.tokens)
            new = (shared, not held.busy and shared >= len(held.tokens) - 1, min(shared, held.filled))
            if new > rank:
                best, rank = (slot, shared), new
        return best


def _beginning(tokens: np.ndarray, key: Hashable) -> Hashable:
    return (key, tokens[:WORTH_SHARING].tobytes())


def common(one: np.ndarray, other: np.ndarray) -> int:
    """Length of the longest common prefix."""
    length = min(len(one), len(other))
    different = one[:length] != other[:length]
    return int(different.argmax()) if different.any() else length
