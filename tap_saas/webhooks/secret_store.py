"""Secrets that handshakes have brought, and the doors that they come through: a file in `home`."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from tap_saas.durable import locked, replace
from tap_saas.errors import StateError

log = logging.getLogger(__name__)

FILE = "webhook_secrets.json"
KEPT = 10  # of a source: each is one more that a forged signature may happen to fit
LOCK_S = 5.0
LOCK_POLL_S = 0.02

Stamp = tuple[int, int, int]


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that came; `again` says that it was known before."""

    text: str
    setting: str
    came_at: datetime
    opening: str
    again: bool = False


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """One secret may come until then."""

    opening: str
    expires: datetime


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of one source: its secrets, the newest first, and its door while it is open."""

    secrets: list[Secret] = []
    door: Door | None = None

    def texts(self, setting: str) -> list[str]:
        """The secrets for a setting, the newest first."""
        return [one.text for one in self.secrets if one.setting == setting]

    def is_open(self, now: datetime) -> bool:
        """Whether a secret may come."""
        return self.door is not None and now < self.door.expires

    def came(self, opening: str) -> Secret | None:
        """What came through that door, None where nothing did."""
        return next((one for one in self.secrets if one.opening == opening), None)


class SecretStore:
    """The file of a home, mode 0600: changed by one process at a time, as a whole, durably.

    Sources are named `<connector>/<source>`. Every method raises StateError where the file cannot
    be read or written, or is locked for long. Thread-safe.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / FILE

    def stamp(self) -> Stamp | None:
        """What is another one when the file was changed, None where there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def read(self) -> dict[str, Held]:
        """Everything."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Held])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unusable(error.strerror or "unreadable") from error
        except msgspec.DecodeError:  # its text may show what is in the file
            do = "restore it, or remove it and subscribe again"
            raise StateError(
                "the file of secrets is broken", where=str(self._path), do=do
            ) from None

    def of(self, source: str) -> Held:
        """What there is of one source."""
        return self.read().get(source, Held())

    def open(self, source: str, lasts: timedelta, now: datetime) -> str:
        """Let one secret come, instead of any other opening; the name of this one."""
        door = Door(opening=uuid.uuid4().hex, expires=now + lasts)
        with self._changing() as known:
            known[source] = Held(secrets=known.get(source, Held()).secrets, door=door)
        return door.opening

    def close(self, source: str, opening: str, *, withdraw: bool = False) -> None:
        """Let none come any more; with `withdraw` what came through this door is not good."""
        with self._changing() as known:
            held = known.get(source, Held())
            is_own = held.door is not None and held.door.opening == opening
            kept = [
                one
                for one in held.secrets
                if not withdraw or one.again or one.opening != opening
            ]  # fmt: skip
            known[source] = Held(secrets=kept, door=None if is_own else held.door)

    def take(self, source: str, setting: str, text: str, now: datetime) -> bool:
        """Keep a secret and close the door; False, and nothing is kept, where it was not open."""
        with self._changing() as known:
            held = known.get(source, Held())
            if held.door is None or not held.is_open(now):
                return False
            others = [one for one in held.secrets if (one.text, one.setting) != (text, setting)]
            new = Secret(
                text=text,
                setting=setting,
                came_at=now,
                opening=held.door.opening,
                again=len(others) < len(held.secrets),
            )
            if len(others) >= KEPT:
                log.warning("the oldest secret is forgotten: source=%s kept=%s", source, KEPT)
            known[source] = Held(secrets=[new, *others][:KEPT])
        return True

    def forget(self, source: str) -> int:
        """Remove the secrets of a source; how many there were."""
        with self._changing() as known:
            held = known.get(source, Held())
            known[source] = Held(door=held.door)
        return len(held.secrets)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Held]]:
        """All of it, under the lock; what the block leaves is written."""
        until = time.monotonic() + LOCK_S

        def wait() -> None:
            if time.monotonic() > until:
                raise self._unusable("another process holds its lock")
            time.sleep(LOCK_POLL_S)

        try:
            with locked(self._path.with_suffix(".lock"), wait):
                before = self.read()
                known = dict(before)
                yield known
                known = {name: held for name, held in known.items() if held != Held()}
                if known != before:
                    replace(self._path, msgspec.json.format(msgspec.json.encode(known)))
        except OSError as error:
            raise self._unusable(error.strerror or "unwritable") from error

    def _unusable(self, why: str) -> StateError:
        do = "give the receiver and this user a `home` that both may write to"
        return StateError(f"secrets cannot be kept ({why})", where=str(self._path), do=do)
