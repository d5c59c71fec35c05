"""Verifiable rewards: what counts as the right answer, and code that is tested in a sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from chatwright.errors import InputError
from chatwright.records import Message, Prompt
from chatwright.train.sandbox import Limits
from chatwright.train.verifiers import ExactAnswer, UnitTests, checkable, python_of, unit_tests, verifier


def prompt(**truth: Any) -> Prompt:
    return Prompt((Message("user", "?"),), truth=truth)


@pytest.mark.parametrize(("truth", "response"), [
    (12, "7 + 5 = 12."), (12, "12"), ("12", "It is 12, I think!"), (1200, "That makes 1,200."), (0.5, "one half: 1/2"),
    ("1/2", "0.50"), (-3, "The answer is \u22123."), (-3, "It is -3."), (5, "12 -7 = 5"), (5, "= 5.0"), ("$5", "5"),
    (12, "Surely \\boxed{12}, since 5 + 7 is not 13."), (12, "First 4 + 3 = 7.\n#### 12\n"), (".5", "0.5"),
    ("Paris", "The capital of France is Paris."), ("Paris", "paris"), (["Paris", "Lutetia"], "It was Lutetia"),
    ("New York", "It is New  York!"), ("don't", "They say: don\u2019t."), (4, "2/3 of 6 is 4"),
    (7, "7 of them, in B12"),
])  # fmt: skip
def test_right_answers(truth: Any, response: str) -> None:
    assert ExactAnswer()([prompt(answer=truth)], [response]) == [1.0]


@pytest.mark.parametrize(("truth", "response"), [
    (12, "7 + 5 = 13."), (12, ""), (12, "twelve"), (12, "112"), (12, "12.5"), (12, "It is 12, not 13."), (3, "-3"),
    (12, "\\boxed{13} or 12"), (12, "v12b"), (5, "It is 5th, or 6"), ("Paris", "Paris, Rome or Berlin"),
    ("Paris", "Comparis"), ("New York", "York"), ("Paris", ""), (12, "1 2"),
])  # fmt: skip
def test_wrong_answers(truth: Any, response: str) -> None:
    assert ExactAnswer()([prompt(answer=truth)], [response]) == [0.0]


@pytest.mark.parametrize(("answer", "response"), [
    (5, "12 - 7 = 5. You can check it: 5 + 7 = 12."), (5, "12 - 7 = 5. You can check it: 7 + 5 = 12."),
    (5, "12 - 7 = 5, which we verify by 12 - 5 = 7"), (12, "5 + 7 = 12. Check: 12 - 7 = 5."),
    (3, "12 / 4 = 3. To check, 3 * 4 = 12."), (12, "3 x 4 = 12. A check: 12 ÷ 4 = 3!"),
    (5, "3 x 4 = 12. 12 -7 = 5. Checking: 5 + 7 = 12 apples."), (0.5, "2.5 - 2 = 0.5. Check: 2 + 0.5 = 2.5."),
])  # fmt: skip
def test_a_check_behind_the_answer_is_not_taken_for_it(answer: Any, response: str) -> None:
    assert ExactAnswer()([prompt(answer=answer)], [response]) == [1.0]


@pytest.mark.parametrize(("said", "response"), [
    (12, "12 - 7 = 5. 5 + 7 = 12."),  # not called a check: another step of the same sum
    (12, "12 - 7 = 5. You can check it: 5 + 6 = 12."),  # not the same numbers
    (6, "12 - 7 = 5. You can check it: 12 - 7 = 6."),  # corrected
    (12, "12 - 7 = 5. You can check it: 5 - 7 = 12."),  # not the opposite
    (4, "12 - 7 = 5. You can check it: 5 + 7 = 12. Or 4."), (12, "12 - 7 = 5, 6. Check: 5 + 7 = 12."),
    (12, "12 - 7 = 5. Check: 5 + 7 = 11. Check: 5 + 7 = 12."), (12, "You can check it: 5 + 7 = 12."),
    (4, "12 - 7 = 4. Check: 4 + 7 = 12. Check: 12 - 8 = 4."), (5, "3, 4, 12 - 7 = 5. Check: 5 + 7 = 12."),
])  # fmt: skip
def test_a_response_gives_one_number_whatever_else_it_names(said: int, response: str) -> None:
    """Nothing to exploit: of all the numbers that could be asked for, each response earns the reward of one."""
    earned = [n for n in range(21) if ExactAnswer()([prompt(answer=n)], [response]) == [1.0]]
    assert earned == [said]


def test_prompts_without_an_answer_cannot_be_checked() -> None:
    assert [ExactAnswer().usable(prompt(**t)) for t in ({}, {"answer": None}, {"answer": ""}, {"answer": True},
            {"answer": []}, {"answer": 0}, {"answer": "0"}, {"answer": ["", "x"]})] \
        == [False, False, False, False, False, True, True, True]  # fmt: skip


def test_a_row_names_its_answer_or_tests_beside_the_prompt() -> None:
    row = Prompt.from_json({"prompt": "What is 5 + 7?", "answer": "12", "truth": {"kind": "sum"}})
    assert row.truth == {"kind": "sum", "answer": "12"}
    assert Prompt.from_json(row.to_json()) == row
    assert Prompt.from_json({"prompt": "x", "tests": ["assert f() == 1"]}).truth == {"tests": ["assert f() == 1"]}
    with pytest.raises(InputError, match='give the row an "answer"'):
        checkable(ExactAnswer())({"prompt": "Tell me a story."})


def test_tests_are_taken_apart() -> None:
    rows = [{"call": "add(1, 2)", "expected": 3}, "assert add(1,2) == 3", "assert f([1])", "assert not f('a b')"]
    got = [(t.expression, t.expected) for t in unit_tests(prompt(tests=rows))]
    assert got == [("add(1, 2)", 3), ("add(1, 2)", 3), ("bool(f([1]))", True), ("bool(not f('a b'))", True)]
    lines = "assert f(1) == [-1, 'x']\n\nassert g() == {'a': (1,)}\n"
    assert [t.expected for t in unit_tests(prompt(tests=lines))] == [[-1, "x"], {"a": (1,)}]


@pytest.mark.parametrize("row", ["f(1) == 2", "assert f(1) == g(2)", "assert f(", 3, {"call": "f()"}, {"call": "x = 1",
                                 "expected": 1}, "assert f(1) == 2; import os"])  # fmt: skip
def test_tests_that_cannot_be_taken_apart_are_named(row: Any) -> None:
    with pytest.raises(InputError, match="test"):
        unit_tests(prompt(tests=[row]))


def test_code_is_found_in_its_fences() -> None:
    assert python_of("Here:\n```python\nx = 1\n```\nand\n```\ny = 2\n```\n```bash\nls\n```") == "x = 1\n\ny = 2\n"
    assert python_of("def f():\n    return 1") == "def f():\n    return 1"
    assert python_of("```py\nx = 1") == "x = 1"  # cut off


ADD = prompt(tests=["assert add(1, 2) == 3", "assert add(-1, 0.5) == -0.5", "assert add('a', 'b') == 'ab'"])


@pytest.mark.parametrize(("response", "reward"), [
    ("```python\ndef add(a, b):\n    return a + b\n```", 1.0), ("add = lambda a, b: a + b", 1.0),
    ("from operator import add", 1.0), ("def add(a, b):\n    return a - b", 0.0), ("def add(a):\n    return a", 0.0),
    ("def plus(a, b):\n    return a + b", 0.0), ("def add(a, b) return a + b", 0.0), ("", 0.0), ("I cannot.", 0.0),
    ("print('hello')\ndef add(a, b):\n    print(a)\n    return a + b", 1.0), ("def add(a, b):\n    1 / 0", 0.0),
    ("def add(a, b):\n    return 3", 0.0), ("def add(*_):\n    return object()", 0.0),
])  # fmt: skip
def test_code_is_rewarded_for_passing_every_test(response: str, reward: float) -> None:
    assert UnitTests(Limits())([ADD], [response]) == [reward]


def test_many_answers_are_checked_in_their_order() -> None:
    right, wrong = "def add(a, b):\n    return a + b", "def add(a, b):\n    return b - a"
    assert UnitTests(Limits())([ADD] * 4, [right, wrong, wrong, right]) == [1.0, 0.0, 0.0, 1.0]


def test_unknown_verifier_and_hopeless_limits_are_refused() -> None:
    with pytest.raises(InputError, match="no verifier 'vibes'; use one of exact, tests"):
        verifier("vibes")
    with pytest.raises(InputError, match="cannot run Python here within 2 s of CPU time and 1 MB"):
        verifier("tests", Limits(memory_mb=1))
