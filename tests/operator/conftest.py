"""One control plane for all tests of the operator; it starts when the first one asks for it."""

from kube_fixtures import cluster, namespace

__all__ = ["cluster", "namespace"]
