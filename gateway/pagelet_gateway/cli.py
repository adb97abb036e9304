"""The `gateway` command. Imports what is heavy only once it runs."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add `gateway` to the command line."""
    app.command("gateway")(gateway)


def gateway(
    route_table: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "--route-table",
            help="Route table to obey, a JSON file; may appear later and change at any time.",
        ),
    ] = None,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Obey the ModelDeployments of a cluster.")
    ] = False,
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="With --kubernetes: follow this namespace only; may be repeated."),
    ] = None,
    kubeconfig: Annotated[
        str | None,
        typer.Option(
            help="With --kubernetes: how to reach the cluster. Default: the pod's account, else "
            "KUBECONFIG."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 lets the system choose.")] = 8080,
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Serve a status page and /metrics there, not on the clients' port."),
    ] = None,
    metrics_host: Annotated[
        str | None, typer.Option(help="Address of --metrics-port. Default: as --host.")
    ] = None,
    require_keys: Annotated[
        bool, typer.Option(help="Serve no model without tenants, instead of to everybody.")
    ] = False,
    replicas: Annotated[
        int | None,
        typer.Option(help="How many gateways share the quotas, this one included. Default: 1."),
    ] = None,
    replicas_service: Annotated[
        str | None,
        typer.Option(help="Count the addresses of this name as replicas: a headless Service."),
    ] = None,
    quota_store: Annotated[
        str | None,
        typer.Option(
            envvar="PAGELET_QUOTA_STORE",
            show_envvar=True,
            help="redis:// URL of a Valkey or Redis server that keeps the quotas of all gateways.",
        ),
    ] = None,
    quota_store_failure: Annotated[
        str, typer.Option(help="While the store is gone: local (a share each), open or closed.")
    ] = "local",
    quota_store_timeout: Annotated[
        float, typer.Option(help="Longest wait of a request for the store, seconds.")
    ] = 0.5,
    drain_timeout: Annotated[
        float, typer.Option(help="Longest wait for open streams after SIGTERM, seconds.")
    ] = 300.0,
    drain_delay: Annotated[
        float, typer.Option(help="How long new connections are taken after SIGTERM, seconds.")
    ] = 0.0,
    head_timeout: Annotated[
        float, typer.Option(help="Longest wait for a request's head, seconds.")
    ] = 15.0,
    stream_idle_timeout: Annotated[
        float, typer.Option(help="Longest silence of an engine within an answer, seconds.")
    ] = 60.0,
    slow_reader_timeout: Annotated[
        float, typer.Option(help="Longest wait for a client that does not read, seconds.")
    ] = 30.0,
    max_body_bytes: Annotated[int, typer.Option(help="Largest request body, bytes.")] = 8
    * 1024
    * 1024,
    access_log: Annotated[
        bool, typer.Option(help="Write a line per request, without anything that was said.")
    ] = True,
) -> None:
    """Serve OpenAI's API for every model of a route table, in front of their engines.

    Exit codes: 0 after a drain, 1 if streams were cut by the drain timeout, 2 if it cannot
    start as configured (the sentence on stderr says why), 128 + N on a second signal N.
    """
    from pagelet_gateway.config import GatewayConfig
    from pagelet_gateway.errors import ConfigError
    from pagelet_gateway.server.run import run

    try:
        config = GatewayConfig(
            route_table=route_table,
            kubernetes=kubernetes,
            namespaces=tuple(namespace or ()),
            kubeconfig=kubeconfig,
            host=host,
            port=port,
            metrics_port=metrics_port,
            metrics_host=metrics_host,
            require_keys=require_keys,
            replicas=replicas,
            replicas_service=replicas_service,
            quota_store=quota_store,
            quota_store_failure=quota_store_failure,
            quota_store_timeout_s=quota_store_timeout,
            drain_timeout_s=drain_timeout,
            drain_delay_s=drain_delay,
            access_log=access_log,
            max_body_bytes=max_body_bytes,
            head_timeout_s=head_timeout,
            stream_idle_timeout_s=stream_idle_timeout,
            slow_reader_timeout_s=slow_reader_timeout,
        )
        code = run(config)
    except ConfigError as error:
        typer.echo(f"pagelet gateway: {error}", err=True)
        code = 2
    raise typer.Exit(code)
