"""What in an output is not the answer's text: tool calls and thoughts, as one model writes them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pagelet_engine.text.reasoning import CLOSE, OPEN, Thinking, thinking_after
from pagelet_engine.text.tools.notation import Notation, notation_of


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one model shows calls and thoughts."""

    tools: Notation = field(default_factory=Notation)
    thinks: bool = False
    """Whether its output may begin with a thought."""
    thinks_untagged: bool = False
    """Whether an output that does not begin with a tag is a thought."""
    thought_ids: Mapping[str, int] = field(default_factory=dict)
    """Ids of the thought's tags where they are control tokens: shown so that they are seen."""

    def thinking_after(self, rendered: str, continued: str | None) -> Thinking:
        """Return where an output begins; see `reasoning.thinking_after`."""
        if not self.thinks:
            return Thinking.CLOSED
        found = thinking_after(rendered, continued)
        untagged = found is Thinking.FREE and self.thinks_untagged
        return Thinking.OPEN if untagged else found

    def preface(self, thinking: Thinking) -> str | None:
        """Return the Lark rules of the thought ahead of a constrained answer; None without one."""
        if thinking is Thinking.CLOSED:
            return None
        if CLOSE in self.thought_ids:
            thought = f"THOUGHT <[{self.thought_ids[CLOSE]}]>"
            rules = [r"THOUGHT: /(.|\n)*/"]
        else:
            thought, rules = "thought", [r"thought[lazy]: /(.|\n)*<\/think>/"]
        opening = json.dumps(OPEN)
        if OPEN in self.thought_ids:
            opening = f"<[{self.thought_ids[OPEN]}]>"
        is_open = thinking is Thinking.OPEN
        preface = f"{thought} BLANK" if is_open else f"({opening} {thought} BLANK)?"
        return "\n".join([f"preface: {preface}", *rules, r"BLANK: /[ \n]{0,4}/"])


def dialect_of(
    template: str | None,
    *,
    reads_tools: bool,
    control_id: Callable[[str], int | None],
    has_token: Callable[[str], bool],
    reasoning_parser: str = "auto",
) -> Dialect:
    """Return the dialect of a model.

    Args:
        template: Its chat template's source; None without one.
        reads_tools: Whether the template tells the model of tools by itself.
        control_id: From a text to the id of the control token written so, or None.
        has_token: Whether a text is one token of the vocabulary.
        reasoning_parser: One of `config.REASONING_PARSERS`.
    """
    knows = CLOSE in (template or "") or has_token(CLOSE)
    thinks = reasoning_parser in ("qwen3", "deepseek_r1") or (reasoning_parser == "auto" and knows)
    ids = {tag: control_id(tag) for tag in (OPEN, CLOSE)} if thinks else {}
    return Dialect(
        notation_of(template, reads_tools=reads_tools, control_id=control_id),
        thinks,
        reasoning_parser == "deepseek_r1",
        {tag: token_id for tag, token_id in ids.items() if token_id is not None},
    )
