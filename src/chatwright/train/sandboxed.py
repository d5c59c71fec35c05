"""The inside of the sandbox: a program of its own that runs an answer's code and says what the calls gave.

`python -I -S -B sandboxed.py LIMITS`, with {"code", "calls"} as JSON on standard input. It first takes every right from
itself that it can, then runs the code, and writes one JSON list to what was its standard output: the repr of each
call's value, null where the call raised. The values expected are never told to this process. See `sandbox.py`.

Only the standard library is here: this file is run, not imported.
"""

import ctypes
import json
import os
import resource
import sys

NOBODY = 65534
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, SIGKILL = 1, 38, 9
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
DENIED = (
    "code.__new__", "ctypes.", "fcntl.", "gc.", "mmap.", "os.", "pty.", "resource.", "shutil.", "signal.", "socket.",
    "sqlite3.", "subprocess.", "syslog.", "tempfile.", "urllib.", "webbrowser.", "_thread.",
)  # fmt: skip
ALLOWED = ("os.listdir", "os.scandir")
"""What an import does to find a module."""


def confine(limits):
    """Gives up privileges and resources for good."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if os.getuid() == 0:  # whom no limit of processes and no right of files would hold
            become_nobody()
        libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)  # after setuid, which forgets it
    for name, most in (
        ("RLIMIT_CPU", limits["seconds"]),
        ("RLIMIT_AS", limits["memory"]),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_NOFILE", 32),
        ("RLIMIT_CORE", 0),
    ):
        resource.setrlimit(getattr(resource, name), (most, most))


def become_nobody():
    """From root to a user without any rights, who sees nothing but the folder Python is installed in."""
    root = os.path.realpath(sys.base_prefix)
    inside = [os.path.realpath(p).removeprefix(root) for p in sys.path if os.path.realpath(p).startswith(root + os.sep)]
    os.chroot(root)
    os.chdir("/")
    sys.path[:] = inside
    sys.path_importer_cache.clear()
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def watch():
    """Refuses, at the level of Python, what modules of the standard library would do to files, processes and networks.

    Files may be opened for reading where Python itself lies, so that imports work.
    """
    homes = tuple({os.path.realpath(p) + os.sep for p in sys.path})
    realpath, fsdecode, writes, denied, allowed = os.path.realpath, os.fsdecode, WRITES, DENIED, ALLOWED

    def hook(event, arguments):
        if event == "open":
            path, mode, flags = arguments
            asks_to_write = flags & writes or (isinstance(mode, str) and set(mode) & set("wax+"))
            if asks_to_write or isinstance(path, int) or not realpath(fsdecode(path)).startswith(homes):
                raise PermissionError("the sandbox keeps files closed")
        elif event.startswith(denied) and event not in allowed:
            raise PermissionError(f"the sandbox forbids {event}")

    sys.addaudithook(hook)


def call(expression, names):
    try:
        return repr(eval(expression, names))
    except Exception:
        return None


def main():
    limits = json.loads(sys.argv[1])
    job = json.loads(sys.stdin.read())
    results, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    confine(limits)
    watch()
    names = {"__name__": "answer"}
    exec(compile(job["code"], "answer.py", "exec"), names)
    os.write(results, json.dumps([call(expression, names) for expression in job["calls"]]).encode())


if __name__ == "__main__":
    main()
