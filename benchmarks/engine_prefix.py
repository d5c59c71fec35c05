"""How much sooner the second turn of a conversation begins because its first was read before.

A conversation of 400 tokens is answered with 16; the next turn adds 32 tokens of a question. Its time to the first
token is taken on an engine that has just answered the first turn, and for a conversation of equal length that the
engine has never seen. Both in turn, on one idle engine, many times; each conversation is used once. The answers must be
those of an engine that has seen nothing. Target: at least 5 times sooner.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from _common import machine, parser, report, say, spread

TURN, ANSWER, QUESTION, CONTEXT = 400, 16, 32, 1024


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--size", default="12M", choices=("5.5M", "12M", "135M"))
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--threads", type=int, default=0, help="0: the cores there are")
    options.add_argument(
        "--weights", default="fp32", help="of our engine: fp32, bf16, int8, or default: what the engine chooses"
    )
    chosen = options.parse_args()
    from chatwright.machine import prepare_process

    prepare_process()
    facts = machine()
    import numpy as np

    rng = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as folder:
        threads = chosen.threads or facts["cores"]
        engine, fresh = (new_engine(Path(folder), chosen.size, chosen.weights, threads) for _ in range(2))
        reused, computed, cached, equal = [], [], [], True
        for turn in range(chosen.rounds + 2):

            def text(length: int) -> list[int]:
                return rng.integers(10, 300, length).tolist()

            first = text(TURN)
            _, answer, _ = ask(engine, first, ANSWER)
            second = [*first, *answer, *text(QUESTION)]
            with_reuse, said, found = ask(engine, second, ANSWER)
            without, _, _ = ask(engine, text(len(second)), 1)
            _, expected, _ = ask(fresh, second, ANSWER)
            equal &= said == expected
            if turn >= 2:  # two to warm up
                reused.append(with_reuse * 1000)
                computed.append(without * 1000)
                cached.append(found)
                say(f"{with_reuse * 1000:.2f} ms with {found} tokens reused, {without * 1000:.2f} ms without")
    ratio = [b / a for a, b in zip(reused, computed, strict=True)]
    report("engine_prefix", size=chosen.size, weights=chosen.weights, threads=threads, prompt_tokens=len(second),
           first_token_ms={"reused": spread(reused), "computed": spread(computed)}, ratio=spread(ratio),
           cached_tokens=spread(cached), same_answers_as_a_fresh_engine=bool(equal), target=">= 5",
           machine=facts)  # fmt: skip


def new_engine(folder: Path, size: str, weights: str, threads: int) -> Any:
    """An engine over a model of random weights; nothing ends an answer early."""
    from chatwright.engine import Engine
    from chatwright.machine import use_threads
    from chatwright.model.checkpoint import load_checkpoint, save_checkpoint
    from chatwright.model.decoder import Decoder, initialise
    from chatwright.model.shape import Shape
    from chatwright.model.tokenizer import Tokenizer
    from engine_speed import SIZES

    use_threads(threads)
    if not (folder / "config.json").exists():
        shape = Shape(head_width=64, context=CONTEXT, tie_embeddings=True, **SIZES[size])
        tokenizer = Tokenizer.train(["the old mill stands by the river and the miller sings of flour"] * 20, 300)
        save_checkpoint(folder, initialise(Decoder(shape), 1), tokenizer)
    found = load_checkpoint(folder)
    found.template.stop_ids = frozenset()
    kind: dict[str, Any] = {}
    if weights != "default":
        from chatwright.engine.native.runner import NativeRunner

        kind["runner"] = NativeRunner(found.model, 5, CONTEXT, weights=weights, threads=threads)  # type: ignore[arg-type]
    return Engine(found.model, found.tokenizer, found.template, max_batch=4, context=CONTEXT, **kind)


def ask(engine: Any, tokens: list[int], new: int) -> tuple[float, list[int], int]:
    """(seconds to the first token, the answer, prompt tokens that were not computed again)."""
    from chatwright.engine import Request, SamplingParams

    start = time.perf_counter()
    engine.submit(Request(tuple(tokens), SamplingParams(max_tokens=new, temperature=0.0)))
    first, answer, cached = 0.0, [], 0
    while engine.busy:
        for step in engine.step():
            if not answer:
                first, cached = time.perf_counter() - start, getattr(step, "cached", 0)
            answer.append(step.token)
    return first, answer, cached


if __name__ == "__main__":
    main()
