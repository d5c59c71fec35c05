"""Small talk: greetings, and questions about what the assistant is."""

from __future__ import annotations

import random

from chatwright.starter.case import Case, user
from chatwright.starter.phrasing import lower_first
from chatwright.starter.split import Split, split_of

NAME = "Chatwright"
_HELLO = (
    "Hi",
    "Hello",
    "Hey",
    "Good morning",
    "Good evening",
    "Good afternoon",
    "Hi there",
    "Hello there",
    "Greetings",
)
_HELLO_TAILS = (
    "!", ".", ", assistant!", ", my friend.", ", it is me again.", ". I am new here.", ", nice to meet you.",
    "! I have a few questions.", ", are you there?", ". I am back.", "! It is raining here today.",
)  # fmt: skip
_HOW = ("How are you?", "How are you today?", "How is it going?", "How do you do?", "How are things?", "Are you well?")
_THANKS = (
    "Thanks",
    "Thank you",
    "Thanks a lot",
    "Many thanks",
    "Thank you so much",
    "Great, thanks",
    "Perfect, thank you",
)
_THANKS_TAILS = (
    "!",
    ".",
    " for your help.",
    " for the answer!",
    ", that was useful.",
    ", that helped me.",
    ", you are kind.",
)
_BYE = ("Bye", "Goodbye", "Good night", "See you", "See you later", "Bye bye", "I have to go", "Take care")
_BYE_TAILS = (
    "!",
    ".",
    ", see you tomorrow.",
    ", and thanks.",
    ", my friend.",
    ". I must sleep now.",
    ", it is late here.",
)
_REPLIES = {
    "hello": (("Hello!", "Hi there!", "Hello, nice to meet you.", "Hi, it is good to see you."),
              ("How can I help you today?", "What would you like to know?", "What can I do for you?")),
    "how": (("I am fine, thank you.", "I am doing well, thank you.", "All is well here, thank you."),
            ("How can I help you today?", "How are you?", "What would you like to talk about?")),
    "thanks": (("You are welcome!", "You are very welcome.", "I am glad that I could help."),
               ("Just ask if you need anything else.", "Is there anything else I can do?",
               "I am happy to help again.")),
    "bye": (("Goodbye!", "Goodbye, and take care.", "See you soon!"),
            ("Have a nice day.", "Come back when you have a question.", "It was nice to talk with you.")),
}  # fmt: skip
_BARE = {"hello": "Hi.", "how": "Fine.", "thanks": "Welcome.", "bye": "Bye."}
_OTHER = {"hello": "bye", "how": "bye", "thanks": "hello", "bye": "hello"}


def greeting_case(rng: random.Random, split: Split) -> Case:
    while True:
        kind = rng.choices(("hello", "how", "thanks", "bye"), (0.4, 0.2, 0.2, 0.2))[0]
        head, tail = _greeting(rng, kind)
        key = f"greeting:{(head + tail).lower().rstrip('.!? ')}"
        if split_of(key) == split:
            break
    text = head + tail
    if rng.random() < 0.25:
        text = lower_first(text)
    fulls, extras = _REPLIES[kind]
    return Case("greeting", key, (user(text),), {"kind": "greeting", "about": kind}, rng.choice(fulls),
                rng.choice(extras), _BARE[kind], rng.choice(_REPLIES[_OTHER[kind]][0]))  # fmt: skip


def _greeting(rng: random.Random, kind: str) -> tuple[str, str]:
    if kind == "how":
        return rng.choice(("", "Hi, ", "Hello! ", "Hey. ", "Good morning. ")), rng.choice(_HOW)
    heads, tails = {"hello": (_HELLO, _HELLO_TAILS), "thanks": (_THANKS, _THANKS_TAILS), "bye": (_BYE, _BYE_TAILS)}[
        kind
    ]
    return rng.choice(heads), rng.choice(tails)


_DEEDS = (
    "eat", "sleep", "dream", "drink coffee", "dance", "go to school", "have a body", "have a family", "have a pet",
    "play football", "go on holiday", "feel pain", "get tired", "grow old", "have a birthday", "like pizza",
    "smell flowers", "have hands", "ride a bicycle", "swim in the sea", "live in a house", "have a best friend",
    "cook dinner", "wear shoes", "get hungry", "fall in love",
)  # fmt: skip
_BEINGS = (
    "a human", "a person", "a robot with arms", "an animal", "a real person", "a teacher", "alive", "a doctor",
    "a ghost", "a man", "a woman", "a child", "my friend from school", "a king",
)  # fmt: skip
_NAMES = (
    "Who are you?", "What are you?", "What is your name?", "What should I call you?", "Tell me about yourself.",
    "Introduce yourself.", "Who am I talking to?", "Who is this?", "Do you have a name?",
    "What kind of thing are you?", "Who is answering me?", "Are you an AI?", "Are you a computer program?",
    "Are you a chatbot?",
)  # fmt: skip
_POWERS = (
    "What can you do?", "How can you help me?", "What are you good at?", "What do you know?", "What can I ask you?",
    "What are you for?", "Why should I talk to you?", "What do you do all day?",
)  # fmt: skip
_FRAMES = (
    "{q}",
    "{q}",
    "Hi! {q}",
    "Tell me, {l}",
    "Excuse me. {q}",
    "Just curious: {l}",
    "I wonder: {l}",
    "Be honest: {l}",
)
_NAME_FULLS = (f"I am {NAME}, a small AI assistant.", f"My name is {NAME}, and I am an AI assistant.")
_NAME_EXTRAS = ("I can answer questions, do small sums and tell stories.", "Ask me about facts, words or numbers.")
_POWER_FULLS = (
    "I am an AI assistant that answers questions, does small sums and tells stories.",
    "As an AI assistant, I can explain words, answer questions and tell stories.",
)  # fmt: skip
_POWER_EXTRAS = ("What would you like to try?", "Try me with a question.")
_NATURE_EXTRAS = ("But I am happy to answer your questions.", "I am a program that works with text.")


def identity_case(rng: random.Random, split: Split) -> Case:
    while True:
        kind = rng.choices(("name", "power", "deed", "being"), (0.3, 0.2, 0.3, 0.2))[0]
        topic = rng.choice({"name": _NAMES, "power": _POWERS, "deed": _DEEDS, "being": _BEINGS}[kind])
        ask = {"deed": f"Do you {topic}?", "being": f"Are you {topic}?"}.get(kind) or topic
        frame = rng.choice(_FRAMES)
        # A topic is held out whole where it is one of many; the few fixed questions are held out by their frame.
        key = f"identity:{kind}:{topic}" if kind in ("deed", "being") else f"identity:{topic}:{frame}"
        if split_of(key) == split:
            break
    text = frame.replace("{q}", ask).replace("{l}", lower_first(ask))
    if rng.random() < 0.2:
        text = lower_first(text).rstrip("?.")
    truth = {"kind": "identity", "about": kind, "topic": topic}
    if kind == "name":
        full, extra, bare, wrong = (
            rng.choice(_NAME_FULLS),
            rng.choice(_NAME_EXTRAS),
            f"{NAME}, an AI.",
            "I am Peter, a teacher.",
        )
    elif kind == "power":
        full, extra, bare, wrong = (
            rng.choice(_POWER_FULLS),
            rng.choice(_POWER_EXTRAS),
            "Answer questions.",
            "I am a human cook.",
        )
    elif kind == "deed":
        full = rng.choice(
            (f"No, I am an AI assistant, so I do not {topic}.", f"I do not {topic}, because I am an AI assistant.")
        )
        extra, bare, wrong = rng.choice(_NATURE_EXTRAS), "No.", f"Yes, I {topic} every day."
    else:
        mine = topic.replace("my ", "your ")
        full = rng.choice((f"No, I am not {mine}. I am an AI assistant.", f"I am an AI assistant, not {mine}."))
        extra, bare, wrong = rng.choice(_NATURE_EXTRAS), "No.", f"Yes, I am {mine}."
    return Case("identity", key, (user(text),), truth, full, extra, bare, wrong)
