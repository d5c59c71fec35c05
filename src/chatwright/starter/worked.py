"""Sums worked out step by step: demonstrations of a cold start before reinforcement learning (DeepSeek-AI 2025).

The starter's own demonstrations state results; a model that learns from them knows taught sums by heart and guesses the
others. These show a way to a result instead: counting on, counting back, adding up. Training compositions only. The
way to one sum passes the result of a shorter one, as it must (that to 4 + 5 goes by 7, three from 4): what carries over
is the counting. No held-out sum is ever asked or stated.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from chatwright.records import Demonstration, Prompt, content_id
from chatwright.starter.case import assistant
from chatwright.starter.skills.numbers import arithmetic_case, number_word, result
from chatwright.starter.split import generator

NO_STEPS = "nothing to count"


def worked_sums(seed: int, count: int) -> list[Demonstration]:
    """`count` training sums, asked in all the usual wordings and worked out; a stream of its own for each seed."""
    rng = generator(seed, "worked sums")
    return [_demonstration(rng, number) for number in range(count)]


def _demonstration(rng: random.Random, number: int) -> Demonstration:
    case = arithmetic_case(rng, "train")
    a, sign, b = (case.truth[name] for name in ("a", "sign", "b"))
    messages = (*case.turns, assistant(work_out(a, sign, b)))
    ident = content_id([number, [m.to_json() for m in messages]])
    return Demonstration(messages, "arithmetic", "simulated", id=ident, meta={"style": "worked", "key": case.key})


def work_out(a: int, sign: str, b: int) -> str:
    """ "4 + 3: 5 one, 6 two, 7 three. So 4 + 3 is 7."

    Each number is counted aloud, so that where to stop can be read off the text; a bare list would leave it to be
    told from the list's length.
    """
    shown = ", ".join(f"{n} {number_word(i)}" for i, n in steps(a, sign, b)) or NO_STEPS
    return f"{a} {sign} {b}: {shown}. So {a} {sign} {b} is {result(a, sign, b)}."


def steps(a: int, sign: str, b: int) -> list[tuple[int, int]]:
    """The way from `a` to the result as (count, number): b steps of one up or down, or b times `a` added up.

    The last number is the result; without anything to count ("4 + 0", "0 x 3") there is none.
    """
    if sign == "x":
        return [(n, a * n) for n in range(1, b + 1)] if a else []
    step = 1 if sign == "+" else -1
    return [(n, a + step * n) for n in range(1, b + 1)]


def balanced(prompts: Sequence[Prompt], most: int) -> list[Prompt]:
    """`prompts` without those whose composition has come `most` times before, so that small sums do not crowd out."""
    seen: Counter[str] = Counter()
    kept = []
    for prompt in prompts:
        seen[prompt.truth["key"]] += 1
        if seen[prompt.truth["key"]] <= most:
            kept.append(prompt)
    return kept
