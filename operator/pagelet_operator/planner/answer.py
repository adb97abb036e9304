"""Puts a question together from the command line and answers it for each resource."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from pagelet_operator.api.quantities import memory_bytes
from pagelet_operator.api.resource import ModelDeployment
from pagelet_operator.core.planner.devices import Device, device
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.estimate import Estimate, Question, estimate
from pagelet_operator.core.planner.fleet import price
from pagelet_operator.core.planner.mix import Mix
from pagelet_operator.core.planner.step_time import MeasuredRun
from pagelet_operator.planner import lengths
from pagelet_operator.planner.measured_file import read_run
from pagelet_operator.planner.model_files import ShapeFlags, find_shape
from pagelet_operator.planner.resource import planned_resource

MAX_METRICS_BYTES = 16 * 2**20
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line; None for what it does not say."""

    gpu: str | None = None
    memory: str | None = None
    measured: Path | None = None
    prompt_tokens: str | None = None
    output_tokens: str | None = None
    trace: Path | None = None
    lengths_from: str | None = None
    rate_per_s: float | None = None
    headroom: float = 0.3
    price: str | None = None
    shape: ShapeFlags = field(default_factory=ShapeFlags)

    @property
    def is_asked(self) -> bool:
        """Whether there is anything to estimate on."""
        return self != Options()


def answer(resource: ModelDeployment, options: Options) -> Estimate:
    """Return the estimate of one resource.

    Raises:
        PlanError: An input cannot be used, or the resource cannot work; names field or flag.
    """
    run = None if options.measured is None else read_run(options.measured)
    question = Question(
        device=_device(options, run),
        run=run,
        mix=_mix(options, resource.served_name),
        rate_per_s=options.rate_per_s,
        headroom=options.headroom,
        price=None if options.price is None else price(options.price),
    )
    shape = find_shape(resource.spec.model.source, options.shape)
    return estimate(shape, planned_resource(resource), question)


def _device(options: Options, run: MeasuredRun | None) -> Device:
    given = None if options.memory is None else _bytes(options.memory)
    if options.gpu is not None:
        return device(options.gpu, given)
    found = given or (None if run is None else run.device_bytes)
    if found is None:
        raise PlanError("--gpu is needed: one of `pagelet plan --help`, or cpu with --memory")
    return device("cpu", found)


def _bytes(text: str) -> int:
    try:
        return memory_bytes(text)
    except ValueError as error:
        raise PlanError(f"--memory: {error}") from None


def _mix(options: Options, model: str) -> Mix | None:
    flags = (options.prompt_tokens, options.output_tokens)
    if [flags != (None, None), bool(options.trace), bool(options.lengths_from)].count(True) > 1:
        raise PlanError(
            "give one of --prompt-tokens with --output-tokens, --trace and --lengths-from; each "
            "says how long requests are"
        )
    if options.trace is not None:
        return lengths.from_trace(options.trace)
    if options.lengths_from is not None:
        return lengths.from_metrics(_fetched(options.lengths_from), model, options.lengths_from)
    if flags == (None, None):
        return None
    if options.prompt_tokens is None or options.output_tokens is None:
        missing = "--prompt-tokens" if options.prompt_tokens is None else "--output-tokens"
        raise PlanError(f"{missing} is missing; write p50,p95,p99 in tokens, such as 200,900,2000")
    return lengths.from_flags(options.prompt_tokens, options.output_tokens)


def _fetched(url: str) -> str:
    try:
        return asyncio.run(_get(url))
    except aiohttp.InvalidURL:
        raise PlanError(
            f"--lengths-from is {url!r}; write an address such as http://127.0.0.1:8080/metrics"
        ) from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise PlanError(f"--lengths-from {url}: cannot be read: {error or 'no answer'}") from None


async def _get(url: str) -> str:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
        if response.status != 200:
            raise PlanError(f"--lengths-from {url}: answered HTTP {response.status}")
        parts = []
        size = 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > MAX_METRICS_BYTES:
                raise PlanError(f"--lengths-from {url}: is above {MAX_METRICS_BYTES} bytes")
        return b"".join(parts).decode("utf-8", "replace")
