"""File descriptors: how many a gateway may have, and how many clients fit into them.

A client being served holds two, its own connection and the one to the engine. Many systems give a
process 1,024 unless it asks for more, which would be fewer than 500 clients.
"""

import resource

import structlog

log = structlog.get_logger("pagelet.gateway")

MAX_CONNECTIONS = 8192
_SPARE_DESCRIPTORS = 64
"""Listening sockets, files, logs, what is asked of clusters, stores and engines."""


def raise_limit() -> None:
    """Ask for all the descriptors the system would give, and log what there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    refusal = None
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:  # some systems allow less than their hard limit
            refusal = str(error)
    now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    facts = {"before": _told(soft), "now": _told(now), "hard": _told(hard)}
    log.info("file descriptors", **facts, clients=max_connections())
    if refusal is not None:
        log.warning("file descriptor limit not raised", reason=refusal)


def max_connections() -> int:
    """Return how many connections may be open: fewer where descriptors are scarce."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return clients_within(soft)


def clients_within(descriptors: int) -> int:
    """Return how many clients' connections fit into so many descriptors; at least one."""
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, descriptors // 2 - _SPARE_DESCRIPTORS))


def _told(limit: int) -> int | str:
    return "unlimited" if limit == resource.RLIM_INFINITY else limit
