"""Children's games that live on saying again what was said: a small model learns from them to look back and copy.

Copying from the context is what answering a question rests on, and it is learned soonest where text repeats itself with
fresh words each time (Chan et al. 2022, on bursty data).
"""

from __future__ import annotations

import random
from functools import cache

from chatwright.starter import people
from chatwright.starter.world import table

_TABLES = ("animals", "things", "fruits", "foods", "tools", "instruments", "countries", "definitions", "words_es_fr")
_ORDERS = ("says", "calls", "reads", "whispers", "writes")
_ECHOES = ("repeats", "says it again", "answers with", "sings back", "copies")
_REPEAT_STARTS = (
    "The class plays the echo game.", "A game of saying it again.", "The parrot game begins.",
    "Listen well and say the same words.", "Two friends play echo.", "Here is a round of the memory game.",
)  # fmt: skip
_HOLD_STARTS = (
    "The children hold up cards.", "Who has what? That is the game.", "Everybody draws a card.",
    "A guessing game with cards.", "The teacher hands out cards.",
)  # fmt: skip
_CLOSINGS = (
    "And that was the end of the game.", "They want to play that with all of the others.",
    "It is fun to play with friends, and that is all.", "That was the last round, and it was time to go.",
    "The winner gets to begin, and that is the rule of the game.",
)  # fmt: skip


@cache
def _vocabulary() -> tuple[str, ...]:
    """The single words of the tables, each once."""
    names = (row["name"] for name in _TABLES for row in table(name))
    return tuple(dict.fromkeys(n for n in names if n.replace("-", "").isalpha()))


def echo(rng: random.Random) -> str:
    """One says a row of words, the other says it again."""
    first, second = rng.sample(people.NAMES, 2)
    order, reply = rng.choice(_ORDERS), rng.choice(_ECHOES)
    lines = [rng.choice(_REPEAT_STARTS)]
    for _ in range(rng.randint(3, 5)):
        said = ", ".join(rng.sample(_vocabulary(), rng.randint(2, 6)))
        lines.append(f"{first} {order}: {said}. {second} {reply}: {said}.")
    return " ".join((*lines, rng.choice(_CLOSINGS)))


def who_has(rng: random.Random) -> str:
    """Several people hold one card each; questions go both ways, in another order."""
    holders = rng.sample(people.NAMES, rng.randint(3, 5))
    cards = rng.sample(_vocabulary(), len(holders))
    pairs = list(zip(holders, cards, strict=True))
    lines = [rng.choice(_HOLD_STARTS), *(f"{name} has the card {card}." for name, card in pairs)]
    rng.shuffle(pairs)
    for name, card in pairs:
        if rng.random() < 0.5:
            lines.append(f"Who has the card {card}? {name} has the card {card}.")
        else:
            lines.append(f"Which card does {name} have? {name} has the card {card}.")
    return " ".join((*lines, rng.choice(_CLOSINGS)))


def suitcase(rng: random.Random) -> str:
    """The packing game: each turn says all that came before and one thing more."""
    players = rng.sample(people.NAMES, 2)
    packed: list[str] = []
    lines = [f"{players[0]} and {players[1]} play the packing game."]
    for turn, word in enumerate(rng.sample(_vocabulary(), rng.randint(4, 6))):
        packed.append(word)
        lines.append(f"{players[turn % 2]}: I pack {', '.join(packed)}.")
    return " ".join((*lines, rng.choice(_CLOSINGS)))
