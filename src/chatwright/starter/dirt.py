"""What a raw corpus is full of, planted on purpose and remembered, so that curation can be scored."""

from __future__ import annotations

import random
import re
import string

from chatwright.starter import people
from chatwright.starter.shingles import jaccard, shingles

_SWAPS = ("indeed", "truly", "often", "here", "surely", "today", "perhaps", "again")


def near_duplicate(rng: random.Random, text: str) -> str | None:
    """`text` with a word or two changed or put in; None where it is too short to stay above Jaccard 0.8."""
    spans = list(re.finditer(r"(?<= )[a-z]{3,}(?= )", text))
    if len(spans) < 20:
        return None
    for _ in range(10):
        span = rng.choice(spans)
        word = rng.choice(_SWAPS)
        changed = text[: span.start()] + (word if rng.random() < 0.5 else f"{word} {span.group()}") + text[span.end() :]
        if rng.random() < 0.5:
            changed = f"{changed} {rng.choice(('Read more soon.', 'That is true.', 'End of text.'))}"
        if changed != text and 0.82 <= jaccard(shingles(text), shingles(changed)) < 1.0:
            return changed
    return None


_NOTICES = (
    "We use cookies to make this site better. By clicking accept you agree to our use of cookies. Read "
    "our cookie policy for details.",
    "Please log in or sign up to continue reading. Forgot your password? Click here to reset it. New "
    "here? Create a free account.",
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore "
    "et dolore magna aliqua.",
    "JavaScript is disabled in your browser. Please enable JavaScript to use this site, then reload the page.",
    "Subscribe to our newsletter and never miss a post. Share this on social media. Terms of use. "
    "Privacy policy. All rights reserved.",
    "Your cart is empty. Continue shopping. Free shipping on all orders over 50 euros. Terms of use "
    "apply. Privacy policy. Contact us.",
)
_LINKS = (
    "Home",
    "About",
    "Contact",
    "Login",
    "Sign up",
    "Terms of use",
    "Privacy policy",
    "Cookie policy",
    "Next page",
    "Share",
    "Search",
    "Back to top",
)


def boilerplate(rng: random.Random) -> str:
    """A notice or two and a row of links around it."""
    links = rng.sample(_LINKS, rng.randint(5, 9))
    lines = [
        " | ".join(links),
        *rng.sample(_NOTICES, rng.choice((1, 2))),
        f"Page {rng.randint(1, 9000)} of {rng.randint(9001, 9999)}",
    ]
    rng.shuffle(lines)
    return "\n".join(lines)


def gibberish(rng: random.Random) -> str:
    """Random letters, symbols, or one line again and again."""
    kind = rng.randrange(3)
    if kind == 0:
        consonants = "bcdfghjklmnpqrstvwxzq"
        return " ".join("".join(rng.choices(consonants, k=rng.randint(2, 14))) for _ in range(rng.randint(30, 70)))
    if kind == 1:
        symbols = string.punctuation + string.digits
        return " ".join("".join(rng.choices(symbols, k=rng.randint(1, 8))) for _ in range(rng.randint(30, 70)))
    line = f"BUY NOW {rng.choice(('cheap', 'best', 'free', 'hot'))} deal {rng.randint(100, 99999)} click here"
    return "\n".join([line] * rng.randint(8, 20))


_CARRIERS = {
    "email": ("Write to {x} with questions.", "You can reach {n} at {x}.", "Contact: {x}."),
    "phone": ("Call {x} after noon.", "The number of {n} is {x}.", "Phone: {x}."),
    "ip": ("The server at {x} keeps a copy.", "It was sent from {x}.", "Host address: {x}."),
    "card": ("{n} paid with card {x}.", "Card number: {x}.", "The card {x} was used."),
    "iban": ("Send the fee to {x}.", "Account: {x}.", "{n} gave the account {x}."),
}  # fmt: skip


def personal_data(rng: random.Random, text: str) -> tuple[str, list[str]]:
    """(text with one or two personal strings put between its sentences, the strings); all are obvious fakes."""
    planted = []
    for kind in rng.sample(sorted(_CARRIERS), rng.choice((1, 1, 2))):
        name = rng.choice(people.NAMES)
        value = _value(rng, kind, name)
        planted.append(value)
        sentence = rng.choice(_CARRIERS[kind]).replace("{x}", value).replace("{n}", name)
        ends = [m.end() for m in re.finditer(r"\.(?= [A-Z])", text)]
        cut = rng.choice(ends) if ends else len(text)
        text = f"{text[:cut]} {sentence}{text[cut:]}"
    return text, planted


def _value(rng: random.Random, kind: str, name: str) -> str:
    if kind == "email":
        family = rng.choice(("smith", "lopez", "weber", "rossi", "novak"))
        user = f"{name.lower()}{rng.choice(('', '.', '_'))}{family}{rng.randint(1, 99)}"
        return f"{user}@example.{rng.choice(('com', 'org', 'net'))}"
    if kind == "phone":
        area, last = rng.randint(201, 989), rng.randint(100, 199)
        return rng.choice((f"({area}) 555-0{last}", f"{area}-555-0{last}", f"+1 {area} 555 0{last}"))
    if kind == "ip":
        return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randint(1, 254)}"  # RFC 5737
    if kind == "card":
        digits = "4000" + "".join(rng.choices(string.digits, k=11))
        digits += _luhn_digit(digits)
        return rng.choice(
            (
                digits,
                " ".join(digits[i : i + 4] for i in range(0, 16, 4)),
                "-".join(digits[i : i + 4] for i in range(0, 16, 4)),
            )
        )
    account = "00000000" + "".join(rng.choices(string.digits, k=10))
    check = 98 - int(f"{account}131400") % 97  # ISO 13616: DE00 moved to the end, letters as numbers
    return f"DE{check:02d}{account}"


def _luhn_digit(digits: str) -> str:
    """The check digit that makes `digits` a valid card number (ISO/IEC 7812-1, annex B)."""
    total = 0
    for i, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if i % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)
