"""Online DPO: the policy answers, the reward model ranks, DPO learns from that ranking, and again.

Each round begins where the last one ended and takes its start as reference (iterative DPO; Xiong et al. 2024). Rounds
are ordinary artefacts, so a killed run finds what it had finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chatwright.config import EnsembleConfig
from chatwright.cycle.run import Run, dpo_aligned, read_all
from chatwright.engine import Engine, SamplingParams, answer
from chatwright.errors import InputError
from chatwright.files import write_jsonl
from chatwright.machine import compute_dtype
from chatwright.model.packing import deal
from chatwright.records import Comparison, Prompt, content_id
from chatwright.train.judges import load_judges
from chatwright.train.sft import source_of
from chatwright.workspace import Artefact, finish


def online_dpo(
    run: Run, start: Artefact, reward: Artefact, prompts: Sequence[Prompt], data: dict[str, str]
) -> Artefact:
    """The policy after `online.rounds` rounds from `start`; `data` names where `prompts` come from."""
    if not prompts:
        raise InputError("online DPO needs prompts to answer")
    policy = start
    for number in range(run.settings.online.rounds):
        ranked = _ranked(run, policy, reward, prompts, data, number)
        rows = read_all([ranked.path / "comparisons.jsonl.gz"], Comparison.from_json, whole=True)
        policy = dpo_aligned(run, policy, rows, {"comparisons": ranked.id})
    return policy


def _ranked(
    run: Run, policy: Artefact, reward: Artefact, prompts: Sequence[Prompt], data: dict[str, str], number: int
) -> Artefact:
    """The comparisons of a round: `online.responses` answers to each of its prompts, ordered by the reward model."""
    config, seed = run.settings.online, run.settings.seed
    parents = {"policy": policy.id, "reward": reward.id, **data}
    count = min(config.prompts, len(prompts))
    chosen = [prompts[i] for i in deal(len(prompts), count, number, seed)]

    def make(out: Path) -> None:
        engine = Engine.load(policy.path)
        sampling = SamplingParams(max_tokens=config.max_tokens, temperature=config.temperature)
        asked = [p for p in chosen for _ in range(config.responses)]
        with run.progress.stage("rank", len(asked)) as stage:
            said = answer(
                engine, [p.messages for p in asked], sampling, seed=seed, stream=1000 + number, on_done=stage.advance
            )
        texts = [completion.text.strip() for completion in said]
        judges = load_judges(reward.path, EnsembleConfig(), policy.path).to(str(engine.device))
        scores = judges.grade(engine.template, asked, texts, compute_dtype("auto", str(engine.device)))
        comparisons = [
            ranked_by_scores(p, texts[at : at + config.responses], scores[at : at + config.responses])
            for p, at in zip(chosen, range(0, len(texts), config.responses), strict=True)
        ]
        write_jsonl(out / "comparisons.jsonl.gz", (c.to_json() for c in comparisons))
        figures = {"comparisons": len(comparisons), "pairs": sum(len(c.pairs()) for c in comparisons),
                   "mean_reward": sum(scores) / len(scores)}  # fmt: skip
        finish(out, kind="comparisons", name=f"round {number + 1}", parents=parents, config=config.model_dump(),
               seed=seed, figures=figures, source=source_of(chosen))  # fmt: skip

    return run.artefact("comparisons", config.model_dump() | {"round": number}, parents, make)


def ranked_by_scores(prompt: Prompt, texts: Sequence[str], scores: Sequence[float]) -> Comparison:
    """Best first; equal texts are tied, whatever their place in a batch did to the last bit of their score."""
    first = {text: index for index, text in reversed(list(enumerate(texts)))}
    groups: dict[int, list[int]] = {}
    for index, text in enumerate(texts):
        groups.setdefault(first[text], []).append(index)
    ranking = tuple(tuple(groups[i]) for i in sorted(groups, key=lambda i: (-scores[i], i)))
    ident = content_id([[m.to_json() for m in prompt.messages], list(texts), ranking])
    return Comparison(prompt.messages, tuple(texts), ranking, annotator="reward model", source="model",
                      skill=prompt.skill, id=ident)  # fmt: skip
