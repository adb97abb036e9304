"""What a rollout is told beside the fleet: figures, gates, commands, demand. Plain data."""

from dataclasses import dataclass

from pagelet_operator.core.analysis import Judgement, Verdict
from pagelet_operator.core.gates import Memory
from pagelet_operator.core.rollout.commands import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What was seen of one model at one look. Whatever is None was not seen, and proves nothing."""

    canary: str | None = None
    """The revision that judgement and gates are about; those of another one are passed over."""
    measured: bool = False
    """Whether this world measures what users feel at all. Where it does not, only time counts;
    where it does, having no figures proves nothing."""
    judgement: Judgement | None = None
    """What the newest look at the canary's figures said."""
    judged_at: float | None = None
    """When that look was made, Unix seconds. A look that was seen before may be told again."""
    gates: Verdict | None = None
    """All gates together: Pass when every one was passed, Fail when one never will be, Inconclusive
    while they run, Error while they cannot. Matters where the policy is `gated`."""
    gates_message: str = ""
    gates_memory: Memory | None = None
    """What is to be remembered of gates from now on; None changes nothing."""
    gates_wake_at: float | None = None
    """When gates have to be looked at again, Unix seconds."""
    command: Command | None = None
    """The last command that anybody gave; one that was answered before is passed over."""
    needed: int | None = None
    """Replicas that the live traffic of the whole model needs; None where nobody measures it."""


UNSEEN = Observations()
"""Nothing was seen beside the fleet."""
