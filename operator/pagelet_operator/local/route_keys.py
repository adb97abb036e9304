"""What Secrets mean for a route on one machine: hashes into the table, keys into files.

The same content means here what it means to a gateway on a cluster, in the same words; a test
holds the two together. The route table itself never holds a key.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pagelet_operator.api.secrets import Secrets


class RouteKeys:
    """Fills keys into routes.

    Attributes:
        troubles: What the last `fill` of each resource missed, as sentences by resource.
    """

    def __init__(self, folder: Path) -> None:
        """Keep keys that are shown to somebody in files under `folder`, for this user only."""
        self.troubles: dict[str, tuple[str, ...]] = {}
        self.gateway_key_file = folder / "gateway-key"
        self._folder = folder / "keys"
        self._secrets: dict[tuple[str, str], Mapping[str, bytes]] = {}
        self._gone: set[tuple[str, str]] = set()

    def make_gateway_key(self, key: bytes) -> None:
        """Write the key that this run's engines know the gateway by.

        Raises:
            OSError: It cannot be written.
        """
        write_private(self.gateway_key_file, key)

    def use(self, secrets: Secrets) -> None:
        """Take over what the files hold now; a Secret that is gone keeps what it held last."""
        self._gone = self._secrets.keys() - secrets.keys()
        self._secrets |= secrets

    def fill(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return a route with hashes of its tenants' keys, and with files for keys it shows.

        Raises:
            OSError: A key's file cannot be written.
        """
        resource = str(entry["resource"])
        namespace, said = resource.partition("/")[0], list[str]()
        filled = dict(entry)
        if "tenants" in entry:
            filled["tenants"] = self._tenants(entry["tenants"], namespace, said)
        if "fallback" in entry:
            links = (self._link(link, namespace, said) for link in entry["fallback"])
            filled["fallback"] = [link for link in links if link is not None]
        if self.gateway_key_file.exists():
            filled["gatewayKeyFile"] = str(self.gateway_key_file)
        self.troubles[resource] = tuple(said)
        return filled

    def _tenants(
        self, tenants: list[dict[str, Any]], namespace: str, said: list[str]
    ) -> list[dict[str, Any]]:
        filled: list[dict[str, Any]] = []
        owners: dict[str, str] = {}
        for tenant in tenants:
            name, own = tenant["name"], []
            lines, trouble = self._lines(tenant["apiKeySecretRef"], namespace, one_only=False)
            said += [f"tenant {name!r}: {trouble}"] if trouble else []
            for digest in sorted({hashlib.sha256(line.encode()).hexdigest() for line in lines}):
                if owners.setdefault(digest, name) == name:
                    own.append({"sha256": digest})
                else:
                    said.append(f"tenant {name!r} has a key of {owners[digest]!r}")
            filled.append({**tenant, "keys": own})
        return filled

    def _link(self, link: dict[str, Any], namespace: str, said: list[str]) -> dict[str, Any] | None:
        reference = link.get("apiKeySecretRef")
        if reference is None:
            return link
        lines, trouble = self._lines(reference, namespace, one_only=True)
        said += [f"fallback {link['url']}: {trouble}"] if trouble else []
        if not lines:
            return None  # Without its key it would only be refused there.
        place = "\0".join((namespace, reference["name"], reference["key"]))
        path = self._folder / hashlib.sha256(place.encode()).hexdigest()[:16]
        write_private(path, lines[0].encode())
        return {**link, "apiKeyFile": str(path)}

    def _lines(
        self, reference: Mapping[str, str], namespace: str, *, one_only: bool
    ) -> tuple[list[str], str | None]:
        """Return the keys that a Secret holds, and what is wrong with it."""
        name, secret = reference["name"], self._secrets.get((namespace, reference["name"]))
        missing = f"Secret {name!r} does not exist"
        if secret is None:
            return [], missing
        lines, trouble = _understood(secret, name, reference["key"], one_only)
        if (namespace, name) in self._gone:
            trouble = missing + ("; what it held last still counts" if lines else "")
        return lines, trouble


def _understood(
    secret: Mapping[str, bytes], name: str, key: str, one_only: bool
) -> tuple[list[str], str | None]:
    if key not in secret:
        return [], f"Secret {name!r} has no key {key!r}"
    try:
        lines = [line.strip() for line in secret[key].decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        return [], f"Secret {name!r}: {key!r} is not UTF-8 text"
    if not lines:
        return [], f"Secret {name!r}: {key!r} is empty"
    if one_only and not (len(lines) == 1 and lines[0].isascii() and lines[0].isprintable()):
        return [], f"Secret {name!r}: {key!r} is not one line of ASCII"
    return lines, None


def write_private(path: Path, content: bytes) -> None:
    """Make the file hold `content`, readable for this user only; does nothing if it does.

    Raises:
        OSError: It cannot be written.
    """
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    # Never wider, not even for a moment, whatever the umask says.
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    os.replace(new, path)
