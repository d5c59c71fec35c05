"""Graders of arithmetic, memory, stories, how-to steps and Python."""

from __future__ import annotations

import ast
import re
from typing import Any

from chatwright.starter.grading.judged import Judged, wrong
from chatwright.starter.grading.text import contains, content_stems, sentences, words
from chatwright.starter.skills.memory import SLOTS
from chatwright.starter.skills.numbers import number_word, result
from chatwright.starter.skills.tasks import HEROES, OBJECTS
from chatwright.starter.worked import NO_STEPS, steps
from chatwright.starter.world import table

_EQUATION = re.compile(r"(\d+)\s*([-+x*])\s*(\d+)\s*(?:=|is|makes)\s*(\d+)")
_STEP = re.compile(r"(\d+)\s+(\d+)")
_WAY = re.compile(rf"(\d+)\s*([-+x*])\s*(\d+)\s*:\s*((?:\d+\s+\d+\s*,\s*)*\d+\s+\d+|{NO_STEPS})\s*\.")
_SPOKEN = (("plus", "+"), ("minus", "-"), ("times", "x"))


def judge_arithmetic(truth: dict[str, Any], response: str, asked: str) -> Judged:
    """Every equation must hold, and no number may stand there but the operands and the result.

    A way to the result ("4 + 3: 5 one, 6 two, 7 three.") is something useful beside it where every step is right; a
    wrong step is a number too many, and a way without a result is no answer.
    """
    a, b, answer = truth["a"], truth["b"], truth["answer"]
    text, worked = _without_way(_digits(response.lower()), a, truth["sign"], b)
    for left, sign, right, value in _EQUATION.findall(text):
        if result(int(left), "x" if sign == "*" else sign, int(right)) != int(value):
            return wrong(f"{left} {sign} {right} is not {value}")
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    if set(numbers) - {a, b, answer}:
        return wrong("another number stands there")
    if len(numbers) > 8:
        return wrong("too many numbers")
    asked_equation = re.search(rf"\b{a}\s*[-+x*]\s*{b}\s*(?:=|is|makes)\s*{answer}\b", text)
    claimed = (
        asked_equation or re.search(rf"(?:is|are|makes|get|have|answer|=|:)\s*{answer}\b", text) or numbers == [answer]
    )
    if not claimed:
        return wrong("the result is missing")
    if re.search(rf"\bnot {answer}\b", text):
        return wrong("the result is denied")
    checks = len(_EQUATION.findall(text)) >= 2
    in_words = number_word(answer) in response.lower() and str(answer) in response
    whole = bool(asked_equation) or len(words(response)) >= 4
    return Judged(1.0, 1.0 if checks or in_words or worked else 0.0, whole=whole, limit=40 if worked else 25)


def _without_way(text: str, a: int, sign: str, b: int) -> tuple[str, bool]:
    """`text` without right ways to a sign b (or b sign a, where that is the same), and whether there was one."""
    orders = {(a, b)} if sign == "-" else {(a, b), (b, a)}
    right = [(left, right, steps(left, sign, right)) for left, right in orders]

    def read(way: re.Match[str]) -> str:
        said = (int(way[1]), int(way[3]), [(int(count), int(number)) for number, count in _STEP.findall(way[4])])
        return "" if way[2].replace("*", "x") == sign and said in right else way[0]

    rest = _WAY.sub(read, text)
    return rest, rest != text


def _digits(text: str) -> str:
    for n in range(99, -1, -1):
        text = re.sub(rf"\b{number_word(n)}\b", str(n), text)
    for spoken, sign in _SPOKEN:
        text = text.replace(f" {spoken} ", f" {sign} ")
    return text


def judge_memory(truth: dict[str, Any], response: str, asked: str) -> Judged:
    slot, answer = SLOTS[truth["slot"]], truth["answer"]
    said = words(response)
    if not contains(said, words(answer)):
        return wrong("what the user told is missing")
    told = {value.lower() for _, value in truth["told"]}
    others = [v for v in slot.values if v.lower() != answer.lower() and v.lower() not in told]
    rival = next((v for v in others if contains(said, words(v))), None)
    if rival:
        return wrong(f"{rival} was never told")
    if {"not", "never", "forgot"} & set(said):
        return wrong("it denies what was told")
    if any(v.lower() in said and v != answer for s, v in truth["told"] if s == truth["slot"]):
        return wrong("two answers")
    beside = [s for s in sentences(response) if len(words(s)) >= 4]
    return Judged(1.0, 1.0 if len(beside) >= 2 else 0.0, whole=len(said) > 2, limit=30)


def judge_story(truth: dict[str, Any], response: str, asked: str) -> Judged:
    said = words(response)
    hero, thing = truth["hero"], truth["thing"]
    if hero not in said or thing not in said:
        return wrong("the hero or the thing is missing")
    if hero not in words(" ".join(sentences(response)[:2])):
        return wrong("the hero comes late")
    strangers = {w for w in said if w in HEROES or w in OBJECTS} - {hero, thing}
    if len(strangers) > 2 or (strangers & set(HEROES) and strangers & set(OBJECTS)):
        return wrong("it is a story of others")
    tale = [s for s in sentences(response) if len(words(s)) >= 5]
    if len(tale) < 3 or len(said) < 20:
        return Judged(0.75, 0.0, whole=False, notes=("too short for a story",), limit=70)
    ending = sentences(response)[-1]
    closed = (
        bool(re.search(r"(good|friend|kind|end|happy|never|always|worth|learn)", ending.lower()))
        and len(words(ending)) <= 12
    )
    accuracy = 1.0 if not strangers else 0.9
    return Judged(accuracy, 1.0 if closed and len(tale) + (len(words(ending)) < 5) >= 4 else 0.3, limit=70)


_ORDINAL = re.compile(
    r"^(first|then|next|finally|after that|last|at the end|second|third|one:|two:|three:)", re.IGNORECASE
)


def judge_howto(truth: dict[str, Any], response: str, asked: str) -> Judged:
    """A step is given when most of its content words stand in one sentence; steps of something else count against."""
    lines = sentences(response)
    given = [content_stems(line) for line in lines]
    places = []
    for step in truth["steps"]:
        wanted = content_stems(step)
        hits = [i for i, sentence in enumerate(given) if len(wanted & sentence) >= 0.6 * len(wanted)]
        places.append(hits[0] if hits else None)
    found = [p for p in places if p is not None]
    strange = [line for i, line in enumerate(lines) if i not in found and _ORDINAL.match(line)]
    if not found or len(strange) >= 2 or (strange and len(found) == 1):
        return wrong("most of the steps are others" if found else "none of the steps is there")
    if len(found) == 1:
        return Judged(0.75, 0.0, whole=False, notes=("only one step",), limit=55)
    if found != sorted(found):
        return wrong("the steps are in the wrong order")
    beside = content_stems(" ".join(line for i, line in enumerate(lines) if i not in found))
    tip = content_stems(next((row["tip"] for row in table("howto") if row["name"] == truth["task"]), ""))
    extra = 1.0 if len(beside & tip) * 2 >= len(tip) > 0 else 0.4 if len(beside) >= 2 and not strange else 0.0
    accuracy = 1.0 if len(found) == 3 and not strange else 0.85
    return Judged(accuracy, extra, limit=55)


def judge_python(truth: dict[str, Any], response: str, asked: str) -> Judged:
    """The code must compile and be the wanted one (compared as syntax trees; nothing is run)."""
    code = _code(response)
    if not code:
        return wrong("no code that compiles")
    if any(ast.dump(ast.parse(c)) != ast.dump(ast.parse(truth["code"])) for c in code):
        return wrong(f"the code is {code[0]}")
    around = response
    for line in code:
        around = around.replace(line, "")
    lead = words(around)
    extra = 1.0 if "prints" in lead or "shows" in lead or "gives" in lead else 0.0
    return Judged(1.0, extra, whole=len(lead) >= 2, limit=40)


def _code(response: str) -> list[str]:
    fenced = re.findall(r"`{3}(?:python)?\n?(.+?)`{3}|`([^`]+)`", response, re.DOTALL)
    found = [(a or b).strip() for a, b in fenced] or re.findall(r"print\(.*\)", response)
    return [line for line in found if _compiles(line)] if all(map(_compiles, found)) else []


def _compiles(line: str) -> bool:
    try:
        ast.parse(line)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
