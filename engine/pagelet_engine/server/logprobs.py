"""Log-probabilities as OpenAI's API writes them.

Sources: https://platform.openai.com/docs/api-reference/chat/object (`logprobs.content`) and
/completions/object (`logprobs`); `prompt_logprobs` follows vLLM's extension of both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pagelet_engine.core.logprobs import TokenLogprobs
from pagelet_engine.server.text_stream import TokenScore
from pagelet_engine.text.tokenizer import Tokenizer

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scores:
    """What a request wants to know about its tokens."""

    tokenizer: Tokenizer
    num_top: int | None
    """Most likely tokens to name at each output token; None: no log-probabilities at all."""
    num_prompt_top: int | None = None
    """The same for the prompt's tokens."""

    def chat(self, tokens: Sequence[TokenScore]) -> Json | None:
        """Return `logprobs` of a chat choice."""
        if self.num_top is None:
            return None
        content = [
            self._chat_token(score.logprobs.token_id, score.logprobs.logprob)
            | {
                "top_logprobs": [
                    self._chat_token(*pair) for pair in score.logprobs.top[: self.num_top]
                ]
            }
            for score in tokens
            if score.logprobs is not None
        ]
        return {"content": content, "refusal": None}

    def completion(self, tokens: Sequence[TokenScore]) -> Json | None:
        """Return `logprobs` of a completion choice; a prompt's first token has none."""
        if self.num_top is None:
            return None
        found = [score.logprobs for score in tokens]
        return {
            "text_offset": [score.offset for score in tokens],
            "token_logprobs": [None if item is None else item.logprob for item in found],
            "tokens": [self._key(score.token_id) for score in tokens],
            "top_logprobs": [None if item is None else self._by_text(item) for item in found],
        }

    def prompt(self, scores: Sequence[TokenLogprobs]) -> list[Json | None] | None:
        """Return `prompt_logprobs`: one object by token id for each prompt token but the first."""
        if self.num_prompt_top is None:
            return None
        return [None, *(self._by_id(item, self.num_prompt_top) for item in scores)]

    def _chat_token(self, token_id: int, logprob: float) -> Json:
        spelling = self.tokenizer.spelling(token_id)
        text = spelling.decode("utf-8", errors="replace")
        return {"token": text, "logprob": logprob, "bytes": list(spelling)}

    def _by_text(self, item: TokenLogprobs) -> Json:
        # The chosen token last: it is always there, also if it is none of the most likely.
        pairs = (*item.top[: self.num_top], (item.token_id, item.logprob))
        return {self._key(token_id): logprob for token_id, logprob in pairs}

    def _by_id(self, item: TokenLogprobs, num_top: int) -> Json:
        ranked = [(*pair, rank) for rank, pair in enumerate(item.top[:num_top], 1)]
        ranked.append((item.token_id, item.logprob, item.rank))
        return {
            str(token_id): {
                "logprob": logprob,
                "rank": rank,
                "decoded_token": self.tokenizer.spelling(token_id).decode("utf-8", "replace"),
            }
            for token_id, logprob, rank in ranked
        }

    def _key(self, token_id: int) -> str:
        """Return a token's text, or its bytes where they are no text of their own."""
        spelling = self.tokenizer.spelling(token_id)
        try:
            return spelling.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelling)
