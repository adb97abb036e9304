"""What a person may say to a rollout, and how it is written down.

    <kind>[/<anything>[/<revision>]]      for example   promote/5c1e/chat-0123456789

The whole text is the command's token: the same text again is the same command, and done already.
A revision, where there is one, names the canary that was meant: a command that arrives late, or
is read again after all memory was lost, must not hit another one.
"""

from dataclasses import dataclass
from enum import StrEnum

MAX_LENGTH = 256
"""Characters of a command that are read: status repeats it, and stays small."""


class CommandKind(StrEnum):
    """The commands."""

    PROMOTE = "promote"
    """Leave the current step now: neither time, figures, gates nor approval are waited for."""
    PROMOTE_FULL = "promote-full"
    """Leave all steps: make the canary stable as soon as it has the replicas for it."""
    PAUSE = "pause"
    """Advance no further. A canary that does harm is withdrawn all the same."""
    RESUME = "resume"
    """End the pause; holds and deadlines go on where they were."""
    ABORT = "abort"
    """Take the canary's traffic away and do not try it again."""
    RETRY = "retry"
    """Try a withdrawn revision again, from the first step."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a person."""

    kind: CommandKind | None
    """None for a word that is no command; it is answered, too."""
    token: str
    """Names the command: one that was answered is not obeyed again."""
    revision: str | None = None
    """The revision it is meant for; None for whichever is on trial, or failed."""


def parse_command(text: str) -> Command:
    """Return the command in an annotation's value."""
    text = text.strip()[:MAX_LENGTH]
    kind, _, rest = text.partition("/")
    revision = rest.rpartition("/")[2] if "/" in rest else ""
    known = {item.value: item for item in CommandKind}
    return Command(known.get(kind), text, revision or None)


def written(kind: CommandKind, unique: str, revision: str | None) -> str:
    """Return the value of an annotation that gives this command; `parse_command` reads it."""
    return "/".join((kind.value, unique, *((revision,) if revision else ())))
