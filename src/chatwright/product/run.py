"""Starting the gateway: in this process until it is stopped, or in one of its own beside a build."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from chatwright.config import ServeConfig
from chatwright.engine.http import keep_log_quiet, listening_socket
from chatwright.errors import ChatwrightError, ConfigError
from chatwright.product.gateway import Gateway, create_app
from chatwright.product.serving import from_folders
from chatwright.product.supervisor import ENGINE_COMMAND

LOOPBACK = ("127.0.0.1", "localhost", "::1")
DRAIN_SECONDS = 10
STOP_SECONDS = 20
LOG_FILE = "gateway.log"
ISSUER = re.compile(r"https://[^@?#\s]+|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/[^@?#\s]*)?")


class _Server(uvicorn.Server):
    """Ends the endless event streams as soon as it is asked to stop; answers still get their time to finish."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gateway.ending = True
        super().handle_exit(sig, frame)


def bind(host: str, port: int, *, others: bool = False) -> socket.socket:
    """A listening socket, for other machines only with `others`; raises ChatwrightError where the port is taken."""
    if host not in LOOPBACK and not others:
        raise ConfigError(
            f"the host {host} would open this server to other machines, and it has no accounts; use --host 127.0.0.1, "
            "or --accounts people"
        )
    listener = listening_socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(f"the host {host} is no address of this machine") from None
        if isinstance(error, PermissionError):
            raise ChatwrightError(f"port {port} needs special rights; use --port with a number above 1023") from None
        raise ChatwrightError(f"port {port} is taken by another program; stop it or use --port") from None
    return listener


def check_address(settings: ServeConfig) -> None:
    """Raises ConfigError where people could not come in, or come in without an account."""
    if settings.accounts == "local":
        return
    if settings.public_url and not re.fullmatch(r"https?://[^/@?#\s]+/?", settings.public_url):
        raise ConfigError(f"serve.public_url: {settings.public_url!r} is no address; write https://chat.example.org")
    if settings.host not in LOOPBACK and not settings.public_url:
        raise ConfigError(
            "people come from other machines by a name: set serve.public_url, as in --set serve.public_url=https://..."
        )
    if settings.key_env:
        raise ConfigError("serve.key_env is for local accounts; with accounts, people make their own keys")
    if settings.oidc_issuer:
        check_issuer(settings)


def check_issuer(settings: ServeConfig) -> None:
    if not ISSUER.fullmatch(settings.oidc_issuer):
        raise ConfigError(f"serve.oidc_issuer: {settings.oidc_issuer!r} is no https address")
    if not settings.oidc_client_id:
        raise ConfigError("serve.oidc_client_id: name what the provider calls this installation")
    if settings.oidc_secret_env and not os.environ.get(settings.oidc_secret_env):
        raise ConfigError(f"serve.oidc_secret_env: the environment variable {settings.oidc_secret_env} is not set")


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    settings: ServeConfig,
    workspace: Path,
    *,
    models: Sequence[Path | str] | None = None,
    open_browser: bool = False,
    on_ready: Callable[[str], None] | None = None,
    announce: bool = False,
    engine_command: Sequence[str] = ENGINE_COMMAND,
    key_env: str = "",
) -> None:
    """Serves until SIGINT or SIGTERM. `on_ready` is called with the address once requests are answered.

    Serves the checkpoint folders `models`, or models behind URLs (`http://host:port/v1#model`; `key_env` names the
    variable with their key), or without them whatever `serving.json` in the workspace names, now
    and whenever it changes. Raises ChatwrightError where the port is taken or a folder is no model.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    keep_log_quiet()
    fixed = from_folders(models, key_env) if models is not None else None
    check_address(settings)
    listener = bind(settings.host, settings.port, others=settings.accounts == "people")
    url = url_of(listener)

    def ready() -> None:
        first = app.state.accounts.first_link()
        link = f"{settings.public_url.rstrip('/') or url}/#/setup/{first}" if first else ""
        if announce:
            print(json.dumps({"url": url} | ({"setup": link} if link else {})), flush=True)
        elif link:  # to the terminal only: whoever reads a log must not become admin
            print(f"make the first account, once and within a day, at {link}", file=sys.stderr, flush=True)
        if on_ready is not None:
            on_ready(url)
        if open_browser:
            webbrowser.open(url)

    app = create_app(settings, workspace, models=fixed, engine_command=engine_command, on_start=ready)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=DRAIN_SECONDS,
        proxy_headers=bool(settings.proxy), forwarded_allow_ips=settings.proxy or None,
    )  # fmt: skip
    try:
        _Server(config, app.state.gateway).run(sockets=[listener])
    except KeyboardInterrupt:
        return


@dataclass(frozen=True, slots=True)
class Background:
    """A gateway in a process of its own. It also ends when this process does, however that happens."""

    url: str
    process: subprocess.Popen[str]
    setup: str = ""
    """The link that makes the first admin, where people have accounts and nobody has made one yet."""

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def start_background(
    settings: ServeConfig, workspace: Path, *, command: Sequence[str] = (sys.executable, "-m", "chatwright.product")
) -> Background:
    """Starts a gateway and returns when it answers; raises ChatwrightError with its sentence where it cannot."""
    with (workspace / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            [*command, "--workspace", str(workspace), "--settings", settings.model_dump_json(), "--stdin-watch"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
    assert process.stdout is not None
    said = json.loads(process.stdout.readline() or "{}")
    if "url" not in said:
        process.communicate()
        raise ChatwrightError(said.get("error") or f"the gateway could not be started; see {workspace / LOG_FILE}")
    return Background(said["url"], process, said.get("setup", ""))
