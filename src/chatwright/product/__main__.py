"""`python -m chatwright.product --workspace DIR [--settings JSON]`: the gateway as a process of its own.

Prints one JSON line: {"url"} once it listens, or {"error"} where it cannot. With `--stdin-watch` it ends when standard
input ends, so that a gateway started by a build never outlives it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from chatwright.config import ServeConfig
from chatwright.engine.server import end_with_parent
from chatwright.errors import ChatwrightError
from chatwright.product.run import serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chatwright.product", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--settings", default="{}", help="the serve section of the settings as a JSON object")
    parser.add_argument("--stdin-watch", action="store_true", help="end when standard input ends")
    args = parser.parse_args()
    if args.stdin_watch:
        end_with_parent()
    try:
        serve(ServeConfig.model_validate_json(args.settings), args.workspace, announce=True)
    except ChatwrightError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
