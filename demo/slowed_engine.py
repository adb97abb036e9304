"""Run a real engine behind a relay that holds its answers back: the demo's bad revision.

    python slowed_engine.py pagelet serve ... --port=8000

The engine gets a free port, the relay the one that was asked for. The variable DEMO_DELAY_MS says
how long each piece of an answer is held back; without it nothing is.
"""

import asyncio
import os
import re
import signal
import socket
import sys

_DIE_WITH_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
)


async def main(command: list[str]) -> int:
    """Run the engine until it ends; return its exit code."""
    index = next(i for i, word in enumerate(command) if word.startswith("--port="))
    port, inner = int(command[index].partition("=")[2]), _free_port()
    command[index] = f"--port={inner}"
    delay_s = float(os.environ.get("DEMO_DELAY_MS", "0")) / 1000

    answering: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", inner)
        except OSError:
            writer.close()
            return
        asking = asyncio.create_task(_pass_on(reader, forth, 0.0))
        answering.add(answer := asyncio.create_task(_pass_on(back, writer, delay_s)))
        answer.add_done_callback(answering.discard)
        await answer
        asking.cancel()

    engine = await asyncio.create_subprocess_exec(sys.executable, "-c", _DIE_WITH_PARENT, *command)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, engine.terminate)
    async with await asyncio.start_server(relay, "127.0.0.1", port):
        code = await engine.wait()
        # What the engine has said is still on its way: answers are held back here, not there.
        await asyncio.gather(*answering)
        return code


async def _pass_on(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float
) -> None:
    try:
        while data := await source.read(65536):
            for piece in _pieces(data) if delay_s else [data]:
                await asyncio.sleep(delay_s)
                sink.write(piece)
                await sink.drain()
    except ConnectionError:
        pass  # One side has left; the other is told so below.
    finally:
        sink.close()


def _pieces(data: bytes) -> list[bytes]:
    """Cut after each server-sent event: a busy engine writes several at once."""
    return re.findall(rb".*?\n\n(?:\r\n)?|.+", data, re.DOTALL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
