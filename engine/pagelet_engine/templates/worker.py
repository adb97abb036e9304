"""The template worker: renders one conversation after the other until its peer closes.

    python -m pagelet_engine.templates.worker --fd N

`N` is one end of a UNIX socket pair, inherited from the API process. The first frame is the
template; each further one is a conversation and is answered with its text. The kernel ends the
process if one of them takes more than RENDER_LIMIT_S of processor time, and lets it have no more
than MEMORY_LIMIT_BYTES. SIGINT and SIGTERM are ignored: the API process decides.
"""

import argparse
import contextlib
import resource
import signal
import socket
import sys

from pagelet_engine.framing import read_frame
from pagelet_engine.templates.wire import decode_template, render

RENDER_LIMIT_S = 2.0
"""Processor time for one conversation, seconds; a full context of 128k tokens takes 0.1."""
MEMORY_LIMIT_BYTES = 512 * 1024 * 1024
"""Address space on top of what the worker has before its first conversation."""
TIME_IS_UP = signal.SIGPROF
EXIT_MEMORY = 3


def serve(connection: socket.socket) -> None:
    """Answer until the peer closes.

    Raises:
        MemoryError: A conversation needed too much; nobody can say what is still whole.
    """
    first = read_frame(connection)
    if first is None:
        return
    template = decode_template(first)
    _limit_memory()
    while (payload := read_frame(connection)) is not None:
        signal.setitimer(signal.ITIMER_PROF, RENDER_LIMIT_S)
        answer = render(template, payload)
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.sendall(answer)


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm", encoding="ascii") as f:
        limit = int(f.read().split()[0]) * resource.getpagesize() + MEMORY_LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main(arguments: list[str] | None = None) -> int:
    """Serve until the peer closes; return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser(description="Renders chat templates.")
    parser.add_argument("--fd", type=int, required=True, help="inherited socket")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        try:
            serve(socket.socket(fileno=parser.parse_args(arguments).fd))
        except MemoryError:
            return EXIT_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main())
