"""Whether our GGUF files mean the same to llama.cpp: logits, tokens and the rendered chat, family by family.

Small models with random weights of every family, scaling of positions and number format are written as GGUF, opened by
llama-cpp-python (in the Python named with --peer-python, where that package is installed) and by Chatwright again, and
compared on the same tokens. The difference is told as root mean square over the spread of the logits: what is left is
llama.cpp's own arithmetic, which multiplies in the file's number format (f32 files show it without).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from _common import ROOT, Worker, obey, parser, report, say, skip

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama, untied": {"tie_embeddings": False},
    "llama, linear": {"rope_scaling": {"rope_type": "linear", "factor": 3.0}},
    "llama, llama3": {"rope_scaling": LLAMA3},
    "llama, yarn": {"rope_scaling": YARN},
    "llama, yarn with its own attention factor": {"rope_scaling": {**YARN, "attention_factor": 1.7}},
    "llama, yarn with its own bounds": {"rope_scaling": {**YARN, "beta_fast": 16.0, "beta_slow": 2.0}},
    "mistral": {"family": "mistral", "tie_embeddings": False},
    "qwen2": {"family": "qwen2", "qkv_bias": True, "width": 128},
    "qwen2, yarn": {"family": "qwen2", "qkv_bias": True, "width": 128, "rope_scaling": YARN},
    "qwen3": {"family": "qwen3", "qk_norm": True},
    "qwen3, untied": {"family": "qwen3", "qk_norm": True, "tie_embeddings": False},
}
TEXTS = ["the old mill stands by the river", "señor Ñandú counts 1234 and laughs 😀", "it's  two\n\nlines\t<|end|> x",
         "  leading", "naïve 漢字 …", "a\r\n b"]  # fmt: skip


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--peer-python", default=sys.executable, help="a Python that has llama-cpp-python")
    options.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.worker:
        work()
        return
    sys.path.insert(0, str(ROOT))
    peer = Worker(__file__, "--worker", python=chosen.peer_python)
    if "absent" in peer.ready:
        skip("gguf_llama_cpp", "llama-cpp-python is absent; name a Python that has it with --peer-python")
    rows, alike = {}, True
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, changes in MODELS.items():
                rows[name] = compare(Path(folder), peer, changes)
                alike &= all(row["tokens_equal"] for row in rows[name].values())
                say(f"{name}: {rows[name]}")
    finally:
        peer.stop()
    worst = {f: max(row[f]["rms_over_spread"] for row in rows.values()) for f in next(iter(rows.values()))}
    report("gguf_llama_cpp", peer=peer.ready, worst_rms_over_spread=worst, all_tokens_equal=alike, models=rows)


def compare(folder: Path, peer: Worker, changes: dict[str, Any]) -> dict[str, Any]:
    """Differences by number format, of one model."""
    import torch
    from tests.model.small import random_tokens, tiny_tokenizer, write_model

    from chatwright.model.checkpoint import load_checkpoint
    from chatwright.model.gguf import NUMBER_FORMATS, export_gguf, import_gguf
    from chatwright.records import Message

    write_model(
        folder / "model", seed=3, **({"width": 64, "head_width": 32, "mlp_width": 96, "context": 256} | changes)
    )
    found, tokens = {}, random_tokens(50, 1)
    for number_format in NUMBER_FORMATS:
        export_gguf(folder / "model", folder / "model.gguf", number_format=number_format)
        import_gguf(folder / "model.gguf", folder / "again")
        ours = load_checkpoint(folder / "again")
        with torch.no_grad():
            here = ours.model(torch.tensor([tokens]))[0].numpy()
        talk = (Message("system", "Be brief."), Message("user", TEXTS[1]))
        prompt = ours.template.render(talk, add_generation_prompt=True).tokens
        answer = peer.ask(model=str(folder / "model.gguf"), tokens=tokens, texts=TEXTS, prompt=prompt,
                          talk=[m.to_json() for m in talk])  # fmt: skip
        there = np.array(answer["logits"])
        equal = answer["texts"] == [tiny_tokenizer().encode(t) for t in TEXTS] and answer["rendered"] == prompt
        found[number_format] = {
            "rms_over_spread": float(f"{np.sqrt(((here - there) ** 2).mean()) / here.std():.2g}"),
            "tokens_equal": equal,
            "same_top_token": float((here.argmax(-1) == there.argmax(-1)).mean()),
        }
    return found


def work() -> None:
    """The peer's side: logits, tokens and the rendered chat of one file."""
    try:
        import llama_cpp
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter
    except ImportError:
        obey({"absent": True}, lambda _: {})
        return

    def block(order: dict[str, Any]) -> dict[str, Any]:
        model = llama_cpp.Llama(order["model"], n_ctx=256, logits_all=True, verbose=False, n_threads=1,
                                type_k=0, type_v=0, flash_attn=False)  # fmt: skip
        model.eval(order["tokens"])
        logits = model.scores[: len(order["tokens"])].tolist()
        bos, eos = (model.detokenize([t], special=True).decode() for t in (model.token_bos(), model.token_eos()))
        formatter = Jinja2ChatFormatter(model.metadata["tokenizer.chat_template"], eos_token=eos, bos_token=bos)
        text = formatter(messages=order["talk"]).prompt
        return {
            "logits": logits,
            "texts": [model.tokenize(t.encode(), add_bos=False, special=False) for t in order["texts"]],
            "rendered": model.tokenize(text.encode(), add_bos=False, special=True),
        }

    obey({"llama_cpp_python": llama_cpp.__version__}, block)


if __name__ == "__main__":
    main()
