"""`pagelet rollout`: how a rollout stands, and what a person says to it, in both worlds.

Imports what is heavy only once a command runs.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

app = typer.Typer(
    help="See how a new revision takes over, and steer it. Asks the `pagelet up` of this user that "
    "serves the model, else the cluster that kubectl would talk to.",
    no_args_is_help=True,
)

POLL_S = 0.5
"""Between two looks at a status, seconds."""

Name = Annotated[str, typer.Argument(help="Name of the ModelDeployment.", metavar="NAME")]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Ask the cluster, there. Default: as kubectl."),
]
StateDir = Annotated[Path | None, typer.Option(help="Ask the `pagelet up` with this state folder.")]
Kubeconfig = Annotated[
    str | None, typer.Option(help="Ask the cluster of this file. Default: KUBECONFIG, as kubectl.")
]
Timeout = Annotated[
    float, typer.Option(min=0, help="Longest wait for the operator's answer, seconds.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


class Rollouts(Protocol):
    """Rollouts of one world."""

    async def status(self, name: str) -> dict[str, Any]:
        """Return a ModelDeployment's status."""
        ...

    async def give(self, name: str, text: str) -> None:
        """Give a command; its answer comes with the status."""
        ...


class Where:
    """Which world to ask, as the options say."""

    def __init__(
        self,
        context: typer.Context,
        name: str,
        state_dir: Path | None,
        namespace: str | None,
        kubeconfig: str | None,
    ) -> None:
        self.name = name
        # As kubectl's plugin nobody means what happens to run on this machine.
        self._cluster_only = bool((context.obj or {}).get("cluster_only"))
        self._state_dir = state_dir
        self._namespace = namespace
        self._kubeconfig = kubeconfig

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Rollouts]:
        """Open the world.

        Raises:
            RolloutError: There is none.
        """
        import os

        from pagelet_operator.local.rollout_client import LocalRollouts, serving

        if self._state_dir is not None:
            yield LocalRollouts(self._state_dir)
            return
        if not (self._cluster_only or self._namespace or self._kubeconfig):
            local = await serving(self.name, os.environ)
            if local is not None:
                yield local
                return
        from pagelet_operator.kube.rollout_client import cluster

        async with cluster(self._kubeconfig, self._namespace) as rollouts:
            yield rollouts


@app.command()
def status(
    context: typer.Context,
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it is over.")] = False,
    namespace: Namespace = None,
    state_dir: StateDir = None,
    kubeconfig: Kubeconfig = None,
    json: Json = False,
) -> None:
    """Show how the rollout of NAME stands.

    Exit codes: 0, with --watch once the spec's revision serves everything; 1 with --watch if it
    was withdrawn; 2 if nobody can say.
    """
    where = Where(context, name, state_dir, namespace, kubeconfig)
    raise typer.Exit(_run("status", lambda: _show(where, watch=watch, as_json=json)))


async def _show(where: Where, *, watch: bool, as_json: bool) -> int:
    import sys

    if watch and not as_json and sys.stdout.isatty():
        return await _draw(where)
    return await _write(where, watch=watch, as_json=as_json)


async def _draw(where: Where) -> int:
    """Follow it in the table that `pagelet up` draws, until it is over."""
    from rich.live import Live

    from pagelet_operator.api.rollout_text import ENDED, is_over, shown_phase
    from pagelet_operator.api.standing import standings
    from pagelet_operator.standing_table import table

    async with where.opened() as rollouts:
        with Live(auto_refresh=False) as screen:
            while True:
                found = await rollouts.status(where.name)
                screen.update(table(standings(where.name, found)), refresh=True)
                if is_over(found):
                    return ENDED[shown_phase(found)]
                await asyncio.sleep(POLL_S)


async def _write(where: Where, *, watch: bool, as_json: bool) -> int:
    from json import dumps

    from pagelet_operator.api import rollout_text

    shown = None
    async with where.opened() as rollouts:
        while True:
            found = await rollouts.status(where.name)
            if as_json:
                now = dumps(rollout_text.summary(where.name, found))
            else:
                now = rollout_text.text(where.name, found)
            if now != shown:
                typer.echo(now)
                shown = now
            if not watch:
                return 0
            if rollout_text.is_over(found):
                return rollout_text.ENDED[rollout_text.shown_phase(found)]
            await asyncio.sleep(POLL_S)


def _add(kind: str, done: str) -> None:
    """Add the command `kind`, whose help begins with `done`."""

    def command(
        context: typer.Context,
        name: Name,
        namespace: Namespace = None,
        state_dir: StateDir = None,
        kubeconfig: Kubeconfig = None,
        timeout: Timeout = 10.0,
        json: Json = False,
    ) -> None:
        where = Where(context, name, state_dir, namespace, kubeconfig)
        raise typer.Exit(_run(kind, lambda: _give(where, kind, timeout, as_json=json)))

    command.__doc__ = f"{done}\n\n{_EXIT_CODES}"
    app.command(kind)(command)


_EXIT_CODES = (
    "Exit codes: 0 it was done; 1 it was refused, and the sentence on stderr says why; 2 nobody "
    "could be told; 3 it was told, and not answered in --timeout."
)


async def _give(where: Where, kind: str, timeout_s: float, *, as_json: bool) -> int:
    import secrets
    from json import dumps

    from pagelet_operator.core.rollout.commands import CommandKind, written

    async with where.opened() as rollouts:
        before = (await rollouts.status(where.name)).get("rollout") or {}
        revision = before.get("failed" if kind == "retry" else "canary")
        text = written(CommandKind(kind), secrets.token_hex(4), revision)
        await rollouts.give(where.name, text)
        answer = await _answered(rollouts, where.name, text, timeout_s)
    if answer is None:
        typer.echo(f"pagelet rollout: no operator has answered in {timeout_s:g} s", err=True)
        return 3
    if as_json:
        typer.echo(dumps(answer))
    else:
        typer.echo(f"{where.name}: {answer.get('message', '')}", err=not answer["accepted"])
    return 0 if answer["accepted"] else 1


async def _answered(
    rollouts: Rollouts, name: str, token: str, timeout_s: float
) -> dict[str, Any] | None:
    waited_s = 0.0
    while True:
        said = ((await rollouts.status(name)).get("rollout") or {}).get("command") or {}
        if said.get("token") == token:
            return dict(said)
        if waited_s >= timeout_s:
            return None
        await asyncio.sleep(POLL_S)
        waited_s += POLL_S


def _run(what: str, body: Callable[[], Awaitable[int]]) -> int:
    from pagelet_operator.api.rollout_text import RolloutError

    async def run() -> int:
        return await body()

    try:
        return asyncio.run(run())
    except RolloutError as error:
        typer.echo(f"pagelet rollout {what}: {error}", err=True)
        return 2
    except KeyboardInterrupt:
        return 130


for _kind, _done in (
    ("promote", "Leave the current step of NAME now: no hold, verdict or approval is awaited."),
    ("promote-full", "Make the canary of NAME stable as soon as it has the replicas for it."),
    ("pause", "Advance NAME no further; a canary that does harm is withdrawn all the same."),
    ("resume", "End the pause of NAME; holds and deadlines go on where they were."),
    ("abort", "Take the traffic of NAME's canary away, and do not try it again."),
    ("retry", "Try the withdrawn revision of NAME again, from the first step."),
):
    _add(_kind, _done)
