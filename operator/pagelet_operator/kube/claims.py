"""Which ModelDeployment of a namespace a model name belongs to: the oldest that names it.

Gateways decide the same way, so the younger one would run and never be asked. What is known is
what was reconciled or listed; the caller checks an older claim before it acts on it.
"""

from collections import defaultdict
from dataclasses import dataclass

from pagelet_operator.core.model import ModelRef


@dataclass(frozen=True, slots=True, order=True)
class _Claim:
    created: str
    """As the API server writes it: sorts by time."""
    ref: ModelRef


class Claims:
    """Who names which model; belongs to one event loop."""

    def __init__(self) -> None:
        self._names: dict[ModelRef, str] = {}
        self._claims: defaultdict[tuple[str, str], dict[ModelRef, _Claim]] = defaultdict(dict)

    def note(self, ref: ModelRef, served_name: str, created: str) -> tuple[ModelRef, ...]:
        """Remember a claim; return who else names the model, if this one is new or changed."""
        if self._names.get(ref) == served_name:
            return ()
        freed = self.forget(ref)
        self._names[ref] = served_name
        found = self._claims[ref.namespace, served_name]
        others = tuple(sorted(found))
        found[ref] = _Claim(created, ref)
        return tuple(sorted({*freed, *others}))

    def forget(self, ref: ModelRef) -> tuple[ModelRef, ...]:
        """Forget a resource that is gone; return who else names its model."""
        name = self._names.pop(ref, None)
        if name is None:
            return ()
        found = self._claims[ref.namespace, name]
        del found[ref]
        if not found:
            del self._claims[ref.namespace, name]
        return tuple(sorted(found))

    def older(self, ref: ModelRef) -> ModelRef | None:
        """Return the oldest that names the same model; None if that is `ref` itself."""
        name = self._names.get(ref)
        if name is None:
            return None
        first = min(self._claims[ref.namespace, name].values())
        return None if first.ref == ref else first.ref
