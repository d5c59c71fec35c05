"""Knowing one's limits: asking back when a request is unclear, and saying so when nobody could know."""

from __future__ import annotations

import random

from chatwright.starter import people
from chatwright.starter.case import Case, user
from chatwright.starter.phrasing import dress
from chatwright.starter.split import Split, split_of

_ADJECTIVES = {"tall": "height", "old": "age", "heavy": "weight", "far": "distance", "big": "size", "long": "length",
               "expensive": "price", "fast": "speed", "deep": "depth", "wide": "width"}  # fmt: skip
_VERBS = {"fix": "fixed", "finish": "finished", "translate": "translated", "check": "checked", "explain": "explained",
          "change": "changed", "open": "opened", "send": "sent", "move": "moved", "read": "read", "sort": "sorted",
          "improve": "improved", "copy": "copied", "count": "counted"}  # fmt: skip
_POINTERS = ("it", "that", "this", "the thing", "that one", "the other one", "them", "those")
_MISSING = {"capital": "country", "currency": "country", "opposite": "word", "plural": "word", "symbol": "element",
            "colour": "thing", "spelling": "word", "meaning": "word", "answer": "question", "author": "book",
            "name": "person", "address": "place", "recipe": "dish", "price": "thing", "rule": "game", "date": "event",
            "end": "story", "number": "thing"}  # fmt: skip
_MISSING_FRAMES = (
    "What is the {m}?", "Tell me the {m}.", "I need the {m}.", "Do you know the {m}?", "Give me the {m}.",
    "Can you tell me the {m}?", "Please find the {m}.",
)  # fmt: skip


def clarify_case(rng: random.Random, split: Split) -> Case:
    while True:
        text, topic, full, extra, wrong = _unclear(rng)
        key = f"clarify:{text}"
        if split_of(key) == split:
            break
    return Case(
        "clarify", key, (user(dress(rng, text)),), {"kind": "clarify", "topic": topic}, full, extra, "What?", wrong
    )


def _unclear(rng: random.Random) -> tuple[str, str, str, str, str]:
    roll = rng.random()
    if roll < 0.3:
        adjective = rng.choice(sorted(_ADJECTIVES))
        pointer = rng.choice(_POINTERS[:6])
        noun = _ADJECTIVES[adjective]
        full = rng.choice((f"I am not sure what you mean by {pointer}.", f"I do not know which thing {pointer} is."))
        return (f"How {adjective} is {pointer}?", noun, full, f"Could you tell me whose {noun} you want to know?",
                f"The {noun} is {rng.randint(2, 90)}.")  # fmt: skip
    if roll < 0.65:
        verb, pointer = rng.choice(sorted(_VERBS)), rng.choice(_POINTERS)
        frame = rng.choice(
            ("Can you {v} {p}?", "Please {v} {p}.", "{V} {p} for me.", "I need you to {v} {p}.", "Help me {v} {p}.")
        )
        text = frame.replace("{v}", verb).replace("{V}", verb.capitalize()).replace("{p}", pointer)
        full = rng.choice((f"I am not sure what you mean by {pointer}.", "I cannot see yet what you mean."))
        return text, verb, full, f"What exactly would you like me to {verb}?", f"Okay, I {_VERBS[verb]} everything."
    missing = rng.choice(sorted(_MISSING))
    thing = _MISSING[missing]
    text = rng.choice(_MISSING_FRAMES).replace("{m}", missing)
    full = rng.choice((f"Which {thing} do you mean?", f"That depends on the {thing}."))
    extra = f"Please tell me the {thing}, then I can try to find the {missing}."
    extra = extra if full.endswith("?") else f"Which {thing} do you mean, so that I can find the {missing}?"
    return text, thing, full, extra, f"The {missing} is seven."


_DAYS = ("tomorrow", "next week", "next month", "next year", "on Friday", "in ten years")
_FUTURES = (
    "the weather in {c} be like", "the price of bread in {c} be", "the news from {c} be",
    "the traffic in {c} be like", "the score of the game in {c} be", "the price of gold in {c} be",
)  # fmt: skip
_PRIVATE = ("What did I {d} {w}?", "Do you know what I did {d} {w}?")
_MINE = {"eat": "ate", "dream": "dreamed", "buy": "bought", "read": "read", "lose": "lost",
"say to my sister": "said to your sister",
         "write in my diary": "wrote in your diary", "draw": "drew", "cook": "cooked", "hide": "hid"}  # fmt: skip
_PASTS = ("yesterday", "last night", "last Monday", "this morning", "last summer", "on my birthday")
_STRANGERS = (
    "my neighbour",
    "my teacher",
    "my cousin",
    "the man next door",
    "my boss",
    "my aunt",
    "my doctor",
    "the new girl",
)
_TRAITS = ("middle name", "birthday", "shoe size", "favourite song", "plan for Sunday", "phone number", "lucky number")
_PLACES = (
    "Zandoria",
    "Plimstone",
    "Varkesh",
    "Ombolia",
    "Tirrin",
    "Quellmark",
    "Norvalia",
    "Brisk Island",
    "Lumeria",
    "Fadoria",
)
_FACTS = ("capital", "currency", "language", "king", "highest mountain", "national dish", "longest river", "flag")


def unknown_case(rng: random.Random, split: Split) -> Case:
    while True:
        text, topic, full, extra, wrong = _unknowable(rng)
        key = f"unknown:{text}"
        if split_of(key) == split:
            break
    return Case(
        "unknown", key, (user(dress(rng, text)),), {"kind": "unknown", "topic": topic}, full, extra, "No idea.", wrong
    )


def _unknowable(rng: random.Random) -> tuple[str, list[str], str, str, str]:
    roll = rng.random()
    if roll < 0.28:
        what, city, day = rng.choice(_FUTURES), rng.choice(people.CITIES), rng.choice(_DAYS)
        what = what.replace("{c}", city)
        subject, verb = what.rsplit(" be", 1)[0], what.rsplit(" be", 1)[1]
        ask = f"What will {what} {day}?"
        full = f"I do not know what {subject} will be{verb} {day}, because I cannot see the future."
        noun = subject.split(" ")[1]
        return (
            ask,
            [noun, city.lower()],
            full,
            "A fresh report or a newspaper can tell you more.",
            f"{subject.capitalize()} will be good {day}.",
        )
    if roll < 0.52:
        deed, when = rng.choice(sorted(_MINE)), rng.choice(_PASTS)
        ask = f"What did I {deed} {when}?"
        yours = when.replace("my", "your")
        return (ask, [deed.split(" ")[0], _MINE[deed].split(" ")[0]],
        f"I do not know what you {_MINE[deed]} {yours}, because you have not told me.",
                "If you tell me, I can remember it while we talk.", f"You {_MINE[deed]} an apple {yours}.")  # fmt: skip
    if roll < 0.76:
        who, trait = rng.choice(_STRANGERS), rng.choice(_TRAITS)
        yours = who.replace("my ", "your ")
        ask = rng.choice(
            (f"What is the {trait} of {who}?", f"Tell me the {trait} of {who}.", f"Do you know the {trait} of {who}?")
        )
        return (ask, [trait.split(" ")[-1], who.split(" ")[-1]],
        f"I do not know the {trait} of {yours}, because I cannot know private things.",
                "It is best to ask in person.", f"The {trait} is Sunday nine.")  # fmt: skip
    place, fact = rng.choice(_PLACES), rng.choice(_FACTS)
    ask = rng.choice(
        (f"What is the {fact} of {place}?", f"Tell me the {fact} of {place}.", f"Do you know the {fact} of {place}?")
    )
    return (ask, [fact.split(" ")[-1], place.lower().split(" ")[0]],
    f"I do not know the {fact} of {place}, because I have never heard of that place.",
            "Maybe the name is spelled in another way?", f"The {fact} of {place} is Barlo.")  # fmt: skip
