"""A headless Chromium, driven over its DevTools protocol: what a page shows, says and asks for.

Protocol: https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

WAIT_S = 60.0
"""Longest wait for anything; a browser on a busy machine is slow."""

NAMES = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """A browser process; `with Browser(folder) as browser`. Skips the test where there is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = ""

    def __enter__(self) -> "Browser":
        program = next((found for name in NAMES if (found := shutil.which(name))), None)
        if program is None:
            pytest.skip("no Chromium here (apt-get install chromium)")
        self.process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-dev-shm-usage", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
                f"--user-data-dir={self._folder}", "about:blank",
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        said = []
        for line in self.process.stderr:
            said.append(line)
            if line.startswith("DevTools listening on "):
                self.url = line.split()[-1]
                return self
        raise AssertionError("".join(said))

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


class Tab:
    """A page with cookies and cache of its own; `async with Tab(browser) as tab`.

    Attributes:
        complaints: What the console showed: errors, warnings, exceptions, refused content.
        requests: Addresses that were asked for, in order.
    """

    def __init__(self, browser: Browser, *, scripts: bool = True, dark: bool = False) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._browser = browser
        self._scripts = scripts
        self._dark = dark
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self._session: str | None = None

    async def __aenter__(self) -> "Tab":
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(self._browser.url, max_msg_size=0)
        self._reading = asyncio.create_task(self._read())
        context = await self.call("Target.createBrowserContext")
        made = await self.call("Target.createTarget", url="about:blank", **context)
        attached = await self.call("Target.attachToTarget", flatten=True, **made)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
            await self.call(f"{domain}.enable")
        if not self._scripts:
            await self.call("Emulation.setScriptExecutionDisabled", value=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()
        self._reading.cancel()
        await self._http.close()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send_json({"id": number, "method": method, "params": params, **session})
        async with asyncio.timeout(WAIT_S):
            return await answer

    async def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(WAIT_S):
            await self._loaded.wait()

    async def run(self, expression: str) -> Any:
        """Return what a script in the page comes to."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str, holds: Callable[[Any], bool] = bool) -> Any:
        """Wait until what a script comes to holds."""
        found = None
        try:
            async with asyncio.timeout(WAIT_S):
                while not holds(found := await self.run(expression)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{expression} is still {found!r}") from None
        return found

    async def described(self) -> list[tuple[str, str]]:
        """Return role and name of everything that a screen reader meets."""
        nodes = (await self.call("Accessibility.getFullAXTree"))["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored")
        ]

    async def _read(self) -> None:
        async for message in self._socket:
            self._take(message.json())

    def _take(self, said: dict[str, Any]) -> None:
        if "id" in said:
            answer = self._answers.pop(said["id"])
            if "error" in said:
                answer.set_exception(AssertionError(str(said["error"])))
            elif not answer.done():
                answer.set_result(said["result"])
            return
        params = said["params"]
        match said["method"]:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                self.complaints.append(str(params))
