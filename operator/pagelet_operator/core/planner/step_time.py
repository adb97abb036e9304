"""How long a step takes: base + tokens + query-key pairs + keys, as the engine's own model has it.

    base    weights read once                  token   twice its weights, in operations
    pair    arithmetic of attention            key     K and V of one position read once

Reading and arithmetic are added, not overlapped: simple, and on the safe side. The figures come
from a data sheet, at shares of its peaks, or from a run with one request at a time.
"""

from dataclasses import dataclass

from pagelet_operator.core.planner.devices import Device
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.memory import DTYPE_BYTES, MemoryPlan
from pagelet_operator.core.planner.shape import ModelShape

READ_SHARE, FLOPS_SHARE = 0.7, 0.4
"""Of a data sheet's peaks. Assumed, not measured on these devices."""
GPU_OVERHEAD_S = 0.001
"""Of a step on a GPU: what is decided and started on the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of a step by what it computes; none is negative."""

    base_s: float
    token_s: float
    pair_s: float
    key_s: float
    source: str
    """Where the figures are from."""

    def seconds(self, tokens: float, pairs: float, keys: float) -> float:
        """Return how long one step takes.

        Args:
            tokens: Computed in the step, of all sequences.
            pairs: Of a query and a key it attends to.
            keys: Positions looked back at, each once for its sequence.
        """
        return self.base_s + tokens * self.token_s + pairs * self.pair_s + keys * self.key_s

    def prompt_seconds(self, num_tokens: float, chunk: float) -> float:
        """Return how long a prompt takes by itself in chunks of so many tokens."""
        steps = max(1.0, num_tokens / chunk)
        pairs = num_tokens * num_tokens / 2
        keys = num_tokens * (steps + 1) / 2
        return steps * self.base_s + self.seconds(num_tokens, pairs, keys) - self.base_s


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """What `pagelet bench` saw with one request at a time."""

    prompt_tokens: float
    """Mean of a request."""
    output_tokens: float
    ttft_s: float
    """Median."""
    itl_s: float
    """Median over requests of their mean."""
    source: str
    device_bytes: int | None = None
    """Memory of the machine that was measured."""


def from_data_sheet(shape: ModelShape, memory: MemoryPlan, device: Device) -> StepTime | None:
    """Return what a device should reach; None for one of which no speed is known."""
    peak = device.peak_flops.get(memory.dtype)
    if device.peak_bytes_per_s is None or peak is None:
        return None
    source = f"{device.source}, {READ_SHARE:.0%} of reads and {FLOPS_SHARE:.0%} of arithmetic"
    return _times(
        shape,
        memory,
        byte_s=1 / (device.peak_bytes_per_s * READ_SHARE),
        flop_s=1 / (peak * FLOPS_SHARE),
        overhead_s=GPU_OVERHEAD_S if device.is_gpu else 0.0,
        source=source,
    )


def from_run(shape: ModelShape, memory: MemoryPlan, run: MeasuredRun) -> StepTime:
    """Return the step time that explains a run's TTFT and ITL: two equations in two speeds.

    Raises:
        PlanError: No device reads and computes so that both come out.
    """
    # Each line: seconds = bytes read * byte_s + operations * flop_s.
    decode = _work(shape, memory, 1, run.prompt_tokens + run.output_tokens / 2)
    prompt = _prompt_work(shape, memory, run.prompt_tokens)
    slope = decode[0] * prompt[1] - prompt[0] * decode[1]
    byte_s = (run.itl_s * prompt[1] - run.ttft_s * decode[1]) / slope if slope else -1.0
    flop_s = (run.ttft_s * decode[0] - run.itl_s * prompt[0]) / slope if slope else -1.0
    if byte_s <= 0 or flop_s <= 0:
        raise PlanError(
            f"--measured {run.source}: a TTFT of {run.ttft_s * 1000:.4g} ms for "
            f"{run.prompt_tokens:.4g} tokens does not go with an ITL of {run.itl_s * 1000:.4g} ms; "
            f"measure this model with one request at a time and prompts of 100 tokens or more"
        )
    return _times(
        shape, memory, byte_s=byte_s, flop_s=flop_s, overhead_s=0.0, source=f"run {run.source}"
    )


def _times(
    shape: ModelShape,
    memory: MemoryPlan,
    *,
    byte_s: float,
    flop_s: float,
    overhead_s: float,
    source: str,
) -> StepTime:
    return StepTime(
        base_s=overhead_s + _read_bytes(shape, memory) * byte_s,
        token_s=2 * shape.num_multiplied * flop_s,
        pair_s=_pair_flops(shape) * flop_s,
        key_s=memory.token_bytes * byte_s,
        source=source,
    )


def _work(
    shape: ModelShape, memory: MemoryPlan, tokens: float, context: float
) -> tuple[float, float]:
    """Return the bytes and operations of a step of `tokens` decoding sequences."""
    read = _read_bytes(shape, memory) + tokens * context * memory.token_bytes
    flops = tokens * (2 * shape.num_multiplied + context * _pair_flops(shape))
    return read, flops


def _prompt_work(shape: ModelShape, memory: MemoryPlan, tokens: float) -> tuple[float, float]:
    steps = max(1.0, tokens / memory.max_num_batched_tokens)
    keys = tokens * (steps + 1) / 2
    read = steps * _read_bytes(shape, memory) + keys * memory.token_bytes
    flops = tokens * (2 * shape.num_multiplied + tokens / 2 * _pair_flops(shape))
    return read, flops


def _read_bytes(shape: ModelShape, memory: MemoryPlan) -> float:
    return float(shape.num_multiplied * DTYPE_BYTES[memory.dtype])


def _pair_flops(shape: ModelShape) -> float:
    return float(4 * shape.num_layers * shape.num_q_heads * shape.head_dim)
