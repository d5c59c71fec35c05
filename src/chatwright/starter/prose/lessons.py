"""Sums, spelling, steps and code, each inside enough prose to be read as text."""

from __future__ import annotations

import random

from chatwright.starter import people
from chatwright.starter.skills.numbers import SPOKEN, choose_sum, count_of, number_word, result
from chatwright.starter.skills.tasks import python_line
from chatwright.starter.split import split_of
from chatwright.starter.world import by_family, choose_fact, choose_rows, upper_first

_SUM_STARTS = (
    "{n} practises sums.", "Some sums to learn.", "The class works with numbers today.",
    "{n} does homework in maths.", "Here is how to add and take away.", "Worked examples follow.",
    "On the blackboard there are sums.", "{n} counts on both hands.", "Numbers are fun, says {n}.", "A page of sums.",
)  # fmt: skip
_THINGS = (
    "apples",
    "books",
    "coins",
    "eggs",
    "pencils",
    "stones",
    "cards",
    "cups",
    "shells",
    "stamps",
    "nuts",
    "plums",
)


def sums(rng: random.Random) -> str:
    """Worked examples, counting and small word problems; held-out sums never occur, not even spoken or counted."""
    name = rng.choice(people.NAMES)
    lines = [rng.choice(_SUM_STARTS).replace("{n}", name)]
    for _ in range(rng.randint(7, 10)):
        a, sign, b = choose_sum(rng, "train")
        lines.append(_worked(rng, a, sign, b, name))
    return " ".join(lines)


def _worked(rng: random.Random, a: int, sign: str, b: int, name: str) -> str:
    value = result(a, sign, b)
    roll = rng.random()
    if roll < 0.5:
        return f"{a} {sign} {b} = {value}."
    if roll < 0.62:
        return f"{a} {SPOKEN[sign]} {b} is {value}."
    if roll < 0.70:
        return f"In words, {value} is {number_word(value)}, so {a} {sign} {b} = {value}."
    things = rng.choice(_THINGS)
    if sign == "+" and roll < 0.80 and 0 < b <= 6:
        return f"To add {b} to {a}, count on: {', '.join(str(a + i) for i in range(1, b + 1))}. So {a} + {b} = {value}."
    if sign == "+":
        return f"{name} has {count_of(a, things)} and gets {b} more, which makes {count_of(value, things)}."
    if sign == "-" and roll < 0.80 and 0 < b <= 6:
        steps_down = ", ".join(str(a - i) for i in range(1, b + 1))
        return f"To take {b} from {a}, count back: {steps_down}. So {a} - {b} = {value}."
    if sign == "-":
        return f"{name} has {count_of(a, things)} and gives away {b}, so {value} {'is' if value == 1 else 'are'} left."
    return f"{a} times {count_of(b, things)} make {count_of(value, things)}."


def counting(rng: random.Random) -> str:
    """The order of the numbers, their names, what comes before and after."""
    lines = [f"{rng.choice(people.NAMES)} learns the numbers."]
    for _ in range(rng.randint(6, 8)):
        n = rng.randint(1, 39)
        lines.append(
            rng.choice(
                (
                    f"After {n} comes {n + 1}.", f"Before {n} comes {n - 1}.",
                    f"The number {n} is written {number_word(n)}.",
                    f"{upper_first(number_word(n))} is {n}.",
                    f"From {n} on we count {', '.join(str(n + i) for i in range(1, 6))}.",
                    f"{n} is more than {rng.randint(0, n - 1)}.", f"{n} is less than {rng.randint(n + 1, 45)}.",
                )
            )
        )  # fmt: skip
    return " ".join(lines)


def spelling(rng: random.Random) -> str:
    """Words letter by letter, beside what they mean or what they are in other words."""
    name = rng.choice(people.NAMES)
    lines = [rng.choice((f"{name} practises spelling.", "A spelling lesson.", "Letters make words.",
    f"{name} spells words aloud.",
                         "Today we spell.", f"The teacher asks {name} to spell."))]  # fmt: skip
    for fact in dict.fromkeys(choose_fact(rng, "spelling") for _ in range(rng.randint(5, 7))):
        lines.append(fact.write(rng.choice(fact.family.says)))
        if rng.random() < 0.5:
            lines.append(f"It has {len(fact.entity)} letters.")
        elif rng.random() < 0.4:
            lines.append(
                rng.choice(
                    (
                        f"It begins with {fact.entity[0]} and ends with {fact.entity[-1]}.",
                        f"The word {fact.entity} is short.",
                    )
                )
            )
    return " ".join(lines)


def words(rng: random.Random) -> str:
    """Opposites with a sentence of use, meanings with an example."""
    lines = []
    for row in choose_rows(rng, "opposites", rng.randint(2, 3)):
        fact = next(f for f in by_family("opposites.opposite") if f.entity == row["name"])
        lines.append(f"{fact.write(rng.choice(fact.family.says))} {rng.choice(('', 'For example: '))}{row['sentence']}")
    for row in choose_rows(rng, "definitions", rng.randint(2, 3)):
        fact = next(f for f in by_family("definitions.definition") if f.entity == row["name"])
        lines.append(f"{fact.write(rng.choice(fact.family.says))} {row['example']}")
    rng.shuffle(lines)
    return " ".join(lines)


_STEP_FRAMES = (
    "This is how you {d}. First, {s1}. Then {s2}. Finally, {s3}. {t}",
    "To {d}, {s1}. After that, {s2}. At the end, {s3}.",
    "{n} knows how to {d}. First, {s1}. Then {s2}. Finally, {s3}.",
    "Do you want to {d}? You should {s1}, then {s2}, and last of all {s3}. {t}",
    "When you {d}, begin like this: {s1}. Next, {s2}. Last, {s3}. {t}",
    "{n} asked about {i}. The answer was: {s1}, {s2}, and {s3}.",
    "The steps of {i} are three. One: {s1}. Two: {s2}. Three: {s3}. A tip: {t}",
)  # fmt: skip


def steps(rng: random.Random) -> str:
    lines = []
    for row in choose_rows(rng, "howto", rng.randint(2, 3)):
        text = (
            rng.choice(_STEP_FRAMES).replace("{d}", row["name"]).replace("{i}", row["ing"]).replace("{t}", row["tip"])
        )
        text = text.replace("{n}", rng.choice(people.NAMES))
        lines.append(text.replace("{s1}", row["s1"]).replace("{s2}", row["s2"]).replace("{s3}", row["s3"]))
    return " ".join(lines)


_CODE_STARTS = (
    "Python is a language for computers, and print shows a result.", "{n} learns to write programs in Python.",
    "A short lesson in Python.", "With Python, a computer can work with words and numbers.",
    "{n} types code and looks at what it prints.",
)  # fmt: skip
_CODE_LINES = (
    "To {d} you can write: `{c}` It prints {p}.", "If you want to {d}, use this line: `{c}` It prints {p}.",
    "{n} wants to {d} and writes `{c}` in the editor.", "The line `{c}` is the way to {d}, and it prints {p}.",
    "What does `{c}` do? It will {d}, so it prints {p}.",
)  # fmt: skip


def code(rng: random.Random) -> str:
    """Python one-liners in prose; the held-out tasks are absent, as in the demonstrations."""
    name = rng.choice(people.NAMES)
    lines = [rng.choice(_CODE_STARTS)]
    while len(lines) < 5:
        task, request, line, prints = python_line(rng)
        if split_of(f"python:{task}") == "train":
            lines.append(rng.choice(_CODE_LINES).replace("{d}", request).replace("{c}", line).replace("{p}", prints))
    return "\n".join(lines).replace("{n}", name)
