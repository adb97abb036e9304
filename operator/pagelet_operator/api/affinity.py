"""`spec.pod.affinity`: a Pod's own affinity, field for field.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#scheduling.
Written out so that a misspelt field is refused with the resource, not with its Deployment.
"""

from typing import Annotated, Literal

from pydantic import Field

from pagelet_operator.api.wire import WireModel

Weight = Annotated[int, Field(ge=1, le=100, description="How much it counts.")]


class NodeRequirement(WireModel):
    """A label or field of a node and what its value may be."""

    key: str = Field(description="Label or field.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How the values count."
    )
    values: list[str] | None = Field(default=None, max_length=64, description="Values.")


class NodeTerm(WireModel):
    """Requirements that hold together."""

    match_expressions: list[NodeRequirement] | None = Field(
        default=None, max_length=32, description="Of the node's labels."
    )
    match_fields: list[NodeRequirement] | None = Field(
        default=None, max_length=32, description="Of the node's fields."
    )


class NodeSelector(WireModel):
    """Terms of which one has to hold."""

    node_selector_terms: list[NodeTerm] = Field(
        min_length=1, max_length=32, description="One has to hold."
    )


class PreferredNode(WireModel):
    """A term that is better met."""

    weight: Weight
    preference: NodeTerm = Field(description="What is better met.")


class NodeAffinity(WireModel):
    """Which nodes."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        default=None, description="What must hold."
    )
    preferred_during_scheduling_ignored_during_execution: list[PreferredNode] | None = Field(
        default=None, max_length=32, description="What is better met."
    )


class LabelRequirement(WireModel):
    """A label and what its value may be."""

    key: str = Field(description="Label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the values count."
    )
    values: list[str] | None = Field(default=None, max_length=64, description="Values.")


class LabelSelector(WireModel):
    """Objects by their labels; an empty one selects all."""

    match_labels: dict[str, str] | None = Field(default=None, description="Labels and values.")
    match_expressions: list[LabelRequirement] | None = Field(
        default=None, max_length=32, description="Requirements that hold together."
    )


class PodTerm(WireModel):
    """Pods, and what counts as the same place."""

    topology_key: str = Field(min_length=1, description="The node label that makes a place.")
    label_selector: LabelSelector | None = Field(default=None, description="Which pods.")
    namespaces: list[str] | None = Field(default=None, max_length=32, description="Where they are.")
    namespace_selector: LabelSelector | None = Field(
        default=None, description="Where they are, by label."
    )
    match_label_keys: list[str] | None = Field(
        default=None, max_length=32, description="Labels to take from the pod itself."
    )
    mismatch_label_keys: list[str] | None = Field(
        default=None, max_length=32, description="Labels in which the pods must differ."
    )


class PreferredPods(WireModel):
    """A term that is better met."""

    weight: Weight
    pod_affinity_term: PodTerm = Field(description="What is better met.")


class PodAffinity(WireModel):
    """Near which pods, or away from which."""

    required_during_scheduling_ignored_during_execution: list[PodTerm] | None = Field(
        default=None, max_length=32, description="What must hold."
    )
    preferred_during_scheduling_ignored_during_execution: list[PreferredPods] | None = Field(
        default=None, max_length=32, description="What is better met."
    )


class Affinity(WireModel):
    """Where the scheduler may put a pod, as in a Pod."""

    node_affinity: NodeAffinity | None = Field(default=None, description="Which nodes.")
    pod_affinity: PodAffinity | None = Field(default=None, description="Near which pods.")
    pod_anti_affinity: PodAffinity | None = Field(default=None, description="Away from which pods.")
