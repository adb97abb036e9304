"""The route table as a file that the gateway follows."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pagelet_operator.core.traffic import route_table
from pagelet_operator.local.route_keys import RouteKeys


class RouteFile:
    """Writes the table of all models, whole and only when it changed."""

    def __init__(self, path: Path, keys: RouteKeys | None = None) -> None:
        """Write to `path`; `keys` fills in what routes name of Secrets, None leaves them as is."""
        self.path = path
        self.keys = keys
        self._written: str | None = None

    def publish(self, routes: Mapping[object, Mapping[str, Any]]) -> bool:
        """Make the file say `routes`; return whether it had to be written.

        A reader sees the old table or the new one, never a part.

        Raises:
            OSError: The file cannot be written; the old table stays.
        """
        fill = self.keys.fill if self.keys is not None else dict
        table = route_table(fill(route) for route in routes.values())
        text = json.dumps(table, indent=2, sort_keys=True) + "\n"
        if text == self._written:
            return False
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(text, "utf-8")
        os.replace(new, self.path)
        self._written = text
        return True
