"""Arithmetic on small numbers. The composition is the ordered pair with its sign: "12 + 7" may be held out while
"7 + 12" is taught; neither demonstrations nor corpus ever state a held-out one."""

from __future__ import annotations

import random

from chatwright.starter.case import Case, user
from chatwright.starter.phrasing import dress
from chatwright.starter.split import Split, split_of

WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
SPOKEN = {"+": "plus", "-": "minus", "x": "times"}
FRAMES = (
    "What is {q}?", "What is {q}?", "What's {q}?", "How much is {q}?", "{q} = ?", "{q}?", "Calculate {q}.",
    "Work out {q}.", "Can you tell me what {q} is?", "Please calculate {q}.", "Tell me {q}.", "Solve {q}.",
    "I need the result of {q}.", "Do you know what {q} is?", "Quick sum: {q}?", "Compute {q} for me.",
    "Help me with {q}.",
)  # fmt: skip
THINGS = ("apples", "books", "coins", "eggs", "pencils", "stones", "cards", "cups", "shells", "stamps")


def number_word(n: int) -> str:
    """English for 0 to 99."""
    if n <= 20:
        return WORDS[n]
    tens = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")[n // 10]
    return tens if n % 10 == 0 else f"{tens}-{WORDS[n % 10]}"


def result(a: int, sign: str, b: int) -> int:
    return a + b if sign == "+" else a - b if sign == "-" else a * b


def sum_key(a: int, sign: str, b: int) -> str:
    return f"arithmetic:{a}{sign}{b}"


def choose_sum(rng: random.Random, split: Split) -> tuple[int, str, int]:
    """Operands up to 10 for + and - (never below zero), up to 5 for x; smaller numbers more often."""
    while True:
        sign = rng.choices("+-x", (0.5, 0.35, 0.15))[0]
        top = 5 if sign == "x" or rng.random() < 0.5 else 10
        a, b = rng.randint(0, top), rng.randint(0, top)
        if sign == "-" and a < b:
            a, b = b, a
        if split_of(sum_key(a, sign, b)) == split:
            return a, sign, b


def arithmetic_case(rng: random.Random, split: Split) -> Case:
    a, sign, b = choose_sum(rng, split)
    value = result(a, sign, b)
    query = f"{a} {sign} {b}" if rng.random() < 0.75 else f"{a} {SPOKEN[sign]} {b}"
    text = rng.choice(FRAMES).replace("{q}", query)
    if sign != "x" and rng.random() < 0.15:
        text = _story_sum(rng, a, sign, b)
    off = rng.choice([d for d in (-3, -2, -1, 1, 2, 3, 10) if value + d >= 0])
    return Case(
        skill="arithmetic",
        key=sum_key(a, sign, b),
        turns=(user(dress(rng, text)),),
        truth={"kind": "arithmetic", "a": a, "b": b, "sign": sign, "answer": value},
        full=f"{a} {sign} {b} = {value}.",
        extra=_check(rng, a, sign, b, value),
        bare=f"{value}.",
        wrong=f"{a} {sign} {b} = {value + off}.",
    )


def _check(rng: random.Random, a: int, sign: str, b: int, value: int) -> str:
    """The result in words, or the opposite sum where that one is taught."""
    inverse = {"+": (value, "-", b), "-": (value, "+", b), "x": None}[sign]
    known = inverse and max(inverse[0], inverse[2]) <= 20 and split_of(sum_key(*inverse)) == "train"
    if inverse and known and rng.random() < 0.5:
        return f"You can check it: {inverse[0]} {inverse[1]} {inverse[2]} = {a}."
    return f"In words, that is {number_word(value)}."


def count_of(n: int, things: str) -> str:
    """ "1 apple" or "5 apples"; every thing of these tables takes a plain s."""
    return f"{n} {things[:-1] if n == 1 else things}"


def _story_sum(rng: random.Random, a: int, sign: str, b: int) -> str:
    things = rng.choice(THINGS)
    if sign == "+":
        return f"I have {count_of(a, things)} and get {b} more. How many do I have?"
    return f"I have {count_of(a, things)} and give away {b}. How many are left?"
