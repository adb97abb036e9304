"""What is asked: one model of one endpoint, and the requests probes are built from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagelet_bench.core.check.exchange import Request

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"

PROSE = "Write a short story about a lighthouse keeper and the sea."
"""A prompt that any model answers with dozens of tokens."""
OPENING = "Once upon a time, a lighthouse keeper lived by the sea. Every morning he"
"""A text that any model goes on with; plain completions get it, since they answer no question."""
SHORT_TOKENS, TEXT_TOKENS = 8, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model behind an endpoint.

    Attributes:
        model: Its name in requests.
        max_model_len: Tokens of its context, if the endpoint says so.
        has_chat: `/v1/chat/completions` answers.
        has_completions: `/v1/completions` answers.
        has_key: Requests bring a key.
    """

    model: str
    max_model_len: int | None = None
    has_chat: bool = True
    has_completions: bool = True
    has_key: bool = False

    def chat(self, prompt: str | list[dict[str, Any]] = PROSE, /, **fields: Any) -> Request:
        """Return a greedy chat request of TEXT_TOKENS; `fields` change or add, None removes."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return Request(path=CHAT, body=self._body({"messages": messages}, fields))

    def complete(self, prompt: Any = OPENING, /, **fields: Any) -> Request:
        """Return a greedy plain completion of TEXT_TOKENS, changed like `chat`."""
        return Request(path=COMPLETIONS, body=self._body({"prompt": prompt}, fields))

    def _body(self, asked: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        defaults = {"max_tokens": TEXT_TOKENS, "temperature": 0}
        body = {"model": self.model, **asked, **defaults, **fields}
        return {name: value for name, value in body.items() if value is not None}
