"""A client that loses requests, before they are sent or after they were carried out."""

import random
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration


class FlakyClient(ApiClient):
    """Loses a share of the requests or, which is worse, of the answers."""

    def __init__(
        self, configuration: Configuration, *, share: float, carried_out: bool, seed: int
    ) -> None:
        super().__init__(configuration)
        self._share, self._carried_out, self._random = share, carried_out, random.Random(seed)
        self.lost = 0

    async def call_api(self, *args: Any, **options: Any) -> Any:
        if self._random.random() >= self._share:
            return await super().call_api(*args, **options)
        self.lost += 1
        if self._carried_out:
            answer = await super().call_api(*args, **options)
            await answer.read()
        raise aiohttp.ServerDisconnectedError
