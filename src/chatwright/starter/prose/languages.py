"""A slice of Spanish and French: small descriptive texts from the word tables."""

from __future__ import annotations

import random

from chatwright.starter.world import choose_rows, upper_first

_NAMES = ("Ana", "Luis", "María", "Pedro", "Carmen", "Pablo", "Lucía", "Juan", "Elena", "Diego")
_NOMS = ("Anne", "Louis", "Marie", "Pierre", "Claire", "Paul", "Lucie", "Jean", "Hélène", "Hugo")
_ES = (
    "{n} mira {x} por la mañana.", "En el cuento hay un lugar para {x}.", "A {n} le gusta mucho {x}.",
    "Hoy {n} habla de {x}.", "¿Dónde está {x}?", "{X} es importante para {n}.", "{n} piensa en {x} todos los días.",
    "Aquí está {x}, dice {n}.", "La gente busca {x} en la ciudad.", "{n} dibuja {x} en la escuela.",
    "Después {n} encuentra {x}.", "Todos conocen {x}.", "{n} escribe una carta sobre {x}.",
)  # fmt: skip
_FR = (
    "{n} regarde {x} le matin.", "Dans le conte, on trouve {x}.", "{n} aime beaucoup {x}.",
    "Aujourd'hui {n} parle et montre {x}.", "Où est {x} ?", "{X} compte beaucoup pour {n}, dit-on.",
    "{n} cherche {x} tous les jours.", "Voici {x}, dit {n}.", "Les gens veulent voir {x} dans la ville.",
    "{n} dessine {x} à l'école.", "Puis {n} trouve {x}.", "Tout le monde connaît {x}.",
    "{n} écrit un mot et décrit {x}.",
)  # fmt: skip


def spanish(rng: random.Random) -> str:
    return _text(rng, "es", _ES, _NAMES)


def french(rng: random.Random) -> str:
    return _text(rng, "fr", _FR, _NOMS)


def _text(rng: random.Random, column: str, frames: tuple[str, ...], names: tuple[str, ...]) -> str:
    name, other = rng.sample(names, 2)
    rows = choose_rows(rng, "words_es_fr", 9)
    lines = []
    for row, frame in zip(rows, rng.sample(frames, 9), strict=True):
        who = name if rng.random() < 0.7 else other
        lines.append(
            frame.replace("{n}", who)
            .replace("{x}", row[column])
            .replace("{X}", upper_first(row[column]))
            .replace(" de el ", " del ")
        )
    return " ".join(lines)


def vocabulary(rng: random.Random) -> str:
    """English prose about Spanish and French words."""
    lines = []
    for row in choose_rows(rng, "words_es_fr", 6):
        lines.append(
            rng.choice(
                (
                    f"The Spanish word for {row['name']} is {row['es']}, and the French word is {row['fr']}.",
                    f"In Spanish, {row['name']} is {row['es']}.", f"In French, {row['name']} is {row['fr']}.",
                    f"The French word for {row['name']} is {row['fr']}.",
                    f"The Spanish word for {row['name']} is {row['es']}.",
                    f"A child in Madrid says {row['es']}, one in Paris {row['fr']}, and both mean {row['name']}.",
                    f"{upper_first(row['es'])} means {row['name']} in Spanish.",
                    f"{upper_first(row['fr'])} means {row['name']} in French.",
                )
            )
        )  # fmt: skip
    return " ".join(lines)
