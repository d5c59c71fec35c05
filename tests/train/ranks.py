"""One rank of a distributed run, started by torchrun: `ranks.py FOLDER`.

Runs the jobs of FOLDER/jobs.json one behind the other in one process group: {"name", "stage", "sharding", "changes",
"kill_at"}. Each leaves its artefact and its losses in FOLDER/name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from tests.train.worlds import STAGES, KillAt, Killed, Steps

from chatwright.train.distributed import World


def main() -> None:
    root = Path(sys.argv[1])
    torch.set_num_threads(1)
    with World.start() as joined:
        for job in json.loads((root / "jobs.json").read_text()):
            world = World(joined.rank, joined.size, joined.device, job["sharding"])
            folder, run = root / job["name"], STAGES[job["stage"]]
            if job["kill_at"]:
                try:
                    run(folder, KillAt(job["stage"], job["kill_at"]), world, **job["changes"])
                except Killed:
                    continue
                raise AssertionError("the run ended before it was to be killed")
            steps = Steps()
            run(folder, steps, world, **job["changes"])
            if world.main:
                (folder / "losses.json").write_text(json.dumps(steps.losses))
    print(f"rank {joined.rank} of {joined.size} is done")


if __name__ == "__main__":
    main()
