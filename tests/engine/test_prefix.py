"""Which slot holds which tokens, against a structure that searches everything."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.engine.prefix import WORTH_SHARING, Prefixes, common


class Plain:
    """The same promises, by searching all slots each time; remembers when each slot was last used."""

    def __init__(self, slots: int) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(slots)]
        self.key = [""] * slots
        self.busy = [False] * slots
        self.used = [0] * slots
        self.time = 0

    def longest(self, tokens: list[int], key: str) -> int:
        lengths = [0]
        for held, held_key in zip(self.tokens, self.key, strict=True):
            if held_key == key:
                same = [a == b for a, b in zip(tokens[:-1], held, strict=False)]
                lengths.append(same.index(False) if False in same else len(same))
        return max(lengths)

    def oldest(self) -> int:
        return min((s for s in range(len(self.busy)) if not self.busy[s]), key=lambda s: self.used[s])

    def touch(self, slot: int) -> None:
        self.time += 1
        self.used[slot] = self.time


prompts = st.tuples(st.integers(0, 14), st.integers(0, 2), st.integers(1, 6)).map(
    lambda parts: [7] * parts[0] + [parts[1]] * parts[2]
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("take"), prompts, st.sampled_from("ab")),
        st.tuples(st.just("release"), st.integers(0, 9), st.integers(0, 30)),
        st.tuples(st.just("forget"), st.none(), st.none()),
    ),
    max_size=40,
)


@given(st.integers(1, 4), actions)
@settings(max_examples=300, deadline=None)
def test_the_longest_beginning_is_found_and_the_oldest_slot_is_evicted(slots: int, todo: list) -> None:
    prefixes, plain = Prefixes(slots), Plain(slots)
    for what, one, other in todo:
        running = [s for s in range(slots) if plain.busy[s]]
        if what == "take" and len(running) < slots:
            longest, oldest = plain.longest(one, other), plain.oldest()
            placed = prefixes.take(one, other)
            assert placed.shared == (longest if longest >= WORTH_SHARING else 0)
            assert not plain.busy[placed.slot]
            if placed.shared:
                assert plain.tokens[placed.source][: placed.shared] == one[: placed.shared]
                assert plain.key[placed.source] == other
            if placed.slot != oldest:  # taken over in place: nothing but a last token is lost
                assert placed.slot == placed.source
                assert len(plain.tokens[placed.slot]) <= placed.shared + 1
            assert prefixes.filled(placed.slot) == (placed.shared if placed.slot == placed.source else 0)
            prefixes.fill(placed.slot, len(one))
            plain.tokens[placed.slot], plain.key[placed.slot], plain.busy[placed.slot] = one, other, True
            plain.touch(placed.slot)
        elif what == "release" and running:
            slot = running[one % len(running)]
            left = (plain.tokens[slot] + [9] * other)[: max(1, other)]
            prefixes.release(slot, left)
            plain.tokens[slot], plain.busy[slot] = left, False
            plain.touch(slot)
        elif what == "forget":
            prefixes.forget()
            for slot in range(slots):
                assert prefixes.filled(slot) == 0
                if plain.busy[slot]:
                    prefixes.fill(slot, len(plain.tokens[slot]))
                else:
                    plain.tokens[slot], plain.key[slot] = [], ""
                    plain.touch(slot)  # idle slots stand in order again
        assert prefixes.idle == plain.busy.count(False)
        assert set(prefixes.empty()) == {s for s in range(slots) if not plain.busy[s] and not plain.tokens[s]}


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_prefix(one: list[int], other: list[int]) -> None:
    import numpy as np

    length = common(np.array(one), np.array(other))
    assert one[:length] == other[:length]
    assert length in (len(one), len(other)) or one[length] != other[length]


def test_a_conversation_goes_on_in_place_and_a_branch_is_copied() -> None:
    prefixes = Prefixes(3)
    first = prefixes.take(range(20))
    prefixes.release(first.slot, range(30))
    longer = prefixes.take(range(40))
    assert (longer.slot, longer.source, longer.shared) == (first.slot, first.slot, 30)
    prefixes.release(longer.slot, range(50))
    branch = prefixes.take([*range(25), 99, 98])
    assert branch.source == longer.slot != branch.slot
    assert branch.shared == 25
    again = prefixes.take(range(60))
    assert (again.slot, again.shared) == (longer.slot, 50)


def test_a_request_beside_its_twin_waits_for_what_is_not_there_yet() -> None:
    prefixes = Prefixes(2)
    leader, follower = prefixes.take(range(30)), prefixes.take(range(30))
    assert (follower.source, follower.shared) == (leader.slot, 29)
    assert prefixes.filled(leader.slot) == 0
    prefixes.fill(leader.slot, 12)
    assert prefixes.filled(leader.slot) == 12
    assert prefixes.busy(leader.slot)
