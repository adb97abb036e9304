"""How one model writes tool calls, told by its chat template and its vocabulary."""

import enum
import json
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from pagelet_engine.text.tools import CLOSE, OPEN
from pagelet_engine.text.tools.llama_parser import PYTHON_TAG, LlamaParser
from pagelet_engine.text.tools.mistral_parser import ARGS, CALL_ID, TOOL_CALLS, MistralParser
from pagelet_engine.text.tools.parser import ToolCallParser
from pagelet_engine.text.tools.parts import CallParser


class Family(enum.Enum):
    """Models that write calls alike."""

    HERMES = "hermes"
    """Also every model whose template knows no tools, since it is told of this notation."""
    LLAMA = "llama"
    MISTRAL = "mistral"


_MARKS = {
    Family.HERMES: (OPEN, CLOSE),
    Family.LLAMA: (PYTHON_TAG,),
    Family.MISTRAL: (TOOL_CALLS, ARGS, CALL_ID),
}
_SHORT_ID_CHARS = 9


@dataclass(frozen=True, slots=True)
class Notation:
    """A family, and which of its marks are control tokens of the vocabulary."""

    family: Family = Family.HERMES
    control_ids: Mapping[str, int] = field(default_factory=dict)
    """Ids of the marks that have one of their own, which must be shown for calls to be seen."""

    def parser(self, names: Collection[str]) -> CallParser:
        """Return what finds calls of the tools in `names` in one output."""
        match self.family:
            case Family.HERMES:
                return ToolCallParser(names)
            case Family.LLAMA:
                return LlamaParser(names)
            case Family.MISTRAL:
                return MistralParser(names)

    def new_call_id(self) -> str:
        """Return an id for a call; Mistral's templates accept nine letters and digits only."""
        if self.family is Family.MISTRAL:
            return uuid.uuid4().hex[:_SHORT_ID_CHARS]
        return f"call_{uuid.uuid4().hex[:24]}"

    def term(self, mark: str) -> str:
        """Return `mark` as a Lark grammar names it: by its control token if it has one."""
        token_id = self.control_ids.get(mark)
        return json.dumps(mark) if token_id is None else f"<[{token_id}]>"


def notation_of(
    template: str | None, *, reads_tools: bool, control_id: Callable[[str], int | None]
) -> Notation:
    """Return the notation of a model.

    Args:
        template: Its chat template's source; None without one.
        reads_tools: Whether the template tells the model of tools by itself.
        control_id: From a text to the id of the control token written so, or None.
    """
    family = Family.HERMES
    if reads_tools and template is not None:
        if TOOL_CALLS in template:
            family = Family.MISTRAL
        elif OPEN not in template and (
            PYTHON_TAG in template or control_id(PYTHON_TAG) is not None
        ):
            family = Family.LLAMA
    ids = {mark: control_id(mark) for mark in _MARKS[family]}
    return Notation(family, {mark: index for mark, index in ids.items() if index is not None})
