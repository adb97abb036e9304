"""What to run as one replica of a revision."""

import sys
from functools import partial
from pathlib import Path
from typing import Protocol

from pagelet_operator.api.engine_args import engine_args
from pagelet_operator.api.spec import ModelDeploymentSpec


class EngineCommand(Protocol):
    """Chooses the program; tests put a scripted engine here."""

    def __call__(
        self, spec: ModelDeploymentSpec, name: str, port: int, drain_s: float
    ) -> tuple[str, ...]:
        """Return the arguments of an engine for `spec` that listens on 127.0.0.1:`port`.

        Args:
            spec: The revision's spec, defaults filled in.
            name: The resource's name.
            port: TCP port.
            drain_s: Longest time that requests in flight may take after SIGTERM.
        """
        ...


def pagelet(*arguments: str) -> tuple[str, ...]:
    """Return the command line of a `pagelet` sub-command, with this very installation."""
    # -P: a folder called `pagelet` where the user happens to stand is not this package.
    return (sys.executable, "-P", "-m", "pagelet", *arguments)


def serve(
    spec: ModelDeploymentSpec,
    name: str,
    port: int,
    drain_s: float,
    gateway_key_file: Path | None = None,
) -> tuple[str, ...]:
    """Return `pagelet serve` for one replica; who may call it knows the gateway's key."""
    listen = ["--host=127.0.0.1", f"--port={port}", f"--drain-timeout={drain_s:g}"]
    if gateway_key_file is not None:
        listen.append(f"--gateway-key-file={gateway_key_file}")
    return pagelet("serve", *engine_args(spec, name), *listen)


def serving(gateway_key_file: Path) -> EngineCommand:
    """Return `serve` for engines that share this key file with the gateway."""
    return partial(serve, gateway_key_file=gateway_key_file)
