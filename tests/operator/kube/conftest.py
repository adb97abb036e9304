"""One control plane for all tests of the operator's edge."""

from kube_fixtures import cluster, namespace

__all__ = ["cluster", "namespace"]
