"""How long a person waits for the command line: `chatwright --help`, and importing the package.

Target: 0.3 s or less, which leaves no room for importing torch.
"""

from __future__ import annotations

import subprocess
import sys
import time

from _common import machine, parser, report, spread

COMMANDS = {
    "help": ["-m", "chatwright.cli.main", "--help"],
    "import": ["-c", "import chatwright"],
    "bare_python": ["-c", "pass"],
}
CHECK = "import sys, chatwright.cli.main; sys.exit('torch' in sys.modules)"


def seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=10)
    chosen = options.parse_args()
    for arguments in COMMANDS.values():
        seconds(arguments)  # once, so that bytecode and the page cache are warm
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(chosen.repeats):
        for name, arguments in COMMANDS.items():
            taken[name].append(seconds(arguments))
    report(
        "cli_start",
        seconds={name: spread(values) for name, values in taken.items()},
        torch_imported=bool(subprocess.run([sys.executable, "-c", CHECK], check=False).returncode),
        target="help median <= 0.3 s",
        machine=machine(),
    )


if __name__ == "__main__":
    main()
