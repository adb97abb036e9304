"""Opens the source that a configuration names; the cluster's client is imported only for it."""

from prometheus_client import CollectorRegistry

from pagelet_gateway.config import GatewayConfig
from pagelet_gateway.sources.file import FileSource
from pagelet_gateway.sources.source import Sink, Source


async def open_source(config: GatewayConfig, sink: Sink, registry: CollectorRegistry) -> Source:
    """Return where the route table comes from; what is there already is delivered at once.

    Raises:
        ConfigError: There is no cluster to follow.
    """
    if config.route_table is not None:
        source = FileSource(config.route_table, sink, interval_s=config.poll_interval_s)
        source.poll()  # Before the first request, if the file is there.
        return source
    from pagelet_gateway.sources.kube_api import load_configuration
    from pagelet_gateway.sources.kubernetes import KubernetesSource
    from pagelet_gateway.sources.metrics import SourceMetrics

    configuration = await load_configuration(config.kubeconfig)
    return KubernetesSource(configuration, config.namespaces, sink, SourceMetrics(registry))
