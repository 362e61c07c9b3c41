"""Subscriptions to webhooks: made, kept alive, removed; what is known of them is in `home`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import msgspec
from msgspec import UNSET

from tap_saas.client.client import Client, Where
from tap_saas.connector.exchange import Response
from tap_saas.connector.request_form import RequestForm
from tap_saas.connector.subscribe import Subscribe
from tap_saas.errors import ApiError, StateError

Did = Literal["made", "renewed", "kept", "removed", "not there"]
Expecting = Callable[[], AbstractContextManager[Callable[[], bool]]]


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription as the API knows it; `expires` is UTC, None where it lives for ever."""

    id: Any
    callback: str
    made_at: datetime
    expires: datetime | None = None


class Kept:
    """The file `subscriptions.json` of a home, mode 0600, replaced as a whole."""

    def __init__(self, home: Path) -> None:
        self._path = home / "subscriptions.json"

    def all(self) -> dict[str, Subscription]:
        """By `<connector>/<source>`.

        Raises:
            StateError: the file cannot be read.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Subscription])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise StateError(
                f"{self._path} cannot be read ({error})",
                do="mend it, or remove it and the subscriptions at the provider",
            ) from error

    def put(self, source: str, subscription: Subscription | None) -> None:
        """Keep one, or forget it."""
        known = self.all()
        known.pop(source, None)
        if subscription is not None:
            known[source] = subscription
        draft = self._path.with_suffix(f".{os.getpid()}.tmp")
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(known)))
        draft.replace(self._path)


class Subscriber:
    """Keeps the subscription of one source; `source` is `<connector>/<source>`.

    `expecting` is entered for the time of each request that may make the API send a secret; what it
    gives says whether one has come, and may wait for it. What came is not to be trusted where the
    block fails.
    """

    def __init__(
        self,
        client: Client,
        source: str,
        rules: Subscribe,
        values: Mapping[str, Any],
        kept: Kept,
        now: Callable[[], datetime],
        expecting: Expecting = lambda: nullcontext(lambda: True),
    ) -> None:
        self._client, self._source, self._rules = client, source, rules
        self._values, self._kept, self._now = values, kept, now
        self._expecting = expecting

    @property
    def known(self) -> Subscription | None:
        """The one that was made and not removed."""
        return self._kept.all().get(self._source)

    def ensure(self, callback: str, *, anew: bool = False) -> Did:
        """Have a subscription that sends to this address and does not end soon; `anew` a new one.

        Raises:
            ApiError, CredentialError: the API refuses, its answer names no subscription, or no
                secret came where one is expected.
        """
        known = self.known
        if known is None:
            self._make(callback)
            return "made"
        is_good = known.callback == callback and not anew
        if is_good and not self._ends_soon(known):
            return "kept"
        if is_good and self._rules.renew is not None:
            with self._expecting():
                self._ask(self._rules.renew, callback, known)
            renewed = msgspec.structs.replace(known, expires=self._end)
            self._kept.put(self._source, renewed)
            return "renewed"
        # The new one first: what happens in between is sent twice, not lost.
        self._make(callback)
        self._delete(known)
        return "renewed" if is_good else "made"

    def remove(self) -> Did:
        """Remove it at the provider, and forget it.

        Raises:
            ApiError, CredentialError: the API refuses.
        """
        known = self.known
        if known is None:
            return "not there"
        self._delete(known)
        self._kept.put(self._source, None)
        return "removed"

    @property
    def _end(self) -> datetime | None:
        """When one that is made now ends."""
        return None if self._rules.lives is None else self._now() + self._rules.lives

    def _ends_soon(self, known: Subscription) -> bool:
        if known.expires is None or self._rules.lives is None:
            return False
        before = self._rules.renew_before or self._rules.lives / 4
        return self._now() >= known.expires - before

    def _make(self, callback: str) -> None:
        end = self._end
        with self._expecting() as has_come:
            response = self._ask(self._rules.create, callback, None)
            found = self._rules.id.read(response)
            if found is UNSET or found is None or found == "":
                raise ApiError(
                    f"the answer names no subscription at {self._rules.id}",
                    where=self._source,
                    request_id=response.request_id,
                    do="correct subscribe.id; remove at the provider what was made",
                )
            made = Subscription(id=found, callback=callback, made_at=self._now(), expires=end)
            if not has_come():
                self._give_up(made)
        self._kept.put(self._source, made)

    def _give_up(self, made: Subscription) -> NoReturn:
        """Remove one whose events could not be verified."""
        self._delete(made)
        what = "a subscription was made, but no secret came with it"
        left = "" if self._rules.delete else "remove it at the provider; "
        do = f"{left}let the receiver run with the same `home`, at {made.callback}"
        raise ApiError(what, where=self._source, do=do)

    def _delete(self, known: Subscription) -> None:
        """Remove one; that it is gone already is as good."""
        if self._rules.delete is None:
            return
        try:
            self._ask(self._rules.delete, known.callback, known)
        except ApiError as error:
            if error.status not in (404, 410):
                raise

    def _ask(self, form: RequestForm, callback: str, known: Subscription | None) -> Response:
        where = Where(stream=self._source)
        values: dict[str, Any] = {**self._values, "callback": callback, "now": self._now()}
        values["id"] = UNSET if known is None else known.id
        values["expires"] = self._end or UNSET
        values["token"] = self._client.token(form, where)
        return self._client.send(form, form.build(values), where=where).response
