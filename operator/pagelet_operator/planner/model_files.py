"""Finds a model's shape: a table, a file at hand, or flags; nothing is downloaded or imported."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.known_models import KNOWN
from pagelet_operator.core.planner.shape import ModelShape, from_config, from_flags, from_gguf
from pagelet_operator.planner.gguf_head import read_gguf_head


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeFlags:
    """What the command line says of a model; None where it says nothing."""

    config: Path | None = None
    layers: int | None = None
    kv_heads: int | None = None
    head_size: int | None = None
    params: int | None = None
    context_window: int | None = None

    def _numbers(self) -> dict[str, int | None]:
        return {
            "--layers": self.layers,
            "--kv-heads": self.kv_heads,
            "--head-size": self.head_size,
            "--params": self.params,
            "--context-window": self.context_window,
        }

    def said(self) -> ModelShape | None:
        """Return the shape that flags give; None if there are none.

        Raises:
            PlanError: Some are missing, or they stand beside `--config`.
        """
        numbers = self._numbers()
        missing = [name for name, value in numbers.items() if value is None]
        if len(missing) == len(numbers):
            return None if self.config is None else shape_at(self.config)
        if self.config is not None:
            raise PlanError("--config says the model's shape already; leave the other flags out")
        if missing:
            raise PlanError(
                f"{', '.join(missing)}: the model's shape needs all of {', '.join(numbers)}"
            )
        layers, kv_heads, head_size, params, window = (value or 0 for value in numbers.values())
        return from_flags(layers, kv_heads, head_size, params, window)


def find_shape(source: str, flags: ShapeFlags) -> ModelShape:
    """Return the shape of the model that a resource names.

    Args:
        source: `spec.model.source`.
        flags: What the command line says; it wins.

    Raises:
        PlanError: Nobody at hand knows the model, or its file cannot be read.
    """
    said = flags.said()
    if said is not None:
        return said
    if source in KNOWN:
        return KNOWN[source]
    path = _local(source)
    if path is None:
        raise PlanError(
            f"spec.model.source {source!r}: its shape is not known here; give --config with its "
            f"config.json or .gguf file, or --layers, --kv-heads, --head-size, --params and "
            f"--context-window"
        )
    return shape_at(path)


def shape_at(path: Path) -> ModelShape:
    """Return the shape in a config.json, a folder with one, or a .gguf file.

    Raises:
        PlanError: There is none, or it cannot be used; names the path.
    """
    if path.is_dir():
        ggufs = sorted(path.glob("*.gguf"))
        inside = path / "config.json"
        return shape_at(ggufs[0] if len(ggufs) == 1 and not inside.is_file() else inside)
    if path.suffix != ".gguf":
        return from_config(_json(path), str(path))
    head = read_gguf_head(path)
    embedding = head.tensors.get("token_embd.weight")
    if embedding is None or len(embedding) != 2:
        raise PlanError(f"{path}: has no tensor token_embd.weight, so its vocabulary is unknown")
    return from_gguf(head.fields, embedding[1], head.tensors, str(path))


def _local(source: str) -> Path | None:
    scheme, _, rest = source.partition("://")
    if scheme == "file":
        return Path(rest)
    if scheme != "package":
        return None
    package, _, file = rest.partition("/")
    # A top-level name only: finding a dotted one would import, and so run, its parent.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations or ".." in Path(file).parts:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / file


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise PlanError(f"{path}: is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise PlanError(f"{path}: holds no JSON object")
    return found
