"""How many replicas a model has, and which of them end: decisions from what was measured."""

from pagelet_operator.core.scaling.policy import ScalingPolicy, Targets
from pagelet_operator.core.scaling.scaler import decide
from pagelet_operator.core.scaling.seen import Seen
from pagelet_operator.core.scaling.state import Change, ScaleDecision, ScalerState
from pagelet_operator.core.scaling.victims import victims

__all__ = [
    "Change",
    "ScaleDecision",
    "ScalerState",
    "ScalingPolicy",
    "Seen",
    "Targets",
    "decide",
    "victims",
]
