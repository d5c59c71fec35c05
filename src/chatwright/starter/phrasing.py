"""How people ask: frames around a noun phrase or a request, and the small disorder of typing."""

from __future__ import annotations

import random

# {np} is a noun phrase such as "the capital of France".
NOUN_FRAMES = (
    "What is {np}?", "What is {np}?", "What's {np}?", "Tell me {np}.", "Can you tell me {np}?", "Do you know {np}?",
    "Could you tell me {np}, please?", "Please tell me {np}.", "I would like to know {np}.", "Give me {np}.",
    "I forgot {np}. Can you help?", "Quick question: what is {np}?", "My teacher asked me for {np}. What is it?",
    "I need {np} for a quiz.", "Remind me of {np}.", "Hey, what is {np}?", "Any idea what {np} is?",
    "I want to learn {np}.", "Do you happen to know {np}?", "Say, what is {np}?",
)  # fmt: skip

# {do} is a request in the infinitive: "make tea", "tell me a story".
OPENERS = ("Hi! ", "Hello. ", "Hey, ", "Please: ", "One more thing. ", "Okay. ", "A question: ")
CLOSERS = (" Thanks!", " Thank you.", " Please help.", " I am curious.")


def lower_first(text: str) -> str:
    """The text with its first letter lowered, unless the first word is I or an abbreviation."""
    first = text.split(" ", maxsplit=1)[0].rstrip(",.'")
    return text if first in ("I", "I'm") or (len(first) > 1 and first.isupper()) else text[:1].lower() + text[1:]


def dress(rng: random.Random, text: str) -> str:
    """The question as one person or another would type it; about half stay as they are."""
    roll = rng.random()
    if roll < 0.52:
        return text
    if roll < 0.62:
        opener = rng.choice(OPENERS)
        return opener + (text if opener[-2] in ".!" else lower_first(text))
    if roll < 0.70:
        return text + rng.choice(CLOSERS)
    if roll < 0.84:
        return lower_first(text)
    if roll < 0.94:
        return lower_first(text).rstrip("?.!")
    return lower_first(text).rstrip("?.!") + rng.choice(("??", " pls", " please", "..."))
