"""Serving the application on a socket until a signal ends it."""

import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from podium.errors import Conflict

_GRACE_SECONDS = 5


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host` and `port`, any free one for 0; Conflict where that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Conflict(
            f"Podium cannot listen on {host} port {port}: {error.strerror or error}. Choose another with --host and "
            "--port (0 takes any free port), or end what listens there."
        ) from None


def serve(app: FastAPI, listening: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM, then end with exit code 0, or until an interrupt; `ready` is told the URL.

    Requests that are being answered get a few seconds to end.
    """
    signal.signal(signal.SIGTERM, _end)  # uvicorn ends first, then lets this handler have the signal
    host, port = listening.getsockname()[:2]
    ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    configuration = uvicorn.Config(
        app, access_log=False, log_level="warning", timeout_graceful_shutdown=_GRACE_SECONDS, ws="none"
    )
    uvicorn.Server(configuration).run(sockets=[listening])


def _end(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise SystemExit(0)
