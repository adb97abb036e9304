"""Shapes, devices and mixes for tests of the planner."""

from hypothesis import strategies as st

from pagelet_operator.core.model import Capacity, Strategy
from pagelet_operator.core.planner.devices import Device, device
from pagelet_operator.core.planner.estimate import Resource
from pagelet_operator.core.planner.fragile import Caps
from pagelet_operator.core.planner.known_models import KNOWN
from pagelet_operator.core.planner.memory import EngineNumbers, plan_memory
from pagelet_operator.core.planner.mix import Lengths, Mix, of_percentiles
from pagelet_operator.core.planner.service import Replica, Targets
from pagelet_operator.core.planner.step_time import StepTime, from_data_sheet

LLAMA_8B = KNOWN["dummy://llama-3.1-8b"]
SMOLLM2 = KNOWN["dummy://smollm2-135m"]
H100 = device("h100-sxm")
CPU = Device(name="cpu", is_gpu=False, memory_bytes=24 * 2**30)
CHAT = Mix(
    prompts=of_percentiles(200, 900, 2000, "prompts"),
    outputs=of_percentiles(100, 300, 800, "outputs"),
    source="a test",
)


def lengths(longest=4000):
    """Percentiles that rise."""
    three = st.tuples(*(st.integers(1, longest) for _ in range(3))).map(sorted)
    return three.map(lambda found: of_percentiles(*found, "lengths"))


def mixes():
    return st.builds(Mix, prompts=lengths(), outputs=lengths(1000), source=st.just("drawn"))


def step_times():
    return st.builds(
        StepTime,
        base_s=st.floats(1e-4, 0.1),
        token_s=st.floats(1e-6, 1e-2),
        pair_s=st.floats(0, 1e-6),
        key_s=st.floats(0, 1e-5),
        source=st.just("drawn"),
    )


def replica(mix=CHAT, steps=None, **engine):
    """An 8B model on an H100."""
    memory = plan_memory(LLAMA_8B, EngineNumbers(**engine), H100)
    return Replica(memory, steps or from_data_sheet(LLAMA_8B, memory, H100), mix)


def asked(**parts):
    """A resource that bounds everything and asks for one replica."""
    given = {
        "engine": EngineNumbers(max_model_len=4096),
        "caps": Caps(max_prompt_tokens=3000, max_output_tokens=1000),
        "targets": Targets(),
        "min_replicas": 1,
        "max_replicas": 50,
        "gpus_each": 1,
        "strategy": Strategy.CANARY,
        "capacity": Capacity.AUTO,
        "weights": (5, 25, 50),
    }
    return Resource(**(given | parts))


def longer(mix, factor):
    """The same requests with prompts that are longer by a factor."""
    found = mix.prompts
    prompts = Lengths(
        mean=found.mean * factor,
        mean_square=found.mean_square * factor**2,
        p50=found.p50 * factor,
        p95=found.p95 * factor,
        p99=found.p99 * factor,
    )
    return Mix(prompts=prompts, outputs=mix.outputs, source=mix.source)
