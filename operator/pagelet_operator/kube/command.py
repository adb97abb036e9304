"""`pagelet operator` and `pagelet crd`: the bodies; what is heavy is imported in them."""

import asyncio
import logging
from typing import Annotated

import typer

DEFAULT_ENGINE_IMAGE = "ghcr.io/pagelet/pagelet-engine:0.1.0"

DEFAULT_GATE_IMAGE = "ghcr.io/pagelet/pagelet-operator:0.1.0"
"""The operator's own image, as install.yaml has it."""

DEFAULT_GATEWAY_URL = "http://pagelet-gateway.pagelet-system.svc/v1"
"""Where install.yaml puts the gateway."""

_EXIT_LOST, _EXIT_CONFIG = 1, 2


def operator(
    namespace: Annotated[
        str | None, typer.Option(help="Serve this namespace only; needs a Role there only.")
    ] = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", help="Serve every namespace (the default).")
    ] = False,
    kubeconfig: Annotated[
        str | None,
        typer.Option(help="How to reach the cluster. Default: the pod's account, else KUBECONFIG."),
    ] = None,
    engine_image: Annotated[
        str, typer.Option(help="Image of engines whose spec names none.")
    ] = DEFAULT_ENGINE_IMAGE,
    gate_image: Annotated[
        str, typer.Option(help="Image with `pagelet gate`, which tries canaries before users do.")
    ] = DEFAULT_GATE_IMAGE,
    gateway_url: Annotated[
        str, typer.Option(help="Where clients reach the gateway; status.endpoint says it.")
    ] = DEFAULT_GATEWAY_URL,
    gateway_namespace: Annotated[
        str, typer.Option(help="Namespace of the gateways' pods, whose metrics judge canaries.")
    ] = "pagelet-system",
    prometheus_url: Annotated[
        str | None,
        typer.Option(
            help="A Prometheus server that reads the gateways. Default: they are read here."
        ),
    ] = None,
    health_host: Annotated[str, typer.Option(help="Address of the health port.")] = "0.0.0.0",  # noqa: S104
    health_port: Annotated[
        int, typer.Option(help="Port of /healthz, /readyz and /metrics; 0 takes a free one.")
    ] = 8081,
    lease: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE/NAME",
            help="Work only while this process holds that Lease; of several, one works.",
        ),
    ] = None,
) -> None:
    """Run the control plane of a cluster: ModelDeployments in, replicas and traffic out.

    Exit codes: 0 stopped by a signal; 1 it failed, or its Lease was lost; 2 it cannot run as
    configured.
    """
    if namespace and all_namespaces:
        raise typer.BadParameter("give --namespace or --all-namespaces, not both")
    from pagelet_operator.kube.lease import LeaseLostError
    from pagelet_operator.kube.process import Options, SetupError, run

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # It says of every event that it was passed on; what was decided is our own line.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    options = Options(
        namespace=namespace,
        kubeconfig=kubeconfig,
        engine_image=engine_image,
        gate_image=gate_image,
        gateway_url=gateway_url,
        gateway_namespace=gateway_namespace,
        prometheus_url=prometheus_url,
        health_host=health_host,
        health_port=health_port,
        lease=_lease(lease),
    )
    try:
        asyncio.run(run(options))
    except SetupError as error:
        typer.echo(f"pagelet operator: {error}", err=True)
        raise typer.Exit(_EXIT_CONFIG) from None
    except LeaseLostError as error:
        typer.echo(f"pagelet operator: {error}; it ends, to be started again", err=True)
        raise typer.Exit(_EXIT_LOST) from None


def _lease(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise typer.BadParameter(f"--lease {text!r}: give NAMESPACE/NAME")
    return namespace, name


def crd() -> None:
    """Print the CustomResourceDefinition; pipe it to `kubectl apply --server-side -f -`."""
    from pagelet_operator.kube.generate import crd_yaml

    typer.echo(crd_yaml(), nl=False)
