"""Ports: bound before anything is loaded, served by uvicorn within this server's limits."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from pagelet_engine.errors import ConfigError
from pagelet_engine.server.connections import BoundedProtocol

_BACKLOG = 1024

_FLUSH_S = 2
"""How long a stream that was cut may take to send its error event, seconds."""

_SEND_BUFFER_BYTES = 64 * 1024
"""Of each connection, in the kernel, which doubles it; an event has a few hundred bytes."""

_KEEP_ALIVE_S = 75
"""Idle connections stay open longer than a gateway's pool keeps them, so it is the gateway that
closes, and never sends a request into a closing connection."""


class HttpServer(uvicorn.Server):
    """One port. Leaves signals alone: draining is the business of `run`, and lasts longer."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_FLUSH_S,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install nothing."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host`:`port`; port 0 takes a free one.

    Raises:
        ConfigError: It cannot be had; the message says what to change.
    """
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(address[0], socket.SOCK_STREAM)
        # A server that restarts must not wait for its own old connections to be forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it; the kernel would let it grow to megabytes for each reader
        # that is slow, and would notice one that is stuck only after that.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind(address[4])
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error}. Choose another --port or --host, or stop "
            f"what uses it (`ss -ltnp 'sport = :{port}'` shows it)."
        ) from error
    return listener


def url_of(address: tuple[str, int]) -> str:
    """Return the base URL of a server that listens on `address`."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"
