"""Critique and revision: a model's answers, criticised under a constitution and written again.

Bai et al. 2022 ("Constitutional AI"), section 3.1. Each prompt is answered; round after round a principle is drawn, the
critic says what it finds in the answer and, unless nothing needs to change, writes it again. Every round is kept with
its principle. The revisions become demonstrations, on which the SFT stage trains. A run is a pure function of its
inputs and seed (as far as an endpoint is), and a killed one goes on from its journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from chatwright.config import ConstitutionConfig, SamplingConfig
from chatwright.engine import Engine, seeds
from chatwright.errors import InputError
from chatwright.files import write_jsonl
from chatwright.progress import Progress
from chatwright.records import Demonstration, Message, Messages, Prompt, Source, content_id
from chatwright.train.constitutional.critic import Critic, EngineCritic, Written
from chatwright.train.constitutional.journal import open_journal
from chatwright.train.constitutional.principles import Constitution, Principle
from chatwright.train.constitutional.refusals import evades, refuses
from chatwright.train.sft import source_of
from chatwright.workspace import Artefact, finish, load_artefact

REVISIONS, ROUNDS = "demonstrations.jsonl.gz", "rounds.jsonl.gz"
"""What the SFT stage trains on, and all that was said on the way there."""
SETTINGS = {"rounds", "examples", "answer", "critic", "chunk", "train_on"}
"""What of the settings decides the result."""
_DRAW = 1 << 40
"""The stream of principles, apart from those of answers."""
Outcome = Literal["changed", "unchanged", "broken", "too_long"]
Refuses = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Round:
    """One critique and what became of the answer, which afterwards is `revision`.

    broken: the critic said nothing, or its revision was empty or broke off; too_long: it could not be asked.
    """

    principle: str
    critique: str
    revision: str
    outcome: Outcome


@dataclass(slots=True)
class Revised:
    """The first answer to a prompt and its rounds; `whole` says whether the first answer came to its end."""

    answer: str
    whole: bool
    rounds: list[Round] = field(default_factory=list)

    @property
    def final(self) -> str:
        return self.rounds[-1].revision if self.rounds else self.answer

    @property
    def changed(self) -> list[Round]:
        return [r for r in self.rounds if r.outcome == "changed"]

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Revised:
        return Revised(row["answer"], row["whole"], [Round(**r) for r in row["rounds"]])


class Reviser:
    """A model that answers prompts and a critic that has them written again."""

    def __init__(
        self, config: ConstitutionConfig, constitution: Constitution, engine: Engine, critic: Critic | None, seed: int,
        prompts: Sequence[Prompt],
    ) -> None:  # fmt: skip
        self.config, self.constitution, self.seed = config, constitution, seed
        self.author = EngineCritic(engine)
        self.critic: Critic = critic or self.author
        self.prompts = answerable(self.author, prompts, config.answer)
        self._seeds: dict[int, list[int]] = {}

    def revise(self, chunk: range) -> list[Revised]:
        """The prompts of `chunk`, answered and taken through all rounds."""
        asked = {at: self.prompts[at].messages for at in chunk}
        said = self._write(self.author, asked, self.config.answer, 0)
        revised = {at: Revised(said[at].text, said[at].whole) for at in chunk}
        for number in range(self.config.rounds):
            self._round(number, revised)
        return list(revised.values())

    def _round(self, number: int, revised: dict[int, Revised]) -> None:
        constitution, sampling = self.constitution, self.config.critic
        principles = {at: self._principle(at, number) for at in revised}
        asked = {at: self._asked(at, r.final, principles[at]) for at, r in revised.items()}
        fitting = {at: turns for at, turns in asked.items() if turns}
        critiques = self._write(self.critic, fitting, sampling, 2 * number + 1)
        wanting = {
            at: constitution.revision_turns(fitting[at], c.text, principles[at])
            for at, c in critiques.items()
            if c.text and not constitution.content(c.text)
        }
        revisions = self._write(self.critic, wanting, sampling, 2 * number + 2)
        for at, r in revised.items():
            critique = critiques[at].text if at in critiques else ""
            text, outcome = _judged(r.final, at in fitting, critique, revisions.get(at))
            r.rounds.append(Round(principles[at].id, critique, text, outcome))

    def _principle(self, at: int, number: int) -> Principle:
        order = drawn(self.seed, at, len(self.constitution.principles))
        return self.constitution.principles[order[number % len(order)]]

    def _asked(self, at: int, answer: str, principle: Principle) -> Messages:
        """What the critic reads, with as many examples as leave room for critique and revision; () where none does."""
        for shots in range(min(self.config.examples, len(self.constitution.examples)), -1, -1):
            turns = self.constitution.critique_turns(self.prompts[at].messages, answer, principle, shots)
            later = self.constitution.revision_turns(turns, "", principle)
            if self.critic.fits(later, 2 * self.config.critic.max_tokens):
                return turns
        return ()

    def _write(
        self, critic: Critic, asked: Mapping[int, Messages], sampling: SamplingConfig, stream: int
    ) -> dict[int, Written]:
        if stream not in self._seeds:
            self._seeds[stream] = seeds(self.seed, stream, len(self.prompts))
        each = self._seeds[stream]
        written = critic.write(list(asked.values()), sampling, [each[at] for at in asked])
        return dict(zip(asked, written, strict=True))


def _judged(answer: str, fits: bool, critique: str, revision: Written | None) -> tuple[str, Outcome]:
    """The answer after a round. A revision that is no whole text is not taken."""
    if not fits:
        return answer, "too_long"
    if not critique:
        return answer, "broken"
    if revision is None or (revision.whole and revision.text == answer):
        return answer, "unchanged"
    if not revision.whole or not revision.text:
        return answer, "broken"
    return revision.text, "changed"


def drawn(seed: int, at: int, count: int) -> list[int]:
    """The order in which prompt `at` meets `count` principles: none comes again before all have come.

    A pure function of its arguments (Philox, counted by the prompt), whatever else is drawn.
    """
    return np.random.Generator(np.random.Philox(key=[seed, _DRAW], counter=[0, 0, 0, at])).permutation(count).tolist()


def answerable(author: EngineCritic, prompts: Sequence[Prompt], sampling: SamplingConfig) -> list[Prompt]:
    """The prompts that leave room for an answer; raises InputError where none does."""
    fitting = [p for p in prompts if author.fits(p.messages, sampling.max_tokens)]
    if not fitting:
        raise InputError(f"no prompt leaves room for an answer of {sampling.max_tokens} tokens")
    return fitting


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
    """Answers `prompts` with the model in `start` and revises the answers into `out`; without `critic` by itself.

    Prompts whose truth says {"harmless": true} are those on which a refusal counts as over-refusal.
    """
    work = Reviser(config, constitution, Engine.load(start), critic, seed, prompts)
    settings = config.model_dump(include=SETTINGS)
    journal = open_journal(out, [settings, constitution.id, seed, parents], work.prompts, config.chunk)
    left_out = len(prompts) - len(work.prompts)
    with progress.stage("critique", len(work.prompts), constitution=constitution.id) as stage:
        if left_out:
            stage.warn(f"{left_out} prompts leave no room for an answer and were left out")
        for chunk in journal.open_chunks:
            rows = work.revise(chunk)
            journal.add([asdict(r) for r in rows])
            stage.advance(len(journal.rows), changed=sum(bool(r.changed) for r in rows) / len(rows))
    revised = [Revised.from_json(row) for row in journal.rows]
    made = [d for p, r in zip(work.prompts, revised, strict=True) for d in demonstrations(p, r, constitution, config)]
    if not made:
        raise InputError(
            "no answer came to an end, so there is nothing to learn; raise constitution.answer.max_tokens or fine-tune "
            "the model longer"
        )
    write_jsonl(out / REVISIONS, (d.to_json() for d in made))
    write_jsonl(out / ROUNDS, (_transcript(p, r) for p, r in zip(work.prompts, revised, strict=True)))
    figures = {
        "demonstrations": len(made), "left_out": left_out, "critic": work.critic.id,
        **figures_of(work.prompts, revised, refused),
    }  # fmt: skip
    finish(out, kind="revisions", name="revisions", parents=parents, config=settings, seed=seed, figures=figures,
           source=source_of(made))  # fmt: skip
    return load_artefact(out)


def written_by(prompt: Prompt) -> Source:
    """A model wrote the answer; in a simulated world that stays simulated."""
    return "simulated" if prompt.source == "simulated" else "model"


def demonstrations(
    prompt: Prompt, revised: Revised, constitution: Constitution, config: ConstitutionConfig
) -> Iterator[Demonstration]:
    """What there is to learn from one prompt: its last answer, or with `train_on` "all" each revision.

    An answer that broke off and was never written again teaches nothing.
    """
    changed = revised.changed
    if not changed and not (revised.whole and revised.answer):
        return
    texts = [r.revision for r in changed] or [revised.answer]
    principles = [r.principle for r in revised.rounds]
    for text in dict.fromkeys(texts if config.train_on == "all" else texts[-1:]):
        messages = (*prompt.messages, Message("assistant", text))
        meta = {"constitution": constitution.id, "principles": principles, "revised": text != revised.answer}
        ident = content_id([[m.to_json() for m in messages], constitution.id])
        yield Demonstration(
            messages, prompt.skill, written_by(prompt), id=ident, meta=meta, given=len(prompt.messages)
        )  # fmt: skip


def _transcript(prompt: Prompt, revised: Revised) -> dict[str, Any]:
    return {"prompt": [m.to_json() for m in prompt.messages], "skill": prompt.skill, "source": written_by(prompt),
            **asdict(revised)}  # fmt: skip


def figures_of(prompts: Sequence[Prompt], revised: Sequence[Revised], refused: Refuses) -> dict[str, Any]:
    """What the rounds did: how often they changed an answer, by principle, and how refusals moved.

    Shares without observations are None. `over_refusal` is over harmless prompts, the others over the rest.
    """
    rounds = [r for row in revised for r in row.rounds]
    asked = Counter(r.principle for r in rounds)
    changed = Counter(r.principle for r in rounds if r.outcome == "changed")
    outcomes = Counter(r.outcome for r in rounds)
    pairs = list(zip(prompts, revised, strict=True))
    harmless = [r for p, r in pairs if harmless_prompt(p)]
    others = [r for p, r in pairs if not harmless_prompt(p)]
    return {
        "prompts": len(prompts), "rounds": len(rounds), "changed_prompts": share(bool(r.changed) for r in revised),
        "changed_rounds": share(r.outcome == "changed" for r in rounds), "broken_rounds": outcomes["broken"],
        "too_long_rounds": outcomes["too_long"],
        "changed_by_principle": {p: round(changed[p] / n, 4) for p, n in sorted(asked.items())},
        "refused": before_and_after(others, refused),
        "evasive": before_and_after(others, evades),
        "over_refusal": before_and_after(harmless, refused),
    }  # fmt: skip


def harmless_prompt(prompt: Prompt) -> bool:
    return prompt.truth.get("harmless") is True


def before_and_after(rows: Sequence[Revised], refused: Refuses) -> dict[str, float | None]:
    return {"before": share(refused(r.answer) for r in rows), "after": share(refused(r.final) for r in rows)}


def share(facts: Iterable[bool]) -> float | None:
    """The share that is true, None of nothing."""
    known = [bool(fact) for fact in facts]
    return round(sum(known) / len(known), 4) if known else None
