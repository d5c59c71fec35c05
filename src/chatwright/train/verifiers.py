"""Rewards that can be checked instead of judged: the right answer, or code that passes its tests.

A verifier gives 1 or 0. It is exact about what it checks and blind to everything else: what it does not look at
(manners, the words around a number) is free to get worse, which the price of KL must hold.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, Protocol, get_args

from chatwright.errors import InputError
from chatwright.machine import available_cores
from chatwright.records import Prompt
from chatwright.train.sandbox import Limits, check_sandbox, run_calls

VerifierName = Literal["exact", "tests"]


class Verifier(Protocol):
    """Something that rewards answers; equal answers must get equal rewards."""

    name: ClassVar[str]
    needs: ClassVar[str]
    """What a row must carry to be checked, in words."""

    def usable(self, prompt: Prompt) -> bool:
        """Whether this prompt carries what it takes to check an answer. Raises InputError where that is broken."""
        ...

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """The reward of each response to the prompt beside it."""
        ...


def verifier(name: str, limits: Limits | None = None) -> Verifier:
    """The verifier called `name`, found able to work."""
    if name not in get_args(VerifierName):
        raise InputError(f"there is no verifier {name!r}; use one of {', '.join(get_args(VerifierName))}")
    if name == "exact":
        return ExactAnswer()
    limits = limits or Limits()
    check_sandbox(limits)
    return UnitTests(limits)


def checkable(verifier: Verifier) -> Callable[[Any], Prompt]:
    """Reads a row as a prompt that `verifier` can check; raises InputError for any other."""

    def parse(row: Any) -> Prompt:
        prompt = Prompt.from_json(row)
        if not verifier.usable(prompt):
            raise InputError(f"nothing to check an answer by; give the row {verifier.needs}")
        return prompt

    return parse


# Exact answers.

_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?|[-+]?\.\d+"
_NUMBERS = re.compile(rf"(?<![\w.])(?:{_NUMBER})(?!\w)")
_WHOLE_NUMBER = re.compile(_NUMBER)
_MARKS = (re.compile(r"\\boxed\{([^{}]*)\}"), re.compile(r"####\s*([^\n]+)"))
"""How answers to mathematics are marked: LaTeX's box, and the last line of GSM8K (Cobbe et al. 2021)."""
_EQUATION = r"(?<![\w.,])(\d+(?:\.\d+)?) *([-+*/x\u00d7\u00f7]) *(\d+(?:\.\d+)?) *= *(\d+(?:\.\d+)?)"
_CHECKED = re.compile(rf"{_EQUATION}(?![\w/])([^\d=]*){_EQUATION}\D*\Z")
_CHECK = re.compile(r"\b(?:check|verify|proof)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ExactAnswer:
    """Whether a response ends in `truth["answer"]` (a number, a text, or a list of accepted ones).

    The answer of a response is what it marks (\\boxed{} or ####, the last one), else for a number its last number, else
    for a text its last words. Numbers are equal by value (1,200 = 1200.0; 1/2 = 0.5), texts but for case, spaces
    and punctuation. An example behind the answer therefore costs the reward; a check does not ("12 - 7 = 5. You can
    check it: 5 + 7 = 12.", see `final_number`). A response gives one answer, read without a look at the right one:
    there is nothing to gain by naming several.
    """

    name: ClassVar[str] = "exact"
    needs: ClassVar[str] = 'an "answer"'

    def usable(self, prompt: Prompt) -> bool:
        return bool(_accepted(prompt))

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        return [
            float(any(matches(response, truth) for truth in _accepted(prompt)))
            for prompt, response in zip(prompts, responses, strict=True)
        ]


def _accepted(prompt: Prompt) -> list[str]:
    answer = prompt.truth.get("answer")
    several = answer if isinstance(answer, list | tuple) else [answer]
    texts = [str(a).strip() for a in several if isinstance(a, str | int | float) and not isinstance(a, bool)]
    return [t for t in texts if number(t) is not None or _words(t)]


def matches(response: str, truth: str) -> bool:
    """Whether the answer that `response` gives is `truth`."""
    marked = next((found[-1] for mark in _MARKS if (found := mark.findall(response))), None)
    wanted = number(truth)
    if wanted is not None:
        return final_number(response if marked is None else marked) == wanted
    said, words = _words(response if marked is None else marked), _words(truth)
    return said == words if marked is not None else said[-len(words) :] == words


def final_number(text: str) -> Fraction | None:
    """The last number that stands in `text`, or the one before a check of it; None without any."""
    plain = _plain(text)
    checked = _checked(plain)
    if checked is not None:
        return checked
    found = _NUMBERS.findall(plain)
    return number(found[-1]) if found else None


def _checked(text: str) -> Fraction | None:
    """The result of the last equation but one, where the last is announced as a check and says the same turned round.

    Both must relate the same three numbers (12 - 7 = 5 and 5 + 7 = 12 do), so that what stands behind a result is
    passed over only where it could not have been another answer. None for any other text.
    """
    found = _CHECKED.search(text)
    if not found or not _CHECK.search(found[5]):
        return None
    first, second = _relation(*found.groups()[:4]), _relation(*found.groups()[5:])
    return number(found[4]) if first == second else None


def _relation(left: str, sign: str, right: str, value: str) -> tuple[str, list[Fraction], Fraction]:
    """An equation as sum or product: (+ or x, its two parts in order, the whole)."""
    a, b, c = (Fraction(n) for n in (left, right, value))
    if sign in "-/\u00f7":
        return "+" if sign == "-" else "x", sorted((b, c)), a
    return "+" if sign == "+" else "x", sorted((a, b)), c


def number(text: str) -> Fraction | None:
    """The value of a text that is nothing but a number, perhaps with a currency sign and a full stop."""
    plain = _plain(text).strip().strip("$€£").rstrip(".").strip()
    if not _WHOLE_NUMBER.fullmatch(plain):
        return None
    try:
        whole, _, part = plain.replace(",", "").partition("/")
        return Fraction(whole) / Fraction(part or 1)
    except (ValueError, ZeroDivisionError):
        return None


def _plain(text: str) -> str:
    """With a plain minus, and with room behind that of a subtraction: "7 -5" holds 7 and 5."""
    return re.sub(r"(?<=[\d)])(\s+)-(?=\d)", r"\1- ", text.replace("\u2212", "-"))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)*", text.casefold().replace("\u2019", "'"))


# Unit tests.

_FENCE = re.compile(r"```[ \t]*(\w*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class UnitTest:
    """An expression to evaluate after the answer's code, and the value it must have."""

    expression: str
    expected: Any


@dataclass(frozen=True, slots=True)
class UnitTests:
    """Whether the Python of a response passes every test of `truth["tests"]`; runs it in the sandbox of `sandbox.py`.

    A test is {"call": "add(1, 2)", "expected": 3} or the line "assert add(1, 2) == 3". The sandboxed process is told
    the calls and never the values expected; these are compared here, so that no code can find them or fake a pass. An
    answer that knows the tests by heart still passes: hold some out. A value must be a literal of Python (numbers,
    texts, lists, ...) to be compared.
    """

    limits: Limits
    name: ClassVar[str] = "tests"
    needs: ClassVar[str] = 'a list of "tests"'

    def usable(self, prompt: Prompt) -> bool:
        return bool(unit_tests(prompt))

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        with ThreadPoolExecutor(max_workers=available_cores()) as pool:
            return list(pool.map(self._reward, prompts, responses))

    def _reward(self, prompt: Prompt, response: str) -> float:
        tests, code = unit_tests(prompt), python_of(response)
        if not code.strip():
            return 0.0
        said = run_calls(code, [t.expression for t in tests], self.limits)
        return float(all(_equal(value, test.expected) for value, test in zip(said, tests, strict=True)))


def unit_tests(prompt: Prompt) -> list[UnitTest]:
    """The tests of a prompt, [] without any; raises InputError for one that cannot be taken apart."""
    rows = prompt.truth.get("tests") or []
    if isinstance(rows, str):
        rows = [line for line in rows.splitlines() if line.strip()]
    if not isinstance(rows, list | tuple):
        raise InputError('tests must be a list of {"call", "expected"} or of lines "assert call == value"')
    return [_test(row) for row in rows]


def _test(row: Any) -> UnitTest:
    if isinstance(row, dict) and isinstance(row.get("call"), str) and "expected" in row:
        return UnitTest(_expression(row["call"]), row["expected"])
    if isinstance(row, str):
        return _assertion(row)
    raise InputError(f'the test {row!r} is neither {{"call", "expected"}} nor a line "assert call == value"')


def _expression(text: str) -> str:
    try:
        return ast.unparse(ast.parse(text.strip(), mode="eval"))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InputError(f"the test {text!r} is not one expression of Python ({error})") from None


def _assertion(line: str) -> UnitTest:
    """ "assert f(x) == 3" asks f(x) for 3; "assert f(x)" and "assert not f(x)" ask for its truth."""
    try:
        body = ast.parse(line.strip()).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InputError(f"the test {line!r} is not one line of Python ({error})") from None
    if len(body) != 1 or not isinstance(body[0], ast.Assert):
        raise InputError(f"the test {line!r} must be one assert")
    asked = body[0].test
    if isinstance(asked, ast.Compare) and len(asked.ops) == 1 and isinstance(asked.ops[0], ast.Eq):
        try:
            return UnitTest(ast.unparse(asked.left), ast.literal_eval(asked.comparators[0]))
        except ValueError:
            raise InputError(f"the test {line!r} must compare with a plain value on the right of ==") from None
    return UnitTest(f"bool({ast.unparse(asked)})", True)


def python_of(response: str) -> str:
    """The fenced blocks of Python in a response, one after the other; without any fence, all of it."""
    blocks = [
        code for language, code in _FENCE.findall(response) if language.lower() in ("", "py", "python", "python3")
    ]
    return "\n".join(blocks) if _FENCE.search(response) else response


def _equal(said: str | None, expected: Any) -> bool:
    if said is None:
        return False
    try:
        return bool(ast.literal_eval(said) == expected)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
