"""A world in memory, for tests of anything that uses a `Runtime`; it ships with the package."""

from dataclasses import dataclass, field

from pagelet_operator.core.model import Fleet, Model, ModelRef, Plan, RevisionFleet
from pagelet_operator.ports import UnavailableError


@dataclass
class FakeRuntime:
    """Replicas become ready when told to; every write is counted.

    Attributes:
        ready: Ready replicas by revision, at most those that exist; set by the test.
        failures: Sentence of a permanent failure by revision; set by the test.
        unavailable: While True every call raises UnavailableError.
        writes: How many changes `apply` made since the start.
    """

    ready: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    unavailable: bool = False
    writes: int = 0
    plans: dict[ModelRef, Plan] = field(default_factory=dict)

    async def observe(self, ref: ModelRef) -> Fleet:
        """Return what the last plan asked for, as ready as the test says."""
        self._check()
        plan = self.plans.get(ref)
        if plan is None:
            return Fleet()
        return Fleet(
            {item.revision: self._revision(item.revision, plan) for item in plan.revisions}
        )

    async def apply(self, model: Model, plan: Plan) -> int:
        """Remember the plan; count a write if it differs."""
        self._check()
        if self.plans.get(model.ref) == plan:
            return 0
        self.plans[model.ref] = plan
        self.writes += 1
        return 1

    def _revision(self, revision: str, plan: Plan) -> RevisionFleet:
        item = next(item for item in plan.revisions if item.revision == revision)
        ready = min(self.ready.get(revision, 0), item.replicas)
        return RevisionFleet(
            revision=revision,
            template=item.template,
            replicas=item.replicas,
            role=item.role,
            endpoints=tuple(f"http://{revision}-{index}:8000" for index in range(ready)),
            failure=self.failures.get(revision),
        )

    def _check(self) -> None:
        if self.unavailable:
            raise UnavailableError("the test says no")
