"""One rank of a watched PPO run, started by torchrun: `watched.py FOLDER SHARDING`; what it makes is in FOLDER/out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from tests.train.test_gold_measure import HELD_OUT, grade, run

from chatwright.train.distributed import World
from chatwright.train.gold_measure import GoldCheck

if __name__ == "__main__":
    torch.set_num_threads(1)
    with World.start(cast(Any, sys.argv[2])) as ranks:
        run(Path(sys.argv[1]), Path(sys.argv[1]) / "out", check=GoldCheck(HELD_OUT, grade), ranks=ranks)
