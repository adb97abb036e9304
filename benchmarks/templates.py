"""What rendering a chat template in a process of its own costs a request, beside a thread.

    python benchmarks/templates.py

Interleaved, so that noise meets both alike; prints medians and 99th percentiles, microseconds.
"""

import asyncio
import statistics
import time

from pagelet_engine.templates.client import TemplateClient
from pagelet_engine.templates.wire import Conversation, encode_conversation
from pagelet_engine.text.chat_template import ChatTemplate, Rendering
from pagelet_engine.text.vocabulary import CHATML

ROUNDS = 500
SHAPES = ((2, 100), (20, 500), (100, 5000))
"""Messages and characters of each."""


async def measure(client: TemplateClient, num_messages: int, num_chars: int) -> None:
    messages = [{"role": "user", "content": "x" * num_chars}] * num_messages
    asked = Conversation(messages, [], Rendering(), max_chars=10**7)
    template = ChatTemplate(CHATML)
    spent: dict[str, list[float]] = {"process": [], "thread": []}
    await client.render(encode_conversation(asked))
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await client.render(encode_conversation(asked))
        between = time.perf_counter()
        await asyncio.to_thread(asked.render, template)
        spent["process"].append(between - started)
        spent["thread"].append(time.perf_counter() - between)
    told = {name: f"{_us(times, 0.5)} p99 {_us(times, 0.99)}" for name, times in spent.items()}
    print(f"{num_messages * num_chars} characters: {told}")


def _us(times: list[float], share: float) -> int:
    return round(statistics.quantiles(times, n=100)[round(share * 100) - 1] * 1e6)


async def main() -> None:
    client = TemplateClient(ChatTemplate(CHATML))
    try:
        for shape in SHAPES:
            await measure(client, *shape)
    finally:
        await client.stop()


if __name__ == "__main__":
    asyncio.run(main())
