"""The OAuth tokens of this machine: one file a chain, renewed under a lock by compare and swap."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec

from tap_saas.client.limiter import StoppedError
from tap_saas.connector.auth import Token
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
                _replace(path, msgspec.json.encode(token))
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
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            lock = os.open(self._folder / f"{name}.lock", flags, 0o600)
        except OSError as cause:
            raise _unusable(self._folder, cause) from cause
        try:
            self._wait_for(lock)
            yield
        finally:
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._stop.wait(LOCK_POLL_S):
                    raise StoppedError from None
            else:
                return


def _replace(path: Path, content: bytes) -> None:
    """Durably: written beside, synced, renamed, the folder synced. The caller holds the lock."""
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _unusable(path: Path, cause: OSError) -> ConfigError:
    return ConfigError(
        f"tokens cannot be kept: {cause.strerror}",
        where=str(path),
        do="give a `home` that this user can write to",
    )
