"""Remembering what the user said some turns ago. The composition is the pair of things told and the one asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from chatwright.records import Message
from chatwright.starter import people
from chatwright.starter.case import Case, assistant, user
from chatwright.starter.phrasing import lower_first
from chatwright.starter.split import Split, split_of
from chatwright.starter.styles import choose_style, render


@dataclass(frozen=True, slots=True)
class Slot:
    values: tuple[str, ...]
    tells: tuple[str, ...]
    asks: tuple[str, ...]
    full: str
    extra: str


SLOTS = {
    "name": Slot(people.NAMES, ("My name is {v}.", "I am {v}.", "I'm called {v}.", "You can call me {v}."),
                 ("What is my name?", "Do you remember my name?", "What did I say my name was?", "Who am I?"),
                 "Your name is {v}.", "It is nice to talk with you, {v}."),
    "colour": Slot(people.COLOURS, ("My favourite colour is {v}.", "I like the colour {v} best.",
                   "The colour I love is {v}."),
                   ("What is my favourite colour?", "Which colour do I like best?", "Do you know my favourite colour?"),
                   "Your favourite colour is {v}.", "You told me so a moment ago."),
    "city": Slot(people.CITIES, ("I live in {v}.", "My home is in {v}.", "I am from {v}.", "My city is {v}."),
                 ("Where do I live?", "Which city do I live in?", "Do you remember my city?", "Where is my home?"),
                 "You live in {v}.", "I hope that you like it there."),
    "pet": Slot(people.PETS, ("I have a {v}.", "My pet is a {v}.", "At home I have a {v}."),
                ("What pet do I have?", "What animal do I have?", "Which pet did I tell you about?"),
                "You have a {v}.", "I hope that your {v} is well."),
    "food": Slot(people.FOODS, ("My favourite food is {v}.", "I love to eat {v}.", "I like {v} best for dinner."),
                 ("What is my favourite food?", "What do I like to eat?", "Which food do I love?"),
                 "Your favourite food is {v}.", "I hope that you have some today."),
    "hobby": Slot(people.HOBBIES, ("My hobby is {v}.", "I enjoy {v}.", "In my free time I like {v}."),
                  ("What is my hobby?", "What do I enjoy?", "What do I like in my free time?"),
                  "Your hobby is {v}.", "I hope that you find time for it."),
    "job": Slot(people.JOBS, ("I work as a {v}.", "My job is that of a {v}.", "By day I am a {v}."),
                ("What is my job?", "What do I work as?", "Do you remember my job?"),
                "You work as a {v}.", "That is useful work."),
    "number": Slot(people.NUMBERS, ("My lucky number is {v}.", "My favourite number is {v}.",
                   "The number I like best is {v}."),
                   ("What is my lucky number?", "Which number do I like best?", "What was my number?"),
                   "Your favourite number is {v}.", "You told me so a moment ago."),
    "petname": Slot(people.PET_NAMES, ("My pet is called {v}.", "The name of my pet is {v}.", "I call my pet {v}."),
                    ("What is my pet called?", "What is the name of my pet?", "Do you know the name of my pet?"),
                    "Your pet is called {v}.", "Please say hello to {v} from me."),
}  # fmt: skip
_ACKS = (
    "Nice to meet you! I will remember that.", "Thank you for telling me. How can I help you today?",
    "That is good to know. What would you like to ask?", "I will keep that in mind. How can I help?",
)  # fmt: skip
_STARTS = ("", "", "Hi! ", "Hello. ", "Hey, just so you know: ", "Please remember this. ", "Good morning. ")


def memory_case(rng: random.Random, split: Split, distractor: Callable[[random.Random], Case]) -> Case:
    """The user tells one or two things, talks of others (`distractor` makes those), and asks for one of the first."""
    while True:
        first, second = rng.sample(sorted(SLOTS), 2)
        told = [(first, rng.choice(SLOTS[first].values)), (second, rng.choice(SLOTS[second].values))]
        key = "memory:" + "|".join(f"{slot}={value}" for slot, value in told)
        if split_of(key) == split:
            break
    told_count = 2 if split == "heldout" or rng.random() < 0.6 else 1
    told = told[:told_count]
    slot, value = rng.choice(told)
    tells = [rng.choice(SLOTS[s].tells).replace("{v}", v) for s, v in told]
    opening = rng.choice(_STARTS) + " ".join(tells)
    if rng.random() < 0.2:
        opening = lower_first(opening)
    turns: list[Message] = [user(opening), assistant(_acknowledge(rng, split, tells))]
    for _ in range(rng.choices((0, 1, 2, 3), (0.2, 0.45, 0.25, 0.1))[0]):
        between = distractor(rng)
        turns += [*between.turns, assistant(render(between, choose_style(rng) if split == "train" else "good", rng))]
    ask = rng.choice(SLOTS[slot].asks)
    turns.append(user(lower_first(ask).rstrip("?") if rng.random() < 0.2 else ask))
    wrong = rng.choice([v for v in SLOTS[slot].values if v not in [value, *(v for _, v in told)]])
    spec = SLOTS[slot]
    return Case(
        "memory", key, tuple(turns), {"kind": "memory", "slot": slot, "answer": value, "told": [list(t) for t in told]},
        spec.full.replace("{v}", value), spec.extra.replace("{v}", value), f"{value[:1].upper()}{value[1:]}.",
        spec.full.replace("{v}", wrong),
    )  # fmt: skip


def _acknowledge(rng: random.Random, split: Split, tells: list[str]) -> str:
    case = Case("memory", "", (), {}, rng.choice(_ACKS), "", "Okay.", rng.choice(_ACKS))
    return render(case, choose_style(rng) if split == "train" else "good", rng)
