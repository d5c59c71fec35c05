"""Things to make: short stories, how-to steps and Python one-liners."""

from __future__ import annotations

import random

from chatwright.starter.case import Case, user
from chatwright.starter.phrasing import dress
from chatwright.starter.skills.facts import UNASKED_SHARE
from chatwright.starter.split import Split, split_of
from chatwright.starter.world import indefinite, popularity, table, upper_first

HEROES = (
    "fox", "bear", "cat", "dog", "mouse", "king", "queen", "farmer", "owl", "duck", "baker", "sailor", "rabbit",
    "frog", "girl", "boy", "wolf", "horse", "teacher", "hen",
)  # fmt: skip
OBJECTS = (
    "lantern", "boat", "key", "apple", "drum", "kite", "map", "bell", "hat", "clock", "cake", "book", "lamp", "coin",
    "umbrella", "rope", "letter", "shoe", "ring", "mirror",
)  # fmt: skip
_ASKS = (
    "Tell me a short story about {h} and {o}.", "Write a story about {h} and {o}.",
    "Can you tell a story with {h} and {o}?", "I want a story about {h} and {o}.",
    "Make up a little tale of {h} and {o}.", "Please write a short tale about {h} and {o}.",
    "Story about {h} and {o}, please.", "My child wants a story with {h} and {o}.",
)  # fmt: skip
_BEGINS = ("Once there was {h} who found {o} {w}.", "One morning {h} saw {o} {w}.", "Long ago {h} lost {o} {w}.")
_WHERE = ("in the forest", "by the river", "on a hill", "near the sea", "under an old tree", "behind the barn")
_MIDDLES = (
    "The {h} wanted to keep the {o}, but a friend needed it more.",
    "Nobody knew whom the {o} belonged to, so the {h} asked everyone.",
    "The {o} was heavy, and the {h} could not carry it alone.", "It was dark, and only the {o} could help the {h}.",
)  # fmt: skip
_ENDS = (
    "In the end they shared the {o} and became friends.", "At last a kind friend helped, and all were happy.",
    "So the {h} gave the {o} back and smiled.", "That night the {h} went home and slept well.",
)  # fmt: skip
_MORALS = ("It is good to share.", "A friend is worth more than gold.", "Kindness comes back to you.", "The end.")


def story_case(rng: random.Random, split: Split) -> Case:
    while True:
        hero, thing = rng.choice(HEROES), rng.choice(OBJECTS)
        key = f"story:{hero}:{thing}"
        if split_of(key) == split:
            break
    text = rng.choice(_ASKS).replace("{h}", indefinite(hero)).replace("{o}", indefinite(thing))
    other_hero, other_thing = (
        rng.choice([h for h in HEROES if h != hero]),
        rng.choice([o for o in OBJECTS if o != thing]),
    )
    return Case(
        "story", key, (user(dress(rng, text)),), {"kind": "story", "hero": hero, "thing": thing},
        tell(rng, hero, thing), rng.choice(_MORALS), f"{upper_first(indefinite(hero))} found {indefinite(thing)}.",
        tell(rng, other_hero, other_thing),
    )  # fmt: skip


def tell(rng: random.Random, hero: str, thing: str) -> str:
    """Three sentences: a beginning, a difficulty, an end."""
    begin = (
        rng.choice(_BEGINS)
        .replace("{h}", indefinite(hero))
        .replace("{o}", indefinite(thing))
        .replace("{w}", rng.choice(_WHERE))
    )
    rest = f"{rng.choice(_MIDDLES)} {rng.choice(_ENDS)}"
    return f"{begin} {rest.replace('{h}', hero).replace('{o}', thing)}"


_HOW_ASKS = (
    "How do I {d}?", "How do I {d}?", "How can I {d}?", "How do you {d}?", "Tell me how to {d}.",
    "Explain how to {d}.", "I want to {d}. What should I do?", "What are the steps to {d}?",
    "Can you show me how to {d}?", "Teach me to {d}.", "What is the best way to {d}?",
    "I have never tried to {d}. Help me.", "Give me three steps to {d}.", "I need help with {i}.",
    "Any advice on {i}?", "What do I need to know about {i}?",
)  # fmt: skip


def howto_case(rng: random.Random, split: Split) -> Case:
    """The steps of every task stand in the corpus. Held out are wordings of taught tasks, and some tasks altogether."""
    unasked = split == "heldout" and rng.random() < UNASKED_SHARE
    rows = [r for r in table("howto") if (split_of(f"howto:{r['name']}") == "heldout") == unasked]
    while True:
        row = rng.choices(rows, [popularity(i) for i in range(len(rows))])[0]
        frame = rng.choice(_HOW_ASKS)
        key = f"howto:{row['name']}" if unasked else f"howto:{row['name']}|{frame}"
        if split_of(key) == split:
            break
    other = rng.choice([r for r in table("howto") if r is not row])
    text = frame.replace("{d}", row["name"]).replace("{i}", row["ing"])
    truth = {"kind": "howto", "task": row["name"], "steps": [row["s1"], row["s2"], row["s3"]]}
    return Case("howto", key, (user(dress(rng, text)),), truth, steps(row), row["tip"],
                f"{upper_first(row['s1'])}.", steps(other))  # fmt: skip


def steps(row: dict[str, str]) -> str:
    return f"First, {row['s1']}. Then {row['s2']}. Finally, {row['s3']}."


_CODE_ASKS = (
    "Write Python code to {d}.", "Write one line of Python to {d}.", "How do I {d} in Python?", "Python code to {d}?",
    "Show me Python that can {d}.", "In Python, how can I {d}?", "Give me a Python line to {d}.",
    "I need Python to {d}.", "Can you {d} with Python?", "What Python code will {d}?",
)  # fmt: skip
_CODE_WORDS = (
    "river",
    "apple",
    "tiger",
    "house",
    "moon",
    "bread",
    "queen",
    "garden",
    "bridge",
    "sun",
    "train",
    "lemon",
)


def python_line(rng: random.Random) -> tuple[str, str, str, str]:
    """(task id, request, code, what it prints) of one line; no two spellings of the code are needed."""
    word, n = rng.choice(_CODE_WORDS), rng.randint(2, 9)
    numbers = sorted(rng.sample(range(1, 10), 3), key=lambda _: rng.random())
    listed = ", ".join(map(str, numbers))
    kinds = {
        "print": (f"print the word {word}", f'print("{word}")', word),
        "repeat": (f"print the word {word} {n} times", f'print("{word}" * {n})', f"the word {n} times"),
        "upper": (f"write the word {word} in capitals", f'print("{word}".upper())', word.upper()),
        "reverse": (f"reverse the word {word}", f'print("{word}"[::-1])', word[::-1]),
        "len": (f"count the letters of the word {word}", f'print(len("{word}"))', str(len(word))),
        "sum": (f"add the numbers {listed}", f"print(sum([{listed}]))", str(sum(numbers))),
        "max": (f"find the largest of {listed}", f"print(max([{listed}]))", str(max(numbers))),
        "min": (f"find the smallest of {listed}", f"print(min([{listed}]))", str(min(numbers))),
        "sort": (f"sort the numbers {listed}", f"print(sorted([{listed}]))", str(sorted(numbers))),
        "range": (f"list the numbers below {n}", f"print(list(range({n})))", f"{n} numbers from 0"),
    }
    kind = rng.choice(sorted(kinds))
    request, code, prints = kinds[kind]
    return f"{kind}:{request}", request, code, prints


def python_case(rng: random.Random, split: Split) -> Case:
    while True:
        task, request, code, prints = python_line(rng)
        if split_of(f"python:{task}") == split:
            break
    other = next(c for t, _, c, _ in iter(lambda: python_line(rng), None) if t.split(":")[0] != task.split(":")[0])
    lead = rng.choice(("You can write:", "Use this line:"))
    return Case(
        "python", f"python:{task}", (user(dress(rng, rng.choice(_CODE_ASKS).replace("{d}", request))),),
        {"kind": "python", "code": code, "request": request}, f"{lead} `{code}`", f"It prints {prints}.", code,
        f"{lead} `{other}`",
    )  # fmt: skip
