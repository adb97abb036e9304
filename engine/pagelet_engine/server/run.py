"""The API process from start to exit: listens, starts the engine, drains when told to.

The socket is bound first, so a taken port costs no model load, and the probes answer while the
model loads. Exit codes:

    0  stopped by SIGTERM or SIGINT, every stream finished
    1  the engine process ended, or streams had to be cut (drain time out, second signal)
    2  the configuration is wrong: model files, sizes, a port in use; one sentence on stderr
"""

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import structlog
import uvloop

from pagelet_engine.config import EngineConfig, ServerConfig
from pagelet_engine.engine_client import EngineClient
from pagelet_engine.errors import ConfigError, EngineDeadError, EngineError, UnavailableError
from pagelet_engine.messages import Ready
from pagelet_engine.model.source import is_dummy, resolve_source
from pagelet_engine.server.access import Access
from pagelet_engine.server.app import build_app
from pagelet_engine.server.auth import KeyRing
from pagelet_engine.server.lifecycle import Phase
from pagelet_engine.server.listening import HttpServer, bind, url_of
from pagelet_engine.server.logs import configure_logging
from pagelet_engine.server.service import Service
from pagelet_engine.server.tracing import spans_from
from pagelet_engine.server.watchdog import RESTART_WINDOW_S, RESTARTS, RestartBudget, watch
from pagelet_engine.server.writer import Pace
from pagelet_engine.text.vocabulary import TextModel, load_text_model

EXIT_DRAINED, EXIT_BROKEN, EXIT_CONFIG = 0, 1, 2

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


def serve(config: EngineConfig, listen: ServerConfig, engine_command: Sequence[str]) -> int:
    """Serve until told to stop; return the exit code.

    Args:
        config: The model and how to run it.
        listen: Where to listen and what to refuse.
        engine_command: Starts the engine process; `--fd N` is appended.
    """
    configure_logging()
    try:
        listeners = [bind(listen.host, listen.port)]
        if listen.metrics_port is not None:
            listeners.append(bind(listen.host, listen.metrics_port))
        server = _Server(config, listen)
        code: int = uvloop.run(server.run(listeners, engine_command))
        return code
    except ConfigError as error:
        print(f"pagelet serve: {error}", file=sys.stderr)
        return EXIT_CONFIG
    except EngineDeadError as error:
        print(f"pagelet serve: {error}", file=sys.stderr)
        return EXIT_BROKEN


class _Server:
    """One run of the API process."""

    def __init__(self, config: EngineConfig, listen: ServerConfig) -> None:
        self._config = config
        self._listen = listen
        self._started_at = time.monotonic()
        self._service = Service(
            model_name=served_model_name(config),
            max_queued=config.max_queued_requests,
            max_num_seqs=config.max_num_seqs,
            max_body_bytes=listen.max_body_bytes,
            created=int(time.time()),
            pace=Pace(listen.keep_alive_s, listen.slow_reader_s),
        )
        self._spans = spans_from(os.environ, self._service.model_name)
        self._https = [
            HttpServer(
                build_app(self._service, _keys(listen), serves, not listen.no_auth, self._spans)
            )
            for serves in _shares(listen)
        ]

    async def run(self, listeners: Sequence[socket.socket], engine_command: Sequence[str]) -> int:
        """Serve on `listeners` until a signal or the engine's end; return the exit code.

        Raises:
            ConfigError: The model cannot be served as configured.
        """
        signals = _watch_signals()
        https = [
            asyncio.create_task(http.serve(sockets=[listener]))
            for http, listener in zip(self._https, listeners, strict=True)
        ]
        addresses = [listener.getsockname() for listener in listeners]
        lives = asyncio.create_task(self._live(engine_command, addresses))
        drains = asyncio.create_task(self._drain(signals))
        try:
            await asyncio.wait((lives, drains), return_when=asyncio.FIRST_COMPLETED)
            return drains.result() if drains.done() else lives.result()
        finally:
            drains.cancel()
            for http in self._https:
                http.should_exit = True
            await asyncio.gather(*https)
            lives.cancel()
            await asyncio.gather(lives, drains, return_exceptions=True)
            if self._spans is not None:
                await asyncio.to_thread(self._spans.close)

    async def _live(
        self, engine_command: Sequence[str], addresses: Sequence[tuple[str, int]]
    ) -> int:
        """Run one engine process, or by policy one after the other; return the exit code."""
        lifecycle, budget = self._service.lifecycle, RestartBudget()
        address, admin = addresses[0], addresses[-1]
        _log.info(
            "listening", address=url_of(address), admin=url_of(admin), model=self._config.model
        )
        while True:
            error = await self._live_once(engine_command, address)
            was_serving = lifecycle.phase is Phase.SERVING
            lifecycle.fail()
            _log.error("engine_died", reason=str(error))
            if self._listen.on_engine_death == "exit" or not was_serving:
                return EXIT_BROKEN
            if not budget.spend(time.monotonic()):
                _log.error("engine_keeps_dying", restarts=RESTARTS, within_s=RESTART_WINDOW_S)
                return EXIT_BROKEN
            lifecycle.restart()

    async def _live_once(
        self, engine_command: Sequence[str], address: tuple[str, int]
    ) -> EngineError:
        """Start an engine process and serve; return why it ended, which it never should."""
        engine = EngineClient(
            engine_command, on_stage=self._show_stage, on_step=self._service.metrics.observe_step
        )
        await engine.start()
        self._service.attach_engine(engine)
        watchdog = asyncio.create_task(
            watch(engine, self._listen.watchdog_s, self._service.set_stuck)
        )
        try:
            text, limits = await self._load(engine)
            self._service.load(text, limits)
            self._show_stage("warming up")
            await self._service.warm_up()
            self._show_stage("ready")
            self._service.lifecycle.serve()
            self._announce(address, limits)
            return await engine.wait_dead()
        finally:
            watchdog.cancel()
            await asyncio.gather(watchdog, return_exceptions=True)
            await engine.stop()
            await self._service.stop_workers()

    async def _load(self, engine: EngineClient) -> tuple[TextModel, Ready]:
        """Load the text side while the engine process loads the weights.

        Raises:
            ConfigError: Either cannot be done as configured.
            EngineDeadError: The engine process died while loading.
        """
        text = _in_daemon_thread(lambda: _load_text(self._config, self._listen.reasoning_parser))
        ready = asyncio.create_task(engine.wait_ready())
        try:
            # gather gives the first error at once, whichever side it is on.
            return await asyncio.gather(text, ready)
        finally:
            ready.cancel()

    async def _drain(self, signals: "asyncio.Queue[str]") -> int:
        """Wait for a signal, then for the requests in flight, but not for ever."""
        name = await signals.get()
        lifecycle = self._service.lifecycle
        lifecycle.drain()
        _log.info("draining", signal=name, in_flight=lifecycle.num_in_flight)
        idle = asyncio.create_task(lifecycle.wait_idle())
        again = asyncio.create_task(signals.get())
        try:
            await asyncio.wait(
                (idle, again),
                timeout=self._listen.drain_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if idle.done():
                _log.info("drained")
                return EXIT_DRAINED
        finally:
            idle.cancel()
            again.cancel()
        _log.error("streams_cut", in_flight=lifecycle.num_in_flight)
        self._service.fail_all(
            UnavailableError("The server had to exit before the answer was complete.")
        )
        return EXIT_BROKEN

    def _show_stage(self, name: str) -> None:
        self._service.stage = name
        _log.info("stage", stage=name)

    def _announce(self, address: tuple[str, int], limits: Ready) -> None:
        if self._service.lifecycle.phase is not Phase.SERVING:
            return
        _log.info(
            "ready",
            address=url_of(address),
            model=self._service.model_name,
            dtype=limits.dtype,
            device=limits.device,
            max_model_len=limits.max_model_len,
            kv_blocks=limits.num_blocks,
            block_size=limits.block_size,
            seconds=round(time.monotonic() - self._started_at, 2),
        )


def served_model_name(config: EngineConfig) -> str:
    """Return what clients call the model: as configured, else the file's or folder's name."""
    if config.served_model_name is not None:
        return config.served_model_name
    name = config.model.rstrip("/").rpartition("/")[2]
    return name.removesuffix(".gguf")


def _shares(listen: ServerConfig) -> list[frozenset[Access]]:
    """Return what each port serves: probes on both, where there are two."""
    if listen.metrics_port is None:
        return [frozenset(Access)]
    return [frozenset({Access.PUBLIC, Access.API}), frozenset({Access.PUBLIC, Access.ADMIN})]


def _keys(listen: ServerConfig) -> KeyRing:
    files = (listen.api_keys_file, listen.gateway_key_file)
    return KeyRing(*(None if file is None else Path(file) for file in files))


def _load_text(config: EngineConfig, reasoning_parser: str) -> TextModel:
    if is_dummy(config.model):
        return load_text_model(config.model, None, reasoning_parser=reasoning_parser)
    path = resolve_source(config.model, config.revision)
    return load_text_model(config.model, path, reasoning_parser=reasoning_parser)


def _in_daemon_thread(work: Callable[[], Result]) -> "asyncio.Future[Result]":
    """Run `work` on a thread that exiting does not wait for: a download can take minutes."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(outcome: "concurrent.futures.Future[Result]") -> None:
        if future.cancelled():
            return
        error = outcome.exception()
        future.set_result(outcome.result()) if error is None else future.set_exception(error)

    def run() -> None:
        outcome: concurrent.futures.Future[Result] = concurrent.futures.Future()
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised again in the event loop
            outcome.set_exception(error)
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="load-text", daemon=True).start()
    return future


def _watch_signals() -> "asyncio.Queue[str]":
    signals: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number.name)
    return signals
