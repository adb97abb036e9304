"""What to run as one replica of a revision."""

import sys
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


def serve(spec: ModelDeploymentSpec, name: str, port: int, drain_s: float) -> tuple[str, ...]:
    """Return `pagelet serve` for one replica."""
    listen = ("--host=127.0.0.1", f"--port={port}", f"--drain-timeout={drain_s:g}")
    return pagelet("serve", *engine_args(spec, name), *listen)
