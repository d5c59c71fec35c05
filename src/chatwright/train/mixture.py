"""Rows of several sets in one run, each with its share of every step, exact over the run and in a seeded order.

Which rows a step takes is a function of the step alone, so a resumed run sees the same mixture without a stored cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from chatwright.errors import InputError
from chatwright.model.packing import Example, Packed, best_fit, deal_from, pack_rows
from chatwright.train.distributed import World

Batches = Callable[[int], tuple[list[Packed], float]]
"""step -> (micro-batches of this rank, their weight)."""


def packed_batches(
    sets: Sequence[Sequence[Example]],
    shares: Sequence[float],
    width: int,
    per_step: int,
    micro: int,
    seed: int,
    world: World,
) -> tuple[float, Batches]:
    """(steps in which the first set is seen once, batches) over best-fit rows of `width` tokens, `per_step` a step.

    `shares` are the parts of the rows that the sets after the first get; the first has the rest. A share that is no
    whole number of rows a step is kept on average: step s of a set with share p begins at its row floor(p per_step s).
    """
    if not all(share > 0 for share in shares) or sum(shares) >= 1:
        raise InputError(f"the shares of a mixture must lie above 0 and below 1 together, not {list(shares)}")
    rows = [best_fit([len(e.tokens) for e in examples], width) for examples in sets]
    parts = [Fraction(share).limit_denominator(10_000) for share in shares]

    def begun(step: int) -> list[int]:
        """Rows of each set before `step`."""
        others = [int(part * per_step * step) for part in parts]
        return [per_step * step - sum(others), *others]

    def batches(step: int) -> tuple[list[Packed], float]:
        chosen = [
            [examples[i] for i in of_set[r]]
            for number, (examples, of_set) in enumerate(zip(sets, rows, strict=True))
            for r in deal_from(
                len(of_set), begun(step)[number], begun(step + 1)[number] - begun(step)[number], seed + number
            )
        ]
        mine = chosen[world.rank :: world.size]
        made = [pack_rows(mine[at : at + micro], width).to(world.device) for at in range(0, len(mine), micro)]
        return made, float(sum(b.weights.sum() for b in made))

    return len(rows[0]) / float(per_step * (1 - sum(parts))), batches
