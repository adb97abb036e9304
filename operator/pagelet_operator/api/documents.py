"""ModelDeployments and Secrets in YAML files, for the commands that work without a cluster."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pagelet_operator.api.resource import InvalidResourceError, ModelDeployment, parse
from pagelet_operator.api.secrets import InvalidSecretError, Secrets, is_secret, parse_secret


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe subset, with a key that stands twice refused instead of half ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                raise _error("a key must be a word, not a list or a mapping", key_node)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise _error(f"the key {key!r} stands twice (line {line})", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _error(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _decode(path: Path) -> list[object]:
    """Return the documents of a file.

    Raises:
        InvalidResourceError: It cannot be read or is not YAML.
    """
    try:
        return list(yaml.load_all(path.read_text("utf-8"), Loader=_StrictLoader))
    except OSError as error:
        raise InvalidResourceError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidResourceError(f"{path}: is not UTF-8 text: {error.reason}") from None
    except yaml.YAMLError as error:
        raise InvalidResourceError(f"{path}: is not valid YAML: {_one_line(error)}") from None
    except RecursionError:
        raise InvalidResourceError(f"{path}: is not valid YAML: nested too deeply") from None
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        # PyYAML's own readers of dates, numbers and tagged values raise what Python does.
        reason = " ".join(str(error).split())[:120]
        raise InvalidResourceError(
            f"{path}: is not valid YAML: a value cannot be read as its type: {reason}"
        ) from None


def load(path: Path) -> list[ModelDeployment]:
    """Return the ModelDeployments in one YAML file, in order.

    Empty documents and Secrets are passed over.

    Raises:
        InvalidResourceError: The file cannot be read, is not YAML, holds nothing, or one of its
            documents is not a ModelDeployment that can work. The message starts with the path.
    """
    documents = _decode(path)
    found = []
    for index, document in enumerate(documents):
        if document is None or is_secret(document):
            continue
        try:
            found.append(parse(document))
        except InvalidResourceError as error:
            raise InvalidResourceError(f"{_place(path, documents, index)}: {error}") from None
    if not found and not any(map(is_secret, documents)):
        raise InvalidResourceError(f"{path}: holds no ModelDeployment")
    return found


def load_secrets(paths: Sequence[Path]) -> Secrets:
    """Return the content of the Secrets in several files.

    Raises:
        InvalidResourceError: A file cannot be read, or holds a Secret that is none, or two of
            one name. No message shows what a Secret holds.
    """
    found: dict[tuple[str, str], dict[str, bytes]] = {}
    for path in paths:
        documents = _decode(path)
        for index, document in enumerate(documents):
            if not is_secret(document):
                continue
            try:
                name, content = parse_secret(document)
            except InvalidSecretError as error:
                raise InvalidResourceError(f"{_place(path, documents, index)}: {error}") from None
            if name in found:
                raise InvalidResourceError(f"{path}: the Secret {'/'.join(name)} stands twice")
            found[name] = content
    return found


def _place(path: Path, documents: Sequence[object], index: int) -> str:
    return f"{path}" if len(documents) == 1 else f"{path}, document {index + 1}"


def load_all(paths: Sequence[Path]) -> list[ModelDeployment]:
    """Return the ModelDeployments of several files.

    Raises:
        InvalidResourceError: As `load_each`.
    """
    return [resource for _, resource in load_each(paths)]


def load_each(paths: Sequence[Path]) -> list[tuple[Path, ModelDeployment]]:
    """Return the ModelDeployments of several files, each with the file it stands in.

    Raises:
        InvalidResourceError: As `load`, or two resources share a name or a model name.
    """
    found = [(path, resource) for path in paths for resource in load(path)]
    if not found:
        raise InvalidResourceError(
            f"{', '.join(map(str, paths))}: no ModelDeployment, only Secrets"
        )
    names: dict[str, Path] = {}
    models: dict[str, Path] = {}
    for path, resource in found:
        meta = resource.metadata
        name = f"{meta.namespace}/{meta.name}"
        _refuse_twice(names, name, path, "metadata.name: the resource name")
        model = resource.spec.model.name or meta.name
        _refuse_twice(models, model, path, "spec.model.name: the model name")
    return found


def _refuse_twice(seen: dict[str, Path], key: str, path: Path, what: str) -> None:
    if key in seen:
        raise InvalidResourceError(
            f"{path}: {what} {key!r} is used twice, first in {seen[key]}; give each its own"
        )
    seen[key] = path


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it does not parse"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)
