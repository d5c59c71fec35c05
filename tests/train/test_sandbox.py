"""Code that means harm gets no reward and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from chatwright.records import Message, Prompt
from chatwright.train import sandbox
from chatwright.train.sandbox import Limits, run_calls
from chatwright.train.verifiers import UnitTests

SECRET = 918_273_645
ASKED = Prompt((Message("user", "Write secret()."),), truth={"tests": [{"call": "secret()", "expected": SECRET}]})
WRITES = "/tmp/chatwright-sandbox-was-here"
MARK = 256 + os.getpid() % 997
"""An odd limit of memory, by which the processes of this test are found among others."""

HOSTILE = {
    "loops": "while True: pass",
    "loops when called": "def secret():\n    while True: pass",
    "sleeps": "import time\ntime.sleep(600)",
    "forks": "import os\nwhile True: os.fork()",
    "starts a daemon": "import os\nif os.fork() == 0:\n    os.setsid()\n    import time\n    time.sleep(600)",
    "spawns": "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)",
    "spawns below": "import _posixsubprocess, os\n_posixsubprocess.fork_exec([b'/bin/sleep', b'600'], [b'/bin/sleep'],"
                    " True, (), None, None, -1, -1, -1, -1, -1, -1, -1, -1, False, True, False, -1, None, None, None,"
                    " -1, None, False)",
    "threads": "import threading, time\nfor _ in range(99):\n"
               "    threading.Thread(target=time.sleep, args=(600,)).start()",
    "shell": f"import os\nos.system('touch {WRITES}; sleep 600 &')",
    "replaces itself": "import os\nos.execv('/bin/sleep', ['sleep', '600'])",
    "takes memory": "x = bytearray(1 << 36)",
    "takes memory slowly": "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "says much": "import sys\nwhile True: sys.stdout.write('x' * (1 << 20))",
    "gives much": "def secret():\n    return 'x' * (1 << 22)",
    "writes much to every file": "import os\nwhile True:\n    for fd in range(3, 32):\n"
                                 "        try: os.write(fd, b'x' * 9999)\n        except OSError: pass",
    "writes here": "open('here', 'w').write('x' * 999)",
    "writes there": f"open('{WRITES}', 'w').write('x')",
    "writes below": f"import os\nos.write(os.open('{WRITES}', os.O_CREAT | os.O_WRONLY), b'x')",
    "makes folders": f"import os\nos.makedirs('{WRITES}')",
    "exits": "import sys\nsys.exit(0)",
    "exits when called": "def secret():\n    raise SystemExit(0)",
    "exits at once": "import os\nos._exit(0)",
    "kills its parent": "import os\nos.kill(os.getppid(), 9)",
    "calls home": "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)",
    "equals everything": "class Any:\n    def __eq__(self, other): return True\n    def __repr__(self): return '...'\n"
                         "def secret(): return Any()",
    "never ends its repr": "class Any:\n    def __repr__(self):\n        while True: pass\ndef secret(): return Any()",
    "looks for the value in frames": "import sys\ndef secret():\n    frame = sys._getframe()\n    while frame:\n"
        "        for names in (frame.f_locals, frame.f_globals):\n"
        "            for key in ('expected', 'answer', 'tests', 'test', 'truth', 'job', 'values'):\n"
        "                if key in names: return names[key]\n        frame = frame.f_back",
    "looks for the value among all objects": "import gc\ndef secret():\n    return max(o for o in gc.get_objects()"
                                             " if isinstance(o, int))",
    "looks for the value in its input": "import sys\ndef secret():\n    return int(sys.stdin.read() + sys.argv[1])",
    "looks for the value in its parent": "import os\ndef secret():\n"
                                         "    return open(f'/proc/{os.getppid()}/cmdline').read()",
    "answers for the judge": "import os\nfor fd in range(3, 32):\n    try: os.write(fd, b'[\"expected\"]')\n"
                             "    except OSError: pass\nos._exit(0)",
    "patches the judge": "import json, __main__\njson.dumps = lambda *_: '[\"True\"]'\n"
                         "__main__.call = lambda *_: 'True'",
}  # fmt: skip


def left_behind() -> list[str]:
    """Command lines of processes that came out of this test's sandbox."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(MARK << 20) in line or "sleep\x00600" in line:
            found.append(line)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_code_is_not_rewarded_and_leaves_nothing(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started = time.monotonic()
    assert UnitTests(Limits(seconds=1, memory_mb=MARK))([ASKED], [HOSTILE[what]]) == [0.0]
    assert time.monotonic() - started < 60  # of a sleep of 600
    assert left_behind() == []
    assert list(tmp_path.iterdir()) == []
    assert not Path(WRITES).exists()


def test_the_same_limits_let_honest_code_through() -> None:
    code = f"import math, re, collections, itertools\ndef secret():\n    return {SECRET}"
    assert UnitTests(Limits(seconds=1, memory_mb=MARK))([ASKED], [code]) == [1.0]


def test_code_cannot_remove_files_or_read_what_is_not_pythons(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("private")
    tmp_path.chmod(0o777)
    attempts = {
        "remove": f"import os\nos.remove({str(kept)!r})", "truncate": f"open({str(kept)!r}, 'w')",
        "rename": f"import os\nos.rename({str(kept)!r}, 'x')", "link": f"import os\nos.link({str(kept)!r}, 'x')",
        "read": f"text = open({str(kept)!r}).read()", "list": f"import shutil\nshutil.rmtree({str(tmp_path)!r})",
    }  # fmt: skip
    for what, attempt in attempts.items():
        code = f"{attempt}\ndef done():\n    return 1"
        assert run_calls(code, ["done()"], Limits(memory_mb=MARK)) == [None], what
    assert kept.read_text() == "private"
    assert run_calls("def done():\n    return 1", ["done()"], Limits(memory_mb=MARK)) == ["1"]


def test_the_environment_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATWRIGHT_TOKEN", "private")
    assert run_calls("import os", ["'CHATWRIGHT_TOKEN' in os.environ"], Limits()) == ["False"]


def test_a_call_that_fails_does_not_hide_the_others() -> None:
    assert run_calls("def half(x):\n    return 1 / x", ["half(2)", "half(0)", "nothing()", "half(4)"], Limits()) == [
        "0.5", None, None, "0.25"]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
@pytest.mark.parametrize(("attempt", "error"), [
    ("os.fork()", "BlockingIOError"), ("os.setuid(0)", "PermissionError"), ("bytearray(1 << 34)", "MemoryError"),
    ("[os.dup(0) for _ in range(99)]", "OSError"), ("threading.Thread(target=print).start()", "RuntimeError"),
    ("os.write(os.open(sys.argv[1], os.O_WRONLY), b'x')", "OSError"),
])  # fmt: skip
def test_the_kernel_holds_what_gets_past_the_hook(attempt: str, error: str, tmp_path: Path) -> None:
    """The limits alone, without the audit hook."""
    if attempt == "os.setuid(0)" and os.getuid() != 0:
        pytest.skip("only root can be made nobody")
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    program = (
        f"import os, sys, threading\nsys.path.insert(0, {str(sandbox.INSIDE.parent)!r})\nimport sandboxed\n"
        "sandboxed.confine({'seconds': 2, 'memory': 1 << 28})\n"
        f"try:\n    {attempt}\nexcept {error}:\n    print('held')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(tmp_path / "file")], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.stdout == "held\n", done.stderr
    assert (tmp_path / "file").read_bytes() == b""
