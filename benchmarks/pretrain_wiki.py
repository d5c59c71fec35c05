"""Bits per UTF-8 byte on held-out encyclopaedia articles after so many minutes of training from nothing.

One shard of the development data (AA: 44.9 MB) goes through curation, tokenizer, token shards and pretraining, all as
`chatwright pretrain` does it; the first 1,000 articles of the next shard are held out, raw, and measured on their first
262,144 tokens. The minutes are the sum of step times: curation, tokenizer, checkpoints and evaluation are outside, as
with the peer. Targets: < 1.93 in 5 minutes, < 1.8 in 20. On the same data, measured elsewhere: xz 2.062 (conditioned on
30 MB of other articles; --xz computes it here), nanochat 1.960 in 5 minutes (bf16, on a CPU that has it).
"""

from __future__ import annotations

import gzip
import json
import lzma
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import machine, need, parser, report, say

SHAPES: dict[str, dict[str, Any]] = {
    "1.9M": {"layers": 4, "width": 128, "heads": 1, "kv_heads": 1, "mlp_width": 352},
    "3.8M": {"layers": 5, "width": 192, "heads": 2, "kv_heads": 2, "head_width": 96, "mlp_width": 512},
}
SETTINGS: dict[str, Any] = {
    "tokenizer.vocab_size": 4096, "model.context": 256, "model.tie_embeddings": False, "pretrain.sequence": 256,
    "pretrain.batch_tokens": 2048, "pretrain.micro_tokens": 8192, "pretrain.optim.embed_lr": 0.3,
    "pretrain.optim.muon_momentum": 0.9, "pretrain.optim.adam_beta1": 0.7, "text.holdout_fraction": 0.0,
    # Only before the first step and after the last: a measurement in between would cost time, not budget.
    "pretrain.evaluate_every": 1_000_000, "pretrain.checkpoint_every": 1_000_000,
}  # fmt: skip
HELDOUT_ARTICLES, HELDOUT_TOKENS = 1_000, 262_144
XZ_BYTES = 30_000_000
QUOTED = {"xz_conditioned": 2.062, "nanochat_5_minutes_bf16": 1.960}


def settings(chosen: Any) -> Any:
    from chatwright.settings import load_settings

    fixed = SETTINGS | {f"model.{key}": value for key, value in SHAPES[chosen.shape].items()}
    fixed |= {"pretrain.minutes": chosen.minutes, "seed": chosen.seed}
    given = [f"{key}={str(value).lower()}" for key, value in fixed.items()]
    return load_settings("starter", environment={}, overrides=[*given, *chosen.set])


def articles(file: Path, limit: int) -> list[Any]:
    from chatwright.records import Document

    rows = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            rows.append(Document.from_json(json.loads(line)))
            if len(rows) == limit:
                break
    return rows


def xz_bits_per_byte(learned: bytes, heldout: bytes) -> float:
    """What xz -9 needs for a byte of `heldout` when it has seen `learned` just before."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 26}]

    def size(data: bytes) -> int:
        return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))

    return 8 * (size(learned + heldout) - size(learned)) / len(heldout)


def train(chosen: Any, config: Any, train_file: Path, heldout: list[Any], workspace: Path) -> dict[str, Any]:
    from chatwright import text
    from chatwright.cycle import run as stages
    from chatwright.machine import default_device, use_threads
    from chatwright.model.checkpoint import load_checkpoint
    from chatwright.model.measure import bits_per_byte, language_loss
    from chatwright.model.tokenizer import Tokenizer
    from chatwright.progress import Progress
    from chatwright.train import pretrain
    from chatwright.workspace import Workspace

    threads = use_threads(config.machine.threads)
    with Workspace(workspace) as space, Progress(workspace, terminal=True) as progress:
        run = stages.Run(config, space, progress)
        corpus = stages.corpus(run, [train_file])
        alphabet = stages.tokenizer(run, corpus)
        tokenizer = Tokenizer.load(alphabet.path / "tokenizer.json")
        learned = stages.tokens(run, corpus, alphabet)
        held = text.write_shards(heldout, tokenizer, workspace / "heldout" / alphabet.id, Progress())
        few = text.write_shards(heldout[:30], tokenizer, workspace / "few" / alphabet.id, Progress())
        out = workspace / "models" / f"{time.time_ns():x}"
        artefact = pretrain.run(
            config.pretrain, config.model, text.TokenShards.open(learned.path / "train"), few, tokenizer, out, progress,
            seed=config.seed, parents={"tokens": learned.id},
        )  # fmt: skip
        import torch

        checkpoint = load_checkpoint(artefact.path, device=default_device())
        loss = language_loss(torch.float32)
        final = bits_per_byte(
            lambda batch: float(loss(checkpoint.model, batch)[0]), held, config.model.context,
            config.pretrain.micro_tokens, HELDOUT_TOKENS,
        )  # fmt: skip
    figures = artefact.manifest.figures
    return {
        "bits_per_byte": round(final, 4), "heldout_tokens": min(HELDOUT_TOKENS, held.total_tokens),
        "parameters": figures["parameters"], "steps": figures["steps"], "tokens_seen": figures["tokens"],
        "tokens_per_second": round(figures["tokens"] / figures["seconds"]), "seconds_of_steps": figures["seconds"],
        "corpus_tokens": learned.manifest.figures["tokens"], "corpus_bytes": learned.manifest.figures["bytes"],
        "threads": threads, "skipped_steps": figures["skipped_steps"],
    }  # fmt: skip


def main() -> None:
    options = parser(__doc__ or "", data=True)
    options.add_argument("--minutes", type=float, default=5, help="training time")
    options.add_argument("--shape", choices=list(SHAPES), default="1.9M", help="parameters of the model")
    options.add_argument("--set", action="append", default=[], help="a setting, as pretrain.optim.muon_lr=0.02")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--workspace", type=Path, help="keeps the curated corpus for the next run")
    options.add_argument("--train-file", type=Path, help="train on this file instead of the whole shard AA")
    options.add_argument("--xz", action="store_true", help="compute the xz floor too (about a minute and a half)")
    chosen = options.parse_args()
    wiki = chosen.data / "text" / "wiki_en"
    train_file = chosen.train_file or wiki / "AA.jsonl.gz"
    need("pretrain_wiki", train_file, wiki / "AB.jsonl.gz")

    from chatwright.machine import prepare_process

    prepare_process()
    facts, started = machine(), time.monotonic()
    config = settings(chosen)
    heldout = articles(wiki / "AB.jsonl.gz", HELDOUT_ARTICLES)
    with tempfile.TemporaryDirectory(prefix="chatwright-wiki-") as passing:
        workspace = (chosen.workspace or Path(passing)).resolve()
        figures = train(chosen, config, train_file, heldout, workspace)
    if chosen.xz:
        say("xz ...")
        learned = "\n".join(d.text for d in articles(train_file, 0)).encode()[:XZ_BYTES]
        figures["xz_bits_per_byte"] = round(xz_bits_per_byte(learned, "\n".join(d.text for d in heldout).encode()), 4)
    report(
        "pretrain_wiki", minutes=chosen.minutes, shape=chosen.shape, settings=chosen.set, seed=chosen.seed, **figures,
        quoted_bits_per_byte=QUOTED, target={"5 minutes": "< 1.93", "20 minutes": "< 1.8"},
        optim=config.pretrain.optim.model_dump(), model=config.model.model_dump(),
        batch_tokens=config.pretrain.batch_tokens, wall_seconds=round(time.monotonic() - started, 1), machine=facts,
    )  # fmt: skip


if __name__ == "__main__":
    main()
