"""Who wants to be told of events: subscriptions that are made, renewed, and expire."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from tap_saas.sandbox import signing
from tap_saas.sandbox.instants import iso_ms
from tap_saas.sandbox.refusal import RefusalError, bad

LIVES_S = 86_400
MOST = 100
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(slots=True)
class Subscription:
    """Where events of these types go until it expires (seconds since 1970)."""

    id: str
    url: str
    types: list[str]
    scheme: str
    secret: str
    created_s: float
    expires_s: float

    def wants(self, type_: str) -> bool:
        """Whether events of this type are sent there."""
        return any(fnmatchcase(type_, pattern) for pattern in self.types)

    def show(self, *, secret: bool = False) -> dict[str, object]:
        """As the API tells it; the secret is told once, when it is made."""
        shown: dict[str, object] = {
            "id": self.id,
            "url": self.url,
            "types": self.types,
            "signature": self.scheme,
            "created_at": iso_ms(int(self.created_s * 1_000)),
            "expires_at": iso_ms(int(self.expires_s * 1_000)),
        }
        return {**shown, "secret": self.secret} if secret else shown


class Subscriptions:
    """All that have not expired. Thread-safe as far as a dict is."""

    def __init__(self, clock_s: Callable[[], float] = time.time) -> None:
        self._clock_s = clock_s
        self._numbers = itertools.count(1)
        self._known: dict[str, Subscription] = {}

    def make(
        self, url: str, types: list[str], scheme: str, secret: str | None, lives_s: float | None
    ) -> Subscription:
        """A new one. Raises: RefusalError 400 for an address beyond loopback, or too many."""
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK:
            raise bad("url is not http://127.0.0.1:...; the sandbox sends to this machine only")
        if len(self.all()) >= MOST:
            raise bad(f"there are {MOST} subscriptions already")
        secret = secret or signing.new_secret()
        try:
            signing.check_secret(scheme, secret)
        except ValueError as error:
            raise bad(str(error)) from error
        now = self._clock_s()
        made = Subscription(
            id=f"sub_{next(self._numbers)}",
            url=url,
            types=types or ["*"],
            scheme=scheme,
            secret=secret,
            created_s=now,
            expires_s=now + (LIVES_S if lives_s is None else lives_s),
        )
        self._known[made.id] = made
        return made

    def all(self) -> list[Subscription]:
        """Those that have not expired; the others are forgotten."""
        now = self._clock_s()
        for one in list(self._known.values()):
            if one.expires_s <= now:
                self._known.pop(one.id, None)
        return list(self._known.values())

    def find(self, id_: str) -> Subscription | None:
        """The one of this id, where it has not expired."""
        return next((one for one in self.all() if one.id == id_), None)

    def get(self, id_: str) -> Subscription:
        """The same. Raises: RefusalError 404 where there is none."""
        found = self.find(id_)
        if found is None:
            raise RefusalError(404, "not_found", "there is no such subscription, or it expired")
        return found

    def renew(self, id_: str, lives_s: float | None) -> Subscription:
        """Let it live for so long from now. Raises: as `get`."""
        found = self.get(id_)
        found.expires_s = self._clock_s() + (LIVES_S if lives_s is None else lives_s)
        return found

    def delete(self, id_: str) -> None:
        """Send nothing there any more. Raises: as `get`."""
        del self._known[self.get(id_).id]
