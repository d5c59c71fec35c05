"""What bounds generation on this machine: bytes a token over the rate at which memory is read.

Each token of one stream reads every weight once, so tokens a second cannot exceed bandwidth over the bytes of the
weights. The rates are measured by adding up numbers: of 8 MB, which the shared cache holds, and of 512 MB, which only
memory does. With more streams the same bytes serve all of them, until multiplications or the key-value cache bound:
its bytes a token are printed too.
"""

from __future__ import annotations

import statistics
import time

from _common import machine, parser, report, say
from engine_speed import SIZES

BYTES = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0 + 4 / 64}  # int8: a bfloat16 scale and a sum for each group of 64
CACHE_BYTES = {"fp32": 4, "bf16": 2, "int8": 2}


def read_rate(megabytes: int, threads: int, seconds: float) -> float:
    """Gigabytes a second, the median of many sums."""
    import torch

    torch.set_num_threads(threads)
    numbers = torch.ones(megabytes << 18)
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while len(rates) < 5 or time.perf_counter() < end:
        started = time.perf_counter()
        numbers.sum()
        rates.append(numbers.nbytes / (time.perf_counter() - started) / 1e9)
    return statistics.median(rates)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=2.0, help="of reading, for each of the four rates")
    chosen = options.parse_args()
    rates = {
        f"{place}, {threads} threads": round(read_rate(size, threads, chosen.seconds), 1)
        for place, size in (("cache", 8), ("memory", 512))
        for threads in (1, 2)
    }
    say(str(rates))
    limits = {}
    for name, size in SIZES.items():
        width, heads = size["width"], (size["heads"] + 2 * size["kv_heads"]) * 64
        block = width * heads + size["heads"] * 64 * width + 3 * width * size["mlp_width"]
        weights = size["layers"] * block + size["vocab_size"] * width
        kept = 2 * size["layers"] * size["kv_heads"] * 64
        limits[name] = {
            kind: {
                "megabytes_a_token": round(weights * each / 1e6, 1),
                "cache_kilobytes_a_position": round(kept * CACHE_BYTES[kind] / 1e3, 1),
                "tokens_a_second_at_most": {k: round(rate * 1e9 / (weights * each)) for k, rate in rates.items()},
            }
            for kind, each in BYTES.items()
        }  # fmt: skip
    report("engine_limits", read_gigabytes_a_second=rates, limits=limits, machine=machine())


if __name__ == "__main__":
    main()
