"""A control plane of the gateway's own: its tests stop the API server and start it again."""

from kube_fixtures import cluster, namespace

__all__ = ["cluster", "namespace"]
