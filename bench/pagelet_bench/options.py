"""What `pagelet bench` was asked to do."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.goodput import Slo
from pagelet_bench.core.ramp import Search
from pagelet_bench.core.workload import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What to load, with what, and where the result goes.

    Attributes:
        chat: Whether to send chat completions.
        slo: What a good request is; a search needs one.
        search: Search the rate at which the SLO breaks, in place of one run.
        trial_s: Search: seconds of arrivals in one trial.
        json_path: `-` for stdout, in place of the table.
    """

    url: str
    model: str | None
    profile: Profile
    vocab_size: int
    timeout_s: float
    chat: bool = False
    api_key: str | None = None
    slo: Slo | None = None
    search: Search | None = None
    trial_s: float = 30.0
    json_path: Path | None = None
    markdown_path: Path | None = None
    html_path: Path | None = None

    def check(self) -> None:
        """Refuse now what could not be written after the load, or not be searched.

        Raises:
            UsageError: A path cannot be written to, or a search has no SLO.
        """
        if "@" in urlsplit(self.url).netloc:
            raise UsageError(
                "the address holds a password; use --api-key-file for the key instead."
            )
        if self.search is not None and self.slo is None:
            raise UsageError("a ramp needs to know what breaks: give --slo-ttft or --slo-itl.")
        if not self.trial_s > 0:
            raise UsageError(f"trial-seconds is {self.trial_s}; it must be above 0.")
        for path in (self.json_path, self.markdown_path, self.html_path):
            if path is None or str(path) == "-":
                continue
            if path.is_dir() or not os.access(path.parent, os.W_OK):
                raise UsageError(
                    f"the result cannot be written to {path}: name a file in a folder that exists "
                    f"and can be written to."
                )
