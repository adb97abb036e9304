"""The scripted server as a program of its own: `bench_program.py PORT [delay=S] [exit=CODE]`.

It starts a child with a child of its own, so that there is a tree to be measured and ended.
"""

import asyncio
import subprocess
import sys

from bench_server import ScriptedServer, completion


async def serve(port: int, delay_s: float) -> None:
    """Wait, then listen until ended."""
    await asyncio.sleep(delay_s)
    async with ScriptedServer(completion).listening(port):
        await asyncio.Event().wait()


def main() -> None:
    """Run as the arguments say."""
    port, options = int(sys.argv[1]), dict(part.split("=") for part in sys.argv[2:])
    if "exit" in options:
        sys.exit(int(options["exit"]))
    child = subprocess.Popen(["sh", "-c", "sleep 600 & wait"])
    print(child.pid, flush=True)
    asyncio.run(serve(port, float(options.get("delay", 0))))


main()
