"""What this machine has, and how a process should use it. Nothing here imports torch until it must.

Two OpenMP threads that spin at barriers collapse by 5 to 60 times as soon as another process needs a core, and threads
that sleep at once lose a third of their speed on small matrices. So every Chatwright process that computes calls
`prepare_process()` before torch is imported: threads spin for some microseconds and then sleep, and the allocator keeps
large blocks instead of giving them back to the kernel after each step (measured: docs/notebook.md).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "bf16"]

# mallopt(3) parameter numbers of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def prepare_process() -> None:
    """Sets the wait policy and the allocator; must run before the first `import torch` to take effect."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TOP_PAD, 1 << 27)
    except (OSError, AttributeError):  # not glibc: the defaults of that C library stay
        pass


def available_cores() -> int:
    """Cores this process may use: its affinity, cut by a container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cores


def use_threads(wanted: int = 0) -> int:
    """Gives torch `wanted` threads, or one per available core where 0; returns how many."""
    import torch

    threads = wanted or available_cores()
    torch.set_num_threads(threads)
    return threads


def default_device() -> str:
    """`cuda:<local rank>` where there is one, else `cpu`."""
    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def compute_dtype(precision: Precision, device: str) -> torch.dtype:
    """The dtype of activations. `auto` takes bfloat16 only where the hardware multiplies it faster than float32."""
    import torch

    if precision == "fp32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32
