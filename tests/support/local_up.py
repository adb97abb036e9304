"""`pagelet up` as a process of its own, followed by its JSON events.

Run as a script it is `pagelet up` with the scripted engine instead of the real one, so that
everything around the engine is real and a test takes seconds.
"""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import yaml

from local_processes import command_line, marked, scripted_engine, until_sync


def resource(name="chat", script="", **spec):
    """A ModelDeployment for the scripted engine; `spec` replaces whole parts."""
    env = [{"name": "SCRIPT", "value": script}] if script else []
    return {
        "apiVersion": "pagelet.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"model": {"source": f"dummy://{name}"}, "pod": {"env": env}, **spec},
    }


def write(path, *documents):
    """Replace a file as a careful editor does."""
    new = path.with_name(path.name + ".tmp")
    new.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    os.replace(new, path)
    return path


class Up:
    """A running `pagelet up`; use as a context manager. Ends it, and checks nothing."""

    def __init__(self, *files, state_dir, real=False, port=0, env=None):
        self.mark = f"UP_TEST_MARK={uuid.uuid4().hex}"
        options = ["--json", f"--port={port}", f"--state-dir={state_dir}"]
        program = ["-m", "pagelet", "up"] if real else [__file__]
        name, _, value = self.mark.partition("=")
        paths = filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))
        self.process = subprocess.Popen(
            [sys.executable, *program, *map(str, files), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, name: value, "PYTHONPATH": os.pathsep.join(paths), **(env or {})},
            start_new_session=True,
        )
        self.state_dir = Path(state_dir)
        self.events = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        until_sync(lambda: not self.children(), what=lambda: f"left: {self.children()}")

    @property
    def url(self):
        """The API's address, /v1 included."""
        return self.wait_for("Starting")["url"]

    @property
    def status_url(self):
        """The address of the status page and of the gateway's /metrics."""
        return self.wait_for("Starting")["statusUrl"].removesuffix("/")

    def seen(self, reason, **fields):
        """Events of that reason whose other fields contain the given text or equal the value."""
        return [
            event
            for event in self.events
            if event["reason"] == reason
            and all(_matches(event.get(name), value) for name, value in fields.items())
        ]

    def wait_for(self, reason, *, within_s=90.0, **fields):
        """The first such event, once it has come."""

        def claim():
            assert self.process.poll() is None or self.seen(reason, **fields), self.story()
            return self.seen(reason, **fields)

        def what():
            return f"no {reason} {fields} in:\n{self.story()}"

        return until_sync(claim, within_s=within_s, what=what)[0]

    def story(self):
        return "\n".join(f"{e['reason']}: {e['message']}" for e in self.events)

    def routes(self):
        return json.loads((self.state_dir / "routes.json").read_text())

    def children(self):
        """Process ids of everything it started that is alive, direct or not."""
        return [pid for pid in marked(self.mark) if pid != self.process.pid]

    def child(self, *words):
        """The one child whose command line holds all the words."""
        found = [p for p in self.children() if all(w in command_line(p) for w in words)]
        assert len(found) == 1, [command_line(pid) for pid in self.children()]
        return found[0]

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def end(self, within_s=60.0):
        """Wait for the exit code."""
        return self.process.wait(within_s)


def _matches(found, wanted):
    return wanted in found if isinstance(wanted, str) and found else found == wanted


def shorten_hours(hour_s):
    """Let an hour of a model's traffic be this long, and a replica idle after half of it."""
    from pagelet_operator import retesting
    from pagelet_operator.core import quiet_hours, retest

    for module in (retesting, retest, quiet_hours):
        module.HOUR_S = hour_s
    for module in (retesting, retest):
        module.IDLE_S = hour_s / 2


def main():
    """Be `pagelet up`, with the scripted engine as its default."""
    import typer

    from pagelet_operator.local import commands, up

    hour_s = os.environ.get("HOUR_S")
    if hour_s is not None:
        shorten_hours(float(hour_s))
    up.UpConfig = functools.partial(up.UpConfig, engine=scripted_engine)
    typer.run(commands.up)


if __name__ == "__main__":
    main()
