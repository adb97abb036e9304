"""Runs sequences through an engine in this process and collects what comes out."""

from pagelet_engine.assembly import build_engine
from pagelet_engine.config import EngineConfig
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine import Engine
from pagelet_engine.messages import Submit, TokenOutput

GREEDY = SamplingParams(max_tokens=20, temperature=0.0, ignore_eos=True)


Sampling = SamplingParams | list[SamplingParams]


def make_engine(model: str, **changes: object) -> Engine:
    # One thread: on a busy machine two wait for each other longer than they compute.
    settings: dict[str, object] = {"model": model, "num_threads": 1, **changes}
    return build_engine(EngineConfig(**settings), lambda stage: None)  # type: ignore[arg-type]


def generate(
    engine: Engine,
    prompts: list[list[int]],
    sampling: SamplingParams | list[SamplingParams] = GREEDY,
) -> list[list[int]]:
    """Return the output of each prompt, all of them in flight together."""
    outputs = collect(engine, prompts, sampling)
    return [[token for output in seq for token in output.token_ids] for seq in outputs]


def collect(
    engine: Engine,
    prompts: list[list[int]],
    sampling: SamplingParams | list[SamplingParams] = GREEDY,
) -> list[list[TokenOutput]]:
    """Return every message of each prompt; ids are those of the list."""
    each = sampling if isinstance(sampling, list) else [sampling] * len(prompts)
    outputs: list[list[TokenOutput]] = [[] for _ in prompts]
    for seq_id, (prompt, params) in enumerate(zip(prompts, each, strict=True)):
        refused = engine.add(Submit(seq_id, prompt, params))
        if refused is not None:
            outputs[seq_id].append(refused)
    while engine.has_work:
        for output in engine.step():
            outputs[output.seq_id].append(output)
    return outputs
