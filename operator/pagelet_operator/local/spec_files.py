"""The files that say what to serve: read at the start, followed while they change.

Editing a file is what `kubectl apply` is on a cluster: `metadata.generation` counts the
changes of a resource's spec, and a resource that cannot work is refused as a whole, so that
what serves keeps serving.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pagelet_operator.api.documents import load_each, load_secrets
from pagelet_operator.api.resource import InvalidResourceError, ModelDeployment
from pagelet_operator.api.secrets import Secrets
from pagelet_operator.core.model import ModelRef

Resources = Mapping[ModelRef, ModelDeployment]
_Stamp = tuple[int, int, int] | None


class SpecFiles:
    """All resources of some files, and the Secrets beside them, as last accepted.

    Raises:
        InvalidResourceError: The files hold something that cannot work.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._considered = self._look()
        self._seen = self._considered
        self.resources: Resources
        self.secrets: Secrets
        self._read({})

    def poll(self) -> Resources | None:
        """Return all resources if the files changed and can work; None if nothing changed.

        A change counts once two polls in a row see the same files: an editor may write in
        several steps, and half a file can be a valid one that lacks a resource.

        Raises:
            InvalidResourceError: The change cannot work. Raised once for each change;
                `resources` stays what it was.
        """
        now = self._look()
        still, self._seen = now == self._seen, now
        if now == self._considered or not still:
            return None
        self._considered = now
        self._read(self.resources)
        return self.resources

    def _look(self) -> tuple[_Stamp, ...]:
        return tuple(_stamp(path) for path in self._paths)

    def _read(self, before: Resources) -> None:
        secrets = load_secrets(self._paths)
        found: dict[ModelRef, ModelDeployment] = {}
        for path, resource in load_each(self._paths):
            ref = ModelRef(resource.metadata.namespace, resource.metadata.name)
            found[ref] = _successor(path, before.get(ref), resource)
        self.resources, self.secrets = found, secrets


def _successor(
    path: Path, before: ModelDeployment | None, after: ModelDeployment
) -> ModelDeployment:
    """Return `after` with the generation that the API server would give it."""
    generation = 1
    if before is not None:
        _refuse_rename(path, before, after)
        generation = before.metadata.generation + (before.spec != after.spec)
    metadata = after.metadata.model_copy(update={"generation": generation})
    return after.model_copy(update={"metadata": metadata})


def _refuse_rename(path: Path, before: ModelDeployment, after: ModelDeployment) -> None:
    old, new = (item.spec.model.name or item.metadata.name for item in (before, after))
    if old != new:
        raise InvalidResourceError(
            f"{path}: spec.model.name: cannot change from {old!r} to {new!r}, since clients send "
            f"it; make a second ModelDeployment and move them over"
        )


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
