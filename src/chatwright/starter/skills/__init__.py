"""Every skill of the small world, each a generator of cases on either side of the split."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from chatwright.starter.case import Case
from chatwright.starter.skills.facts import fact_case
from chatwright.starter.skills.limits import clarify_case, unknown_case
from chatwright.starter.skills.memory import memory_case
from chatwright.starter.skills.numbers import arithmetic_case
from chatwright.starter.skills.safety import harmful_case, lookalike_case
from chatwright.starter.skills.talk import greeting_case, identity_case
from chatwright.starter.skills.tasks import howto_case, python_case, story_case
from chatwright.starter.split import Split

CaseMaker = Callable[[random.Random, Split], Case]
_BETWEEN = ("facts", "arithmetic", "spelling", "opposites", "greeting")


def _distractor(rng: random.Random) -> Case:
    """A short exchange of another skill; always from the training side, so that no history leaks a held-out one."""
    while True:
        case = MAKERS[rng.choice(_BETWEEN)](rng, "train")
        if len(case.turns) == 1:
            return case


def _memory(rng: random.Random, split: Split) -> Case:
    return memory_case(rng, split, _distractor)


MAKERS: dict[str, CaseMaker] = {
    "greeting": greeting_case,
    "identity": identity_case,
    "facts": partial(fact_case, skill="facts"),
    "memory": _memory,
    "arithmetic": arithmetic_case,
    "spelling": partial(fact_case, skill="spelling"),
    "opposites": partial(fact_case, skill="opposites"),
    "definitions": partial(fact_case, skill="definitions"),
    "story": story_case,
    "howto": howto_case,
    "python": python_case,
    "clarify": clarify_case,
    "unknown": unknown_case,
    "harmful": harmful_case,
    "lookalike": lookalike_case,
}
SKILLS: tuple[str, ...] = tuple(MAKERS)
