"""One engine that generates when it is asked: ours, transformers, llama.cpp (three ways) or vLLM.

Called as a program it is a worker (see `_common`): `python benchmarks/_generation.py PEER FOLDER THREADS`, with the
Python that has the peer. FOLDER holds `model/` and GGUF files beside it, as `engine_speed.py` writes them. Each order
`{"streams", "new"}` generates `new` tokens greedily after that many prompts of 16 tokens, all at once, and answers with
the seconds, and with the tokens of the first stream.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _common import obey

PROMPT = 16
CONTEXT = 256
MOST_STREAMS = 16
Generate = Callable[[list[list[int]], int], "list[list[int]] | None"]


def prompts(streams: int) -> list[list[int]]:
    """The same for every peer, and different for every stream."""
    rng = random.Random(7)
    return [[rng.randrange(10, 300) for _ in range(PROMPT)] for _ in range(streams)]


def ours(weights: str) -> Callable[[Path, int], Generate]:
    """Our engine in this process; the one place that knows how it is built."""

    def start(folder: Path, threads: int) -> Generate:
        from chatwright.machine import prepare_process, use_threads

        prepare_process()
        use_threads(threads)
        from chatwright.engine import Engine, Request, SamplingParams
        from chatwright.model.checkpoint import load_checkpoint

        found = load_checkpoint(folder / "model")
        found.template.stop_ids = frozenset()
        kind: dict[str, Any] = {}
        if weights != "default":
            from chatwright.engine.native.runner import NativeRunner

            kind["runner"] = NativeRunner(found.model, MOST_STREAMS + 1, CONTEXT, weights=weights, threads=threads)
        engine = Engine(found.model, found.tokenizer, found.template, max_batch=MOST_STREAMS, context=CONTEXT, **kind)

        def generate(texts: list[list[int]], new: int) -> list[list[int]]:
            asked = [Request(tuple(text), SamplingParams(max_tokens=new, temperature=0.0)) for text in texts]
            return [list(answer.tokens) for answer in engine.generate(asked)]

        return generate

    return start


def transformers(dtype: str) -> Callable[[Path, int], Generate]:
    def start(folder: Path, threads: int) -> Generate:
        import torch
        import transformers as library

        torch.set_num_threads(threads)
        kind = getattr(torch, dtype)
        model = library.AutoModelForCausalLM.from_pretrained(folder / "model", dtype=kind).eval()
        model.generation_config = library.GenerationConfig(do_sample=False, pad_token_id=0)

        def generate(texts: list[list[int]], new: int) -> list[list[int]]:
            with torch.inference_mode():
                whole = model.generate(torch.tensor(texts), max_new_tokens=new, min_new_tokens=new)
            return whole[:, PROMPT:].tolist()

        return generate

    return start


def llama_cpp_python(type_: str) -> Callable[[Path, int], Generate]:
    """One stream after another: its high-level class knows no batches."""

    def start(folder: Path, threads: int) -> Generate:
        import llama_cpp

        model = llama_cpp.Llama(str(folder / f"{type_}.gguf"), n_ctx=CONTEXT, n_threads=threads, n_batch=CONTEXT,
                                n_threads_batch=threads, verbose=False)  # fmt: skip

        def generate(texts: list[list[int]], new: int) -> list[list[int]]:
            answers = []
            for text in texts:
                stream = model.generate(text, top_k=1, temp=0.0, repeat_penalty=1.0, reset=True)
                answers.append([token for token, _ in zip(stream, range(new), strict=False)])
            return answers

        return generate

    return start


def llama_bench(type_: str) -> Callable[[Path, int], Generate]:
    """llama.cpp's own benchmark: one stream, no prompt, no sampling; it takes its own time."""

    def start(folder: Path, threads: int) -> Generate:
        words = [os.environ["LLAMA_BENCH"], "-m", str(folder / f"{type_}.gguf"), "-t", str(threads), "-p", "0",
                 "-r", "1", "-o", "json"]  # fmt: skip

        def generate(texts: list[list[int]], new: int) -> None:
            done = subprocess.run([*words, "-n", str(new)], capture_output=True, text=True, check=True)
            generate.seconds = new / json.loads(done.stdout)[0]["avg_ts"]  # type: ignore[attr-defined]

        return generate

    return start


def llama_server(type_: str) -> Callable[[Path, int], Generate]:
    """llama.cpp's server with a slot for every stream, asked over loopback; its prompts are not kept."""

    def start(folder: Path, threads: int) -> Generate:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        words = [os.environ["LLAMA_SERVER"], "-m", str(folder / f"{type_}.gguf"), "--host", "127.0.0.1", "--port",
                 str(port), "-t", str(threads), "-np", str(MOST_STREAMS), "-c",
                 str(MOST_STREAMS * CONTEXT)]  # fmt: skip
        server = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=_die_together,  # noqa: PLW1509 - no other thread runs yet
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        while not _healthy(url):
            if server.poll() is not None:
                raise SystemExit(f"llama-server ended with code {server.returncode}")
            time.sleep(0.05)
        pool = ThreadPoolExecutor(MOST_STREAMS)

        def ask(text: list[int], new: int) -> list[int]:
            order = {"prompt": text, "n_predict": new, "temperature": 0.0, "ignore_eos": True, "cache_prompt": False,
                     "return_tokens": True}  # fmt: skip
            request = urllib.request.Request(f"{url}/completion", json.dumps(order).encode(),
                                             {"Content-Type": "application/json"})  # fmt: skip
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)["tokens"]

        return lambda texts, new: list(pool.map(lambda text: ask(text, new), texts))

    return start


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _die_together() -> None:
    """A worker that is ended takes its server with it (Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def vllm(folder: Path, threads: int) -> Generate:
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import vllm as library

    model = library.LLM(str(folder / "model"), dtype="bfloat16", max_model_len=CONTEXT, max_num_seqs=MOST_STREAMS,
                        skip_tokenizer_init=True, enable_prefix_caching=False)  # fmt: skip

    def generate(texts: list[list[int]], new: int) -> list[list[int]]:
        sampling = library.SamplingParams(temperature=0.0, max_tokens=new, ignore_eos=True, detokenize=False)
        asked = [{"prompt_token_ids": text} for text in texts]
        return [list(one.outputs[0].token_ids) for one in model.generate(asked, sampling, use_tqdm=False)]

    return generate


PEERS: dict[str, Callable[[Path, int], Generate]] = {
    "ours-fp32": ours("fp32"),
    "ours-bf16": ours("bf16"),
    "ours-int8": ours("int8"),
    "ours-default": ours("default"),
    "transformers-fp32": transformers("float32"),
    "transformers-bf16": transformers("bfloat16"),
    "llama-cpp-python-f16": llama_cpp_python("f16"),
    "llama-cpp-python-q8_0": llama_cpp_python("q8_0"),
    "llama-bench-f16": llama_bench("f16"),
    "llama-bench-q8_0": llama_bench("q8_0"),
    "llama-server-f16": llama_server("f16"),
    "llama-server-q8_0": llama_server("q8_0"),
    "vllm-bf16": vllm,
}


def main() -> None:
    peer, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    # Libraries that print, from C too, must not speak between the lines of JSON.
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        generate = PEERS[peer](folder, threads)
    except ImportError as error:
        obey({"absent": str(error)}, lambda _: {})
        return

    def block(order: dict[str, Any]) -> dict[str, Any]:
        texts, new = prompts(order["streams"]), order["new"]
        start = time.perf_counter()
        answers = generate(texts, new)
        seconds = getattr(generate, "seconds", time.perf_counter() - start)
        if answers is not None and any(len(answer) != new for answer in answers):
            raise SystemExit(f"{peer} gave {[len(answer) for answer in answers]} tokens, asked for {new}")
        return {"seconds": seconds, "tokens": answers[0] if answers else None}

    obey({"peer": peer}, block)


if __name__ == "__main__":
    main()
