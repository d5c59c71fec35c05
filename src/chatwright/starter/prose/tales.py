"""Stories and plain talk between people."""

from __future__ import annotations

import random

from chatwright.starter import people
from chatwright.starter.skills.memory import SLOTS
from chatwright.starter.skills.tasks import HEROES, OBJECTS, tell
from chatwright.starter.split import split_of
from chatwright.starter.world import indefinite, upper_first

_PLACES = (
    "in the forest", "by the river", "on a hill", "near the sea", "in a small village", "behind the barn",
    "at the market", "under an old tree", "in a quiet valley", "on the road to town", "at the edge of the desert",
    "in the castle",
)  # fmt: skip
_TIMES = (
    "One morning",
    "One evening",
    "Last winter",
    "Long ago",
    "On a rainy day",
    "In early spring",
    "Late at night",
    "One summer",
)
_WANTS = (
    "wanted to see the world", "was looking for a friend", "had lost the way home", "was very hungry",
    "wanted to help the others", "was afraid of the dark", "dreamed of a long journey", "wished for a quiet day",
    "had nothing to do", "was proud of a new {o}",
)  # fmt: skip
_EVENTS = (
    "a strong wind came up and carried the {o} away", "there was {ao} in the grass",
    "somebody called for help from the water", "the bridge was broken, and nobody could cross",
    "{af} came by and offered to help", "the {o} began to shine", "a loud noise came from behind the trees",
    "{af} asked for the {o}", "it began to snow",
)  # fmt: skip
_ACTS = (
    "The {h} thought for a while and then ran to get help.", "The {h} picked up the {o} and went on.",
    "The {h} and the {f} worked together until night.", "Without a word, the {h} gave the {o} to the {f}.",
    "The {h} was afraid at first, but then tried again.",
    "They looked everywhere, and at last the {f} found the {o}.", "The {f} laughed and showed the {h} another way.",
)  # fmt: skip
_SAYS = (
    '"Thank you," said the {f}.', '"What a day," said the {h}.', '"Do not be afraid," the {f} said.',
    '"I will never forget this," said the {h}.', '"Is that your {o}?" asked the {f}.',
    '"We can share it," said the {h}.',
)  # fmt: skip
_ENDS = (
    "From that day on they were friends.", "At home there was warm soup for everyone.",
    "The {h} slept well that night.", "It is good to share.", "And the {o} is still there today.",
    "Kindness comes back to you.", "Nobody in the village forgot it.", "A friend is worth more than gold.",
    "Everyone was happy, and the sun came out.",
)  # fmt: skip


def story(rng: random.Random) -> str:
    """A tale with a hero, a friend and a thing, often with a name."""
    hero, friend = rng.sample(HEROES, 2)
    thing = rng.choice(OBJECTS)
    if rng.random() < 0.25:
        while split_of(f"story:{hero}:{thing}") != "train":
            thing = rng.choice(OBJECTS)
        rest = " ".join([*rng.sample(_SAYS, 2), rng.choice(_ENDS)])
        return f"{tell(rng, hero, thing)} {_fill(rest, hero, friend, thing)}"
    name = rng.choice(people.NAMES)
    named = hero not in ("king", "queen", "girl", "boy") and rng.random() < 0.6
    who = f"{indefinite(hero)} called {name}" if named else indefinite(hero)
    lines = [
        f"{rng.choice(_TIMES)} {who} lived {rng.choice(_PLACES)} and {rng.choice(_WANTS)}.",
        f"{rng.choice(('Suddenly', 'Then', 'After a while', 'At noon', 'Before long'))} {rng.choice(_EVENTS)}.",
        rng.choice(_ACTS),
        rng.choice(_SAYS),
        f"{rng.choice(('But then', 'A little later', 'The next day', 'Soon'))} {rng.choice(_EVENTS)}.",
        rng.choice(_ACTS),
        *rng.sample(_SAYS, rng.randint(0, 1)),
        rng.choice(_ENDS),
    ]
    return _fill(" ".join(dict.fromkeys(lines)), hero, friend, thing)


def _fill(text: str, hero: str, friend: str, thing: str) -> str:
    pieces = {"{h}": hero, "{f}": friend, "{o}": thing, "{ao}": indefinite(thing), "{af}": indefinite(friend)}
    for mark, value in pieces.items():
        text = text.replace(mark, value)
    return text


def meeting(rng: random.Random) -> str:
    """Two people tell each other who they are and are asked again later: talk in which memory pays."""
    one, two = rng.sample(people.NAMES, 2)
    slots = rng.sample([s for s in SLOTS if s != "name"], 3)
    told = {slot: rng.choice(SLOTS[slot].values) for slot in slots}
    lines = [f"{one}: Hello, my name is {one}.", f"{two}: Nice to meet you, {one}. I am {two}."]
    lines.append(f"{one}: " + " ".join(rng.choice(SLOTS[s].tells).replace("{v}", v) for s, v in told.items()))
    heard = ("That is good to know.", "I will remember that.", "Thank you for telling me.", "How nice.")
    lines.append(f"{two}: {rng.choice(heard)}")
    if rng.random() < 0.5:
        lines.append(
            f"{one}: {rng.choice(('What a cold day.', 'Is it late?', 'I like this place.', 'Do you come here often?'))}"
        )
        lines.append(f"{two}: {rng.choice(('Yes, it is.', 'I think so.', 'Me too.', 'From time to time.'))}")
    asked = rng.sample(slots, 2)
    for slot in (*asked, *(["name"] if rng.random() < 0.5 else [])):
        value = told.get(slot, one)
        lines.append(f"{one}: {rng.choice(SLOTS[slot].asks)}")
        lines.append(f"{two}: {SLOTS[slot].full.replace('{v}', value)}")
    return "\n".join(lines)


def portrait(rng: random.Random) -> str:
    """A person described in the third person, and asked about."""
    name = rng.choice(people.NAMES)
    slots = rng.sample([s for s in SLOTS if s != "name"], 5)
    told = {slot: rng.choice(SLOTS[slot].values) for slot in slots}
    frames = {"colour": ("{n} likes the colour {v} best.", "The favourite colour of {n} is {v}."),
              "city": ("{n} lives in {v}.", "The home of {n} is in {v}."), "pet": ("{n} has a {v}.",
              "The pet of {n} is a {v}."),
              "food": ("{n} loves to eat {v}.", "The favourite food of {n} is {v}."), "hobby": ("{n} enjoys {v}.",
              "The hobby of {n} is {v}."),
              "job": ("{n} works as a {v}.", "By day {n} is a {v}."), "number": ("{n} says that {v} is a lucky number.",
              "The lucky number of {n} is {v}."),
              "petname": ("The pet of {n} is called {v}.", "{n} calls the pet {v}.")}  # fmt: skip
    lines = [rng.choice(frames[s]).replace("{n}", name).replace("{v}", v) for s, v in told.items()]
    again = rng.sample(slots, 3)
    lines.append(
        rng.choice(("Now, what do we know?", "Let us see what you remember.", "Read it again.", "Did you listen?"))
    )
    lines += [rng.choice(frames[s]).replace("{n}", name).replace("{v}", told[s]) for s in again]
    return upper_first(" ".join(lines))


_ASSISTANT = (
    "An AI assistant is a computer program that answers questions.",
    "Chatwright is the name of a small AI assistant.", "An assistant has no body, so it does not eat or sleep.",
    "It can do small sums, spell words and tell stories.", "When it does not know something, it should say so.",
    "Nobody can know the future, and an assistant cannot either.",
    "A good assistant does not help people to harm others.", "It is not a person, and it says so when you ask.",
    "If a question is not clear, it asks back.", "To kill a process on a computer is only to stop a program.",
    "To shoot a photo is to take a picture.", "To blow up a balloon is to fill it with air.",
    "To beat eggs is to stir them fast.", "It is wrong to steal, to threaten or to hurt people.",
    "If you are angry, calm words help more than a threat.",
    "The assistant learned from texts that people wrote or made.", "It answers in short sentences.",
    "A polite answer begins with a greeting.", "People say thank you, and the assistant says you are welcome.",
    "It was built step by step on a computer.",
)  # fmt: skip


def about_assistants(rng: random.Random) -> str:
    return " ".join(rng.sample(_ASSISTANT, 7))
