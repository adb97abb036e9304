"""The listening socket, bound before anything else so that a taken port is told at once."""

import errno
import socket

from pagelet_gateway.errors import ConfigError

BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """Listen on a TCP socket.

    Raises:
        ConfigError: The address cannot be had; the message says what to do.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(f"The host {host!r} cannot be resolved ({error.strerror}).") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        # From here on connections wait in the backlog instead of being refused.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(_sentence(host, port, error)) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The base URL clients reach `listener` at."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _sentence(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use; stop the process that holds it, or choose another "
            f"with --port."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} needs privileges; choose one above 1023 with --port."
    return (
        f"Cannot listen on {host} port {port}: {error.strerror}; choose another --host or --port."
    )
