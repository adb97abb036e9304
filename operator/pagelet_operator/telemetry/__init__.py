"""Where the figures of a rollout come from: gateways and engines, or a Prometheus server."""
