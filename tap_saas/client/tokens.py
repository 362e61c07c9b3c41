"""The OAuth tokens of this machine: one file a chain, renewed under a lock by compare and swap."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec

from tap_saas.client.limiter import StoppedError
from tap_saas.connector.token import Token
from tap_saas.durable import locked, replace
from tap_saas.errors import ConfigError, CredentialError

# Renewals are rare and take a network round trip: looking this often costs nothing.
LOCK_POLL_S = 0.02

Fetch = Callable[[Token | None], Token]


def chain_name(connector: str, parts: Sequence[str]) -> str:
    """The name of a token chain: the connector, and a digest of what makes two chains different.

    The configured refresh token is one of the parts, so a newly configured one begins a new chain.
    """
    digest = sha256(msgspec.json.encode(list(parts))).hexdigest()[:20]
    return f"{connector}-{digest}"


class TokenStore:
    """Tokens in `folder` (mode 0700, files 0600); with None they live as long as the process.

    Threads and processes that share a folder never spend the same refresh token. Thread-safe.
    """

    def __init__(self, folder: Path | None, stop: threading.Event) -> None:
        self._folder = folder
        self._stop = stop
        self._mutex = threading.Lock()
        self._known: dict[str, Token] = {}

    @property
    def is_durable(self) -> bool:
        """Whether tokens are kept for other runs."""
        return self._folder is not None

    def load(self, name: str) -> Token | None:
        """The newest token that this process knows, read from the file the first time."""
        token = self._known.get(name)
        return self._read(name) if token is None else token

    def renew(self, name: str, seen: Token | None, fetch: Fetch) -> Token:
        """A newer token than `seen`: that of somebody who renewed meanwhile, else a fetched one.

        `fetch` gets the stored token, and what it gives is on disk before it is returned.

        Raises:
            StoppedError: The run was asked to end while somebody else was renewing.
        """
        with self._locked(name):
            stored = self._read(name)
            if stored is not None and (seen is None or stored.access_token != seen.access_token):
                return stored
            return self._write(name, fetch(stored))

    def _read(self, name: str) -> Token | None:
        if self._folder is None:
            return self._known.get(name)
        path = self._folder / f"{name}.json"
        try:
            token = msgspec.json.decode(path.read_bytes(), type=Token)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as cause:
            raise CredentialError(
                "the stored token cannot be read",
                where=str(path),
                do="delete the file; where the API rotates refresh tokens, configure a new one too",
            ) from cause
        except OSError as cause:
            raise _unusable(path, cause) from cause
        self._known[name] = token
        return token

    def _write(self, name: str, token: Token) -> Token:
        if self._folder is not None:
            path = self._folder / f"{name}.json"
            try:
                replace(path, msgspec.json.encode(token))
            except OSError as cause:
                raise _unusable(path, cause) from cause
        self._known[name] = token
        return token

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        if self._folder is None:
            with self._mutex:
                yield
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._folder / f"{name}.lock", self._wait))
            except OSError as cause:
                raise _unusable(self._folder, cause) from cause
            yield

    def _wait(self) -> None:
        if self._stop.wait(LOCK_POLL_S):
            raise StoppedError


def _unusable(path: Path, cause: OSError) -> ConfigError:
    return ConfigError(
        f"tokens cannot be kept: {cause.strerror}",
        where=str(path),
        do="give a `home` that this user can write to",
    )
