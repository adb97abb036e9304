"""`kubectl pagelet`: the `pagelet` command for who works on a cluster.

kubectl runs the program `kubectl-pagelet` that it finds on PATH
(https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/). The commands are the same; those
about rollouts ask the cluster of KUBECONFIG even while a `pagelet up` runs on this machine.
"""

from pagelet.main import build


def main() -> None:
    """Run the command line as kubectl's plugin."""
    build()(prog_name="kubectl pagelet", obj={"cluster_only": True})
