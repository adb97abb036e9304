"""The rollout: when does a new revision get traffic, how much, and when is it taken back?"""

from pagelet_operator.core.rollout.commands import Command, CommandKind, parse_command
from pagelet_operator.core.rollout.look import is_complete
from pagelet_operator.core.rollout.machine import step
from pagelet_operator.core.rollout.observations import UNSEEN, Observations
from pagelet_operator.core.rollout.state import (
    DRAIN_S,
    Answer,
    Assessment,
    Decision,
    Pause,
    Phase,
    Retained,
    RolloutState,
)
from pagelet_operator.core.rollout.trial import look_at

__all__ = [
    "DRAIN_S",
    "UNSEEN",
    "Answer",
    "Assessment",
    "Command",
    "CommandKind",
    "Decision",
    "Observations",
    "Pause",
    "Phase",
    "Retained",
    "RolloutState",
    "is_complete",
    "look_at",
    "parse_command",
    "step",
]
