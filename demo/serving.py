"""`pagelet up` with the demo's engine in place of the plain one; options as of `pagelet up`."""

import functools
import sys
from pathlib import Path

import typer

from pagelet_operator.api.spec import ModelDeploymentSpec
from pagelet_operator.local import commands, up
from pagelet_operator.local.engine_command import serve

_ENGINE = Path(__file__).with_name("slowed_engine.py")


def main() -> None:
    """Take over this process as `pagelet up`."""
    plain = up.UpConfig

    @functools.wraps(plain)
    def configured(**options: object) -> up.UpConfig:
        key_file = Path(str(options["state_dir"])) / "gateway-key"

        def engine(
            spec: ModelDeploymentSpec, name: str, port: int, drain_s: float
        ) -> tuple[str, ...]:
            return (sys.executable, str(_ENGINE), *serve(spec, name, port, drain_s, key_file))

        return plain(**{**options, "engine": engine})  # type: ignore[arg-type]

    up.UpConfig = configured  # type: ignore[misc, assignment]
    typer.run(commands.up)


if __name__ == "__main__":
    main()
