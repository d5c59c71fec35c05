"""Compiles the C beside this file for this processor, and keeps the result for the next time.

The library lies in the user's cache under a name made of source, flags, compiler and processor, so that a change of
any of them makes a new one, and is put there whole, so that two processes that build at once do not disturb each other.
It ends with a digest of itself, which the loader passes over: mapping a file that was cut short can kill the process.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

FLAGS = ("-O3", "-std=gnu11", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared", "-pthread")
FOLDER = Path(__file__).parent
PATIENCE_SECONDS = 300
DIGEST_BYTES = 32
log = logging.getLogger(__name__)


class NoCompiler(Exception):
    """The library cannot be had here; the message says why, for people."""


def cache_folder() -> Path:
    """`$CHATWRIGHT_CACHE`, else `chatwright` in the user's cache. Raises RuntimeError for a user without a home."""
    if named := os.environ.get("CHATWRIGHT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chatwright"


def compiled(flags: tuple[str, ...] = FLAGS) -> ctypes.CDLL:
    """The compiled library; raises NoCompiler where it cannot be built. CC names another compiler.

    Tried once in a process: where it failed it is not tried again.
    """
    made = _once(flags)
    if isinstance(made, NoCompiler):
        raise made
    return made


@functools.cache
def _once(flags: tuple[str, ...]) -> ctypes.CDLL | NoCompiler:
    try:
        return _build(flags)
    except NoCompiler as error:
        return error


def _build(flags: tuple[str, ...]) -> ctypes.CDLL:
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompiler("there is no C compiler here (gcc or clang)")
    try:
        key = _key(compiler, flags)
        if (found := _kept(key)) is not None:
            return _declared(ctypes.CDLL(str(found)))
        with tempfile.TemporaryDirectory() as folder:  # a library that is loaded needs its file no longer
            made = Path(folder) / f"{key}.so"
            _compile(compiler, flags, made)
            _keep(made)
            return _declared(ctypes.CDLL(str(made)))
    except (OSError, subprocess.SubprocessError) as error:
        raise NoCompiler(f"{compiler} could not build the compiled runner ({error})") from None


def _key(compiler: str, flags: tuple[str, ...]) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=PATIENCE_SECONDS).stdout
    digest = hashlib.sha256(version + " ".join(flags).encode() + _processor())
    for source in sorted(FOLDER.glob("*.[ch]")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def _processor() -> bytes:
    """What tells processors apart: a cache may be shared by machines, and code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
        return b"".join(sorted({line for line in lines if line.startswith((b"flags", b"Features", b"model name"))}))
    except OSError:
        return f"{platform.machine()} {platform.processor()}".encode()


def _compile(compiler: str, flags: tuple[str, ...], made: Path) -> None:
    command = [compiler, *flags, str(FOLDER / "decoder.c"), str(FOLDER / "draw.c"), "-o", str(made), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    if done.returncode != 0:
        raise NoCompiler(f"{compiler} could not build the compiled runner: {done.stderr.strip()[:300]}")


def _kept(key: str) -> Path | None:
    """The library of this key in the cache, where it is there and whole."""
    try:
        file = cache_folder() / "native" / f"{key}.so"
        content = file.read_bytes()
    except (OSError, RuntimeError):
        return None
    return file if hashlib.sha256(content[:-DIGEST_BYTES]).digest() == content[-DIGEST_BYTES:] else None


def _keep(made: Path) -> None:
    """Puts a new library into the cache, for the next time. Where that fails, a warning says that it will be slow."""
    try:
        folder = cache_folder() / "native"
        folder.mkdir(parents=True, exist_ok=True)
        content = made.read_bytes()
        with tempfile.TemporaryDirectory(dir=folder) as own:
            file = Path(own) / made.name
            file.write_bytes(content + hashlib.sha256(content).digest())
            os.replace(file, folder / made.name)
    except (OSError, RuntimeError) as error:
        log.warning("the compiled runner could not be kept (%s): every start will compile it again", error)


class Shape(ctypes.Structure):
    """`Shape` of model.h, field for field."""

    _fields_ = [
        *((name, ctypes.c_int) for name in (
            "vocab", "layers", "width", "heads", "kv_heads", "head_width", "mlp_width", "slots", "context", "window",
            "qkv_bias", "qk_norm", "format", "threads", "most_rows",
        )),
        ("norm_eps", ctypes.c_float),
    ]  # fmt: skip


def _declared(made: ctypes.CDLL) -> ctypes.CDLL:
    """Argument types, so that pointers are passed whole."""
    pointer, whole = ctypes.c_void_p, ctypes.c_int
    made.model_new.restype, made.model_new.argtypes = pointer, [ctypes.POINTER(Shape), pointer]
    made.model_free.restype, made.model_free.argtypes = None, [pointer]
    made.model_set.restype, made.model_set.argtypes = None, [pointer, whole, whole, pointer]
    made.model_forward.restype = None
    made.model_forward.argtypes = [pointer, whole, pointer, pointer, pointer, whole, pointer, pointer, pointer]
    made.model_copy.restype, made.model_copy.argtypes = None, [pointer, whole, whole, whole]
    made.model_threads.restype, made.model_threads.argtypes = whole, [pointer]
    made.draw.restype, made.draw.argtypes = None, [whole, whole, *[pointer] * 10]
    return made
