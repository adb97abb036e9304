"""Builders of control-plane nouns for tests: only what a test varies has to be said."""

from typing import Any

from pagelet_operator.core.model import (
    Fleet,
    Model,
    ModelRef,
    RevisionFleet,
    Role,
    RolloutPolicy,
    Step,
)

REF = ModelRef("default", "chat")
POLICY = RolloutPolicy(
    steps=(Step(5, 60.0), Step(25, 60.0), Step(50, 60.0)),
    progress_deadline_s=600.0,
    retain_stable_s=300.0,
)


def a_model(revision: str = "chat-a", **changes: Any) -> Model:
    fields: dict[str, Any] = {
        "ref": REF,
        "generation": 1,
        "served_name": "chat",
        "revision": revision,
        "template": {"model": {"source": f"dummy://{revision}"}},
        "replicas": 1,
        "request_timeout_s": 600.0,
        "rollout": POLICY,
    }
    return Model(**{**fields, **changes})


def a_fleet(
    ready: dict[str, int] | None = None,
    roles: dict[str, Role] | None = None,
    asked: dict[str, int] | None = None,
    **failures: str,
) -> Fleet:
    """A fleet whose revisions have this many ready replicas; failures by `chat_a=sentence`.

    Where it is not said how many were asked for, those that are ready were, and one at least.
    """
    failed = {name.replace("_", "-"): text for name, text in failures.items()}
    names = {**(ready or {}), **dict.fromkeys(failed, 0)}
    return Fleet(
        {
            name: RevisionFleet(
                revision=name,
                template={"model": {"source": f"dummy://{name}"}},
                replicas=(asked or {}).get(name, max(1, count)),
                endpoints=tuple(f"http://{name}-{index}:8000" for index in range(count)),
                role=(roles or {}).get(name),
                failure=failed.get(name),
            )
            for name, count in names.items()
        }
    )
