"""Who falls back to whom: the model names of other ModelDeployments, and who waits for them."""

from collections import defaultdict
from collections.abc import Iterable

from pagelet_operator.api.resource import ModelDeployment
from pagelet_operator.api.traffic_policy import named_models
from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import MODEL_DEPLOYMENTS, Api


async def served_names(api: Api, resource: ModelDeployment) -> dict[str, str]:
    """Return the model names of the ModelDeployments that `resource` falls back to.

    Those that do not exist are missing. A model name cannot change, so an answer stays true
    until its ModelDeployment is deleted.

    Raises:
        UnavailableError: The API server did not answer.
    """
    found = {}
    for name in named_models(resource.spec):
        live = await api.get(MODEL_DEPLOYMENTS, resource.metadata.namespace, name)
        if live is not None and "deletionTimestamp" not in live["metadata"]:
            found[name] = str(live["spec"]["model"].get("name") or name)
    return found


class Dependents:
    """Which models fall back to which, as of each one's last reconcile."""

    def __init__(self) -> None:
        self._targets: dict[ModelRef, frozenset[ModelRef]] = {}
        self._sources: defaultdict[ModelRef, set[ModelRef]] = defaultdict(set)

    def note(self, source: ModelRef, targets: Iterable[str]) -> None:
        """Remember that `source` falls back to these ModelDeployments of its namespace."""
        self.forget(source)
        refs = frozenset(ModelRef(source.namespace, name) for name in targets)
        if refs:
            self._targets[source] = refs
        for ref in refs:
            self._sources[ref].add(source)

    def forget(self, source: ModelRef) -> None:
        """Forget what `source` falls back to."""
        for ref in self._targets.pop(source, frozenset()):
            self._sources[ref].discard(source)
            if not self._sources[ref]:
                del self._sources[ref]

    def of(self, target: ModelRef) -> tuple[ModelRef, ...]:
        """Return the models that fall back to `target`, sorted."""
        return tuple(sorted(self._sources.get(target, ())))
