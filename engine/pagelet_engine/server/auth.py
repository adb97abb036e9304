"""Who is calling: API keys from a file that is read again when it changes, and the gateway's key.

Keys are kept and compared as SHA-256 digests, each comparison in constant time and always all of
them, so that neither a log, a core dump nor a stopwatch tells a key. The file is JSON,

    {"keys": [{"sha256": "<64 hex digits>", "tenant": "team-a", "weight": 2, "priority": 0,
               "scopes": ["api"]}]}

("key" in place of "sha256" gives the key itself, "cache_group" names tenants that may share cached
prefixes), or plain lines, one key each, `#` a comment.
"""

import hashlib
import hmac
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import structlog

from pagelet_engine.errors import ConfigError

SCOPES = ("api", "admin")
MAX_FILE_BYTES = 1024 * 1024
RELOAD_EVERY_S = 1.0
"""How often the file is looked at, seconds: a revoked key works no longer than this."""

_MIN_KEY_CHARS = 16
_TENANT = re.compile(r"[A-Za-z0-9._:\-]{1,64}\Z")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, as far as this server can know."""

    tenant: str
    """Opaque; "anonymous" where no key is asked for."""
    weight: float = 1.0
    """Share of the engine under contention, relative to other tenants'."""
    priority: int = 0
    """Higher goes first among requests of one tenant."""
    scopes: frozenset[str] = frozenset({"api"})
    is_gateway: bool = False
    """Whether the x-pagelet-* headers of this request can be believed."""
    cache_group: str | None = None
    """Whose cached prefixes it shares: those of all tenants in this group; None: its own alone."""
    max_prompt_tokens: int | None = None
    """Longest prompt the gateway allows; None: what the model's context holds."""
    max_output_tokens: int | None = None
    """Most output tokens the gateway allows a request; None: what the context leaves."""


ANONYMOUS = Caller("anonymous", scopes=frozenset(SCOPES))
_GATEWAY = Caller("gateway", scopes=frozenset(SCOPES), is_gateway=True)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tenant: str
    sha256: str | None = None
    key: str | None = None
    weight: float = 1.0
    priority: int = 0
    scopes: list[str] = msgspec.field(default_factory=lambda: ["api"])
    cache_group: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[_Entry]


Keys = dict[bytes, Caller]
"""Callers by their key's SHA-256 digest."""


def parse_keys(text: str) -> Keys:
    """Return who may call.

    Raises:
        ConfigError: The text is no key file; no key is repeated in the message.
    """
    if not text.lstrip().startswith("{"):
        lines = (line.strip() for line in text.splitlines())
        return dict(_plain(line) for line in lines if line and not line.startswith("#"))
    try:
        entries = msgspec.json.decode(text, type=_File).keys
    except msgspec.MsgspecError as error:
        raise ConfigError(f"the API keys file is not what it should be: {error}.") from None
    keys = [_checked(number, entry) for number, entry in enumerate(entries)]
    if len(dict(keys)) < len(keys):
        raise ConfigError("the API keys file names a key twice; whose it is would be unclear.")
    return dict(keys)


class KeyRing:
    """Knows every caller; the file is read again when it changes."""

    def __init__(
        self,
        api_keys_file: Path | None,
        gateway_key_file: Path | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files.

        Args:
            api_keys_file: Who may call; None with no gateway key either means everybody.
            gateway_key_file: The key shared with the gateway, alone in its file.
            clock: Monotonic seconds.

        Raises:
            ConfigError: A file cannot be read or is not what it should be.
        """
        self.is_open = api_keys_file is None and gateway_key_file is None
        """Whether nobody needs a key."""
        files = (_Watched(api_keys_file, parse_keys), _Watched(gateway_key_file, _parse_gateway))
        self._files = [file for file in files if file.path is not None]
        for file in self._files:
            file.read()
        self._clock = clock
        self._looked_at = clock()

    def identify(self, key: str | None, gateway_key: str | None = None) -> Caller | None:
        """Return whose key this is, or None.

        Args:
            key: What the request brings as its API key.
            gateway_key: What it brings as the gateway's.
        """
        if self.is_open:
            return ANONYMOUS
        self._refresh()
        given = [_digest(each) for each in (key, gateway_key) if each is not None]
        found: Caller | None = None
        for file in self._files:
            for digest, caller in file.keys.items():
                for one in given:
                    # No early exit: how long it takes must not tell which key was nearly right.
                    if hmac.compare_digest(digest, one) and not (found and found.is_gateway):
                        found = caller
        return found

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._looked_at >= RELOAD_EVERY_S:
            self._looked_at = now
            for file in self._files:
                file.refresh()


@dataclass(slots=True)
class _Watched:
    """A key file and what it said when it was last in order."""

    path: Path | None
    parse: Callable[[str], Keys]
    keys: Keys = field(default_factory=dict)
    _seen: tuple[int, ...] = ()

    def read(self) -> None:
        assert self.path is not None, "only given files are watched"
        try:
            self._seen = self._stamp()
            if self._seen[0] > MAX_FILE_BYTES:
                raise ConfigError(f"{self.path} is larger than {MAX_FILE_BYTES} bytes.")
            self.keys = self.parse(self.path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the key file {self.path} cannot be read: {error}.") from error

    def refresh(self) -> None:
        """Read a changed file again; keep what was known if it is out of order."""
        try:
            if self._stamp() != self._seen:
                self.read()
                _log.info("keys_reloaded", file=str(self.path), num_keys=len(self.keys))
        except (OSError, ConfigError) as error:
            _log.error("keys_kept", file=str(self.path), reason=str(error))

    def _stamp(self) -> tuple[int, ...]:
        assert self.path is not None, "only given files are watched"
        stat = os.stat(self.path)
        return stat.st_size, stat.st_mtime_ns, stat.st_ino


def cache_salt(secret: bytes, caller: Caller) -> bytes:
    """Return what keeps cached prefixes from all but this tenant, or its group: no client's choice.

    A group is no tenant of the same name: no tenant's name holds what separates the two.
    """
    group = caller.cache_group
    owner = f"tenant/{caller.tenant}" if group is None else f"group/{group}"
    return hmac.digest(secret, owner.encode("utf-8"), "sha256")


def as_tenant(caller: Caller, tenant: str | None) -> Caller:
    """Return the tenant the gateway speaks for; what others say of themselves is not believed."""
    if not caller.is_gateway or tenant is None or not _TENANT.match(tenant):
        return caller
    return replace(caller, tenant=tenant, cache_group=None)


def _parse_gateway(text: str) -> Keys:
    return {_digest(_long_enough(text.strip())): _GATEWAY}


def _plain(key: str) -> tuple[bytes, Caller]:
    digest = _digest(_long_enough(key))
    return digest, Caller(f"key-{digest.hex()[:8]}")


def _checked(number: int, entry: _Entry) -> tuple[bytes, Caller]:
    where = f"keys[{number}] of the API keys file"
    if (entry.key is None) == (entry.sha256 is None):
        raise ConfigError(f"{where} must have one of sha256 and key.")
    if not _TENANT.match(entry.tenant):
        raise ConfigError(f"{where}: tenant must be 1 to 64 letters, digits, dots or dashes.")
    if entry.cache_group is not None and not _TENANT.match(entry.cache_group):
        raise ConfigError(f"{where}: cache_group must be 1 to 64 letters, digits, dots or dashes.")
    if not 0.001 <= entry.weight <= 1000:
        raise ConfigError(f"{where}: weight is {entry.weight}; it must lie in [0.001, 1000].")
    unknown = set(entry.scopes) - set(SCOPES)
    if unknown:
        raise ConfigError(f"{where}: scopes may be {', '.join(SCOPES)}; {sorted(unknown)} are not.")
    if entry.sha256 is None:
        digest = _digest(_long_enough(entry.key or ""))
    elif re.fullmatch(r"[0-9a-fA-F]{64}", entry.sha256):
        digest = bytes.fromhex(entry.sha256)
    else:
        raise ConfigError(f"{where}: sha256 must be 64 hex digits.")
    return digest, Caller(
        entry.tenant,
        entry.weight,
        entry.priority,
        frozenset(entry.scopes),
        cache_group=entry.cache_group,
    )


def _long_enough(key: str) -> str:
    if len(key) < _MIN_KEY_CHARS:
        raise ConfigError(
            f"a key has {len(key)} characters; at least {_MIN_KEY_CHARS} are needed, such as "
            f"`openssl rand -hex 24` gives."
        )
    return key


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
