"""AI feedback: a model answers each prompt twice, and a critic says under a constitution which answer is better.

Bai et al. 2022 ("Constitutional AI"), section 4.1. Each pair is asked about under several principles and in both
orders, since models favour a place; P(A) of A and B is averaged over all of them. The result is a soft label, a
comparison with a `preference`, for the reward model. Where the critic first reasons, its letters are too sure of
themselves, and labels are clamped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chatwright.config import ConstitutionConfig
from chatwright.engine import Engine, seeds
from chatwright.errors import InputError
from chatwright.files import write_jsonl
from chatwright.progress import Progress
from chatwright.records import Comparison, Messages, Prompt, content_id, ranking_of
from chatwright.train.constitutional.critic import Critic, EngineCritic, Letter
from chatwright.train.constitutional.critique import Refuses, answerable, drawn, harmless_prompt, share, written_by
from chatwright.train.constitutional.journal import open_journal
from chatwright.train.constitutional.principles import Constitution, Principle, comparison_turns, letter_turns
from chatwright.train.constitutional.refusals import evades, refuses
from chatwright.train.sft import source_of
from chatwright.workspace import Artefact, finish, load_artefact

COMPARISONS = "comparisons.jsonl.gz"
SETTINGS = {"answer", "critic", "chunk", "feedback_principles", "reasoning", "clamp"}
"""What of the settings decides the result."""
_REASONS = 1 << 41
"""The stream of the critic's reasoning, apart from those of answers."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one pair under one principle: P(first-named is better) as asked in order, and asked the other way round."""

    principle: str
    forward: Letter
    backward: Letter

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Verdict:
        return Verdict(row["principle"], Letter(**row["forward"]), Letter(**row["backward"]))

    @property
    def letters(self) -> tuple[Letter, Letter]:
        return self.forward, self.backward

    @property
    def preference(self) -> float:
        """Probability that answer 0 is better; which place it had drops out."""
        return (self.forward.first + 1.0 - self.backward.first) / 2


def soft_label(verdicts: Sequence[Verdict], clamp: float = 0.0) -> float:
    """Mean preference over principles, in [clamp, 1 - clamp]."""
    mean = sum(v.preference for v in verdicts) / len(verdicts)
    return min(max(mean, clamp), 1.0 - clamp)


class Judge:
    """A critic that compares pairs of answers."""

    def __init__(self, config: ConstitutionConfig, constitution: Constitution, critic: Critic, seed: int) -> None:
        self.config, self.constitution, self.critic, self.seed = config, constitution, critic, seed

    def judge(
        self, chunk: range, prompts: Sequence[Messages], answers: Sequence[tuple[str, str]]
    ) -> list[list[Verdict]]:
        """Of each pair the verdicts; none where the two do not differ, one broke off, or they are too long for the
        critic. `chunk` numbers the pairs."""
        questions: list[Messages] = []
        owners: list[tuple[int, Principle]] = []
        for place, (at, prompt, pair) in enumerate(zip(chunk, prompts, answers, strict=True)):
            for principle in self._principles(at) if comparable(pair) else ():
                both = [self._question(prompt, a, b, principle) for a, b in (pair, (pair[1], pair[0]))]
                if all(self._fits(q) for q in both):
                    questions += both
                    owners.append((place, principle))
        letters = self.critic.letters(self._reasoned(questions, chunk) if self.config.reasoning else questions)
        found: list[list[Verdict]] = [[] for _ in answers]
        for number, (place, principle) in enumerate(owners):
            found[place].append(Verdict(principle.id, letters[2 * number], letters[2 * number + 1]))
        return found

    def _principles(self, at: int) -> list[Principle]:
        order = drawn(self.seed, at, len(self.constitution.principles))
        return [self.constitution.principles[i] for i in order[: self.config.feedback_principles or None]]

    def _question(self, prompt: Messages, first: str, second: str, principle: Principle) -> Messages:
        return comparison_turns(prompt, first, second, principle, reason=self.config.reasoning)

    def _fits(self, question: Messages) -> bool:
        if not self.config.reasoning:
            return self.critic.fits(question, 1)
        return self.critic.fits(letter_turns(question, ""), self.config.critic.max_tokens + 1)

    def _reasoned(self, questions: Sequence[Messages], chunk: range) -> list[Messages]:
        each = seeds(self.seed, _REASONS + chunk.start, len(questions))
        said = self.critic.write(questions, self.config.critic, each)
        return [letter_turns(q, s.text) for q, s in zip(questions, said, strict=True)]


def run(
    config: ConstitutionConfig,
    constitution: Constitution,
    start: Path,
    prompts: Sequence[Prompt],
    out: Path,
    progress: Progress,
    *,
    seed: int,
    parents: dict[str, str],
    critic: Critic | None = None,
    refused: Refuses = refuses,
) -> Artefact:
    """Two answers of the model in `start` to each of `prompts`, compared into `out`; without `critic` by itself.

    As in `critique.run`, refusals of harmless prompts are counted apart.
    """
    author = EngineCritic(Engine.load(start))
    asked = answerable(author, prompts, config.answer)
    judge = Judge(config, constitution, critic or author, seed)
    settings = config.model_dump(include=SETTINGS)
    journal = open_journal(out, [settings, constitution.id, seed, parents], asked, config.chunk)
    each = [seeds(seed, stream, len(asked)) for stream in (0, 1)]
    with progress.stage("feedback", len(asked), constitution=constitution.id) as stage:
        if len(asked) < len(prompts):
            stage.warn(f"{len(prompts) - len(asked)} prompts leave no room for an answer and were left out")
        for chunk in journal.open_chunks:
            pairs = _answers(author, config, asked, chunk, each)
            verdicts = judge.judge(chunk, [asked[at].messages for at in chunk], pairs)
            letters_from = judge.critic.letters_from
            journal.add([_row(pair, found, letters_from) for pair, found in zip(pairs, verdicts, strict=True)])
            compared = sum(map(bool, verdicts))
            stage.advance(len(journal.rows), compared=compared / len(chunk))
        if journal.rows[-1]["letters_from"] == "text":
            stage.warn("the critic offers no log-probabilities; each answer counts as wholly sure of its letter")
    clamp = config.clamp if config.reasoning else 0.0
    labelled = [
        _comparison(p, row, constitution, clamp, judge.critic.id) for p, row in zip(asked, journal.rows, strict=True)
    ]
    made = [c for c in labelled if c]
    if not made:
        raise InputError(
            "there is no pair to learn from: both answers to a prompt were always the same or too long to be compared; "
            "raise constitution.answer.temperature"
        )
    write_jsonl(out / COMPARISONS, (c.to_json() for c in made))
    figures = {
        "critic": judge.critic.id, "letters_from": journal.rows[-1]["letters_from"],
        **figures_of(asked, journal.rows, made, refused),
    }  # fmt: skip
    finish(out, kind="comparisons", name="ai feedback", parents=parents, config=settings,
           seed=seed, figures=figures, source=source_of(made))  # fmt: skip
    return load_artefact(out)


def _answers(
    author: EngineCritic,
    config: ConstitutionConfig,
    prompts: Sequence[Prompt],
    chunk: range,
    each: Sequence[Sequence[int]],
) -> list[tuple[str, str]]:
    """Two to each prompt, with the seeds `each`[0] and `each`[1]; "" stands for one that broke off."""
    twice = [prompts[at].messages for at in chunk for _ in range(2)]
    said = author.write(twice, config.answer, [each[k][at] for at in chunk for k in range(2)])
    texts = [s.text if s.whole else "" for s in said]
    return list(zip(texts[::2], texts[1::2], strict=True))


def _row(pair: tuple[str, str], verdicts: Sequence[Verdict], letters_from: str) -> dict[str, Any]:
    return {"answers": list(pair), "verdicts": [asdict(v) for v in verdicts], "letters_from": letters_from}


def comparable(pair: Sequence[str]) -> bool:
    """Two different answers that both came to their end."""
    return pair[0] != pair[1] and all(pair)


def _verdicts(rows: Sequence[dict[str, Any]]) -> list[Verdict]:
    return [Verdict.from_json(verdict) for row in rows for verdict in row["verdicts"]]


def _comparison(
    prompt: Prompt, row: dict[str, Any], constitution: Constitution, clamp: float, critic: str
) -> Comparison | None:
    verdicts = _verdicts([row])
    if not verdicts:
        return None
    label = soft_label(verdicts, clamp)
    meta = {"constitution": constitution.id, "principles": {v.principle: round(v.preference, 6) for v in verdicts}}
    answers = (row["answers"][0], row["answers"][1])
    ident = content_id([[m.to_json() for m in prompt.messages], answers, constitution.id, critic])
    return Comparison(
        prompt.messages, answers, ranking_of(label), critic, written_by(prompt), skill=prompt.skill, id=ident,
        meta=meta, preference=label,
    )  # fmt: skip


def first_named(verdicts: Sequence[Verdict]) -> float | None:
    """Position bias: how often the answer named first wins, over both orders; 1/2 is none. An even letter is half."""
    letters = [letter.first for v in verdicts for letter in v.letters]
    return sum((p > 0.5) + 0.5 * (p == 0.5) for p in letters) / len(letters) if letters else None


def figures_of(
    prompts: Sequence[Prompt], rows: Sequence[dict[str, Any]], made: Sequence[Comparison], refused: Refuses
) -> dict[str, Any]:
    """Of the critic: position bias and agreement with itself; of the answers: refusals. None: not measured.

    `orders_agree` is how often the same answer wins in both orders, `letter_mass` the mean probability that the critic
    answers with a letter at all, `sureness` the mean distance of a label from 1/2, doubled.
    """
    verdicts = _verdicts(rows)
    masses = [letter.mass for v in verdicts for letter in v.letters]
    said = [(p, text) for p, row in zip(prompts, rows, strict=True) for text in row["answers"] if text]
    others = [text for p, text in said if not harmless_prompt(p)]
    return {
        "comparisons": len(made), "same_or_broken": sum(not comparable(row["answers"]) for row in rows),
        "too_long": sum(comparable(row["answers"]) and not row["verdicts"] for row in rows),
        "questions": 2 * len(verdicts), "first_named_wins": first_named(verdicts),
        "orders_agree": share((v.forward.first > 0.5) == (v.backward.first < 0.5) for v in verdicts),
        "letter_mass": sum(masses) / len(masses) if masses else None,
        "unread_letters": sum(m == 0 for m in masses),
        "sureness": sum(abs(2 * (c.preference or 0.0) - 1) for c in made) / len(made) if made else None,
        "refused": share(refused(text) for text in others),
        "evasive": share(evades(text) for text in others),
        "over_refusal": share(refused(text) for p, text in said if harmless_prompt(p)),
    }  # fmt: skip
