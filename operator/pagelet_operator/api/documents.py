"""ModelDeployments in YAML files, for the commands that work without a cluster."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from pagelet_operator.api.resource import InvalidResourceError, ModelDeployment, parse


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe subset, with a key that stands twice refused instead of half ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice (line {line})", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path) -> list[ModelDeployment]:
    """Return the ModelDeployments in one YAML file, in order; empty documents are skipped.

    Raises:
        InvalidResourceError: The file cannot be read, is not YAML, holds nothing, or one of its
            documents is not a ModelDeployment that can work. The message starts with the path.
    """
    try:
        documents = list(yaml.load_all(path.read_text("utf-8"), Loader=_StrictLoader))
    except OSError as error:
        raise InvalidResourceError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidResourceError(f"{path}: is not UTF-8 text: {error.reason}") from None
    except yaml.YAMLError as error:
        raise InvalidResourceError(f"{path}: is not valid YAML: {_one_line(error)}") from None
    found = []
    for index, document in enumerate(documents):
        if document is None:
            continue
        try:
            found.append(parse(document))
        except InvalidResourceError as error:
            place = f"{path}" if len(documents) == 1 else f"{path}, document {index + 1}"
            raise InvalidResourceError(f"{place}: {error}") from None
    if not found:
        raise InvalidResourceError(f"{path}: holds no ModelDeployment")
    return found


def load_all(paths: list[Path]) -> list[ModelDeployment]:
    """Return the ModelDeployments of several files.

    Raises:
        InvalidResourceError: As `load`, or two resources share a name or a model name.
    """
    resources = [resource for path in paths for resource in load(path)]
    _refuse_twice([(r.metadata.namespace, r.metadata.name) for r in resources], "the resource name")
    _refuse_twice([(r.spec.model.name or r.metadata.name,) for r in resources], "the model name")
    return resources


def _refuse_twice(keys: list[tuple[str, ...]], what: str) -> None:
    for key in keys:
        if keys.count(key) > 1:
            name = "/".join(key)
            raise InvalidResourceError(f"{what} {name!r} is used twice; give each its own")


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it does not parse"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)
