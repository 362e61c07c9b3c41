"""What we allow ourselves to ask of an API: `budgets:` of a connector, numbers, not the waiting."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from hashlib import blake2s
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import Response
from tap_saas.connector.place import TakenFrom
from tap_saas.connector.retry import read_http_date
from tap_saas.connector.template import Template
from tap_saas.connector.units import Duration, Percent
from tap_saas.errors import ApiError

FURTHEST_RESET = timedelta(days=32)

_MATCH = re.compile(r"(?:([A-Z]+) +)?((?:/|\*|https?://)[^\s?#]*)")
_PIECE = re.compile(r"\*|\{[^{}/]*\}|[^*{]+|\{")


class Allowance(NamedTuple):
    """What remains of a limit for us: `requests` in any `per_s` seconds."""

    requests: int
    per_s: float
    stops: bool


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{requests: 50000, per: 1d, reserve: 20%, spent: stop}` or `{concurrent: 8}`.

    requests: how many requests in the time that `per` says
    per: any stretch of time of this length, not only full hours
    concurrent: how many requests may be under way at once
    reserve: a part that is kept free for others
    spent: stop ends the run, as a planned end, where it would have to wait for longer than is left
      of it (more than a minute if it has no end); unless said, it waits
    """

    requests: int | None = None
    per: Duration | None = None
    concurrent: int | None = None
    reserve: Percent = Percent(0)
    spent: Literal["wait", "stop"] = "wait"

    def __post_init__(self) -> None:
        if (self.requests is None) != (self.per is None):
            raise ValueError("requests and per go together, as in {requests: 100, per: 1s}")
        if (self.requests is None) == (self.concurrent is None):
            raise ValueError("a limit has either requests and per, or concurrent")
        if (self.requests or self.concurrent or 0) < 1:
            raise ValueError("a limit is at least 1")
        if self.per is not None and not self.per:
            raise ValueError("per is longer than nothing, as in 1s")
        if self.reserve >= 1:
            raise ValueError("reserve leaves nothing; write less than 100%")
        if self.concurrent is not None and self.spent == "stop":
            raise ValueError("spent belongs to requests and per, not to concurrent")


class Reset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{take: header:RateLimit-Reset, as: delta_s}`: when an API counts anew.

    take: where it says so
    as: how: seconds from now on, seconds since 1970, or an HTTP date
    """

    take: TakenFrom
    as_: Literal["delta_s", "epoch_s", "epoch_ms", "http_date"] = msgspec.field(
        name="as", default="delta_s"
    )

    def seconds(self, response: Response) -> float | None:
        """How long until then; None where the answer says nothing that can be read.

        Instants are measured against the answer's own `Date`, if it has one.

        Raises:
            ApiError: It is more than 32 days away, so that `as` is wrong.
        """
        value = self.take.read(response)
        now = read_http_date(response.headers.get("Date")) or response.received_at
        if self.as_ == "http_date":
            instant = read_http_date(value) if isinstance(value, str) else None
            seconds = None if instant is None else (instant - now).total_seconds()
        else:
            number = _number(value)
            scale = 1000 if self.as_ == "epoch_ms" else 1
            start = 0.0 if self.as_ == "delta_s" else now.timestamp()
            seconds = None if number is None else number / scale - start
        if seconds is not None and seconds > FURTHEST_RESET.total_seconds():
            raise ApiError(
                f"{self.take} says {value}, which as {self.as_} is {seconds / 86400:,.0f} days"
                " from now",
                do="correct `as` of the budget's reset",
            )
        return None if seconds is None else max(0.0, seconds)


class Learnt(NamedTuple):
    """What an API says of its own budget: requests left, and seconds until it counts anew."""

    remaining: int
    reset_s: float


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`all: {limits: [{requests: 100, per: 1s}, {concurrent: 8}]}`: limits that hold together.

    limits: what may be sent, all of them hold
    match: for which requests, `POST /search/*` or a path alone: * is any text, slashes too, {name}
      one part of the path, which is written as in `path`
    key: one bucket a value
    share: the part of every limit that is ours
    spread: send evenly, not in bursts
    remaining: where an API tells how many requests are left
    reset: where an API tells when it counts anew
    """

    limits: tuple[Limit, ...] = ()
    match: str | None = None
    key: Template | None = None
    share: Percent = Percent(1)
    spread: bool = False
    remaining: TakenFrom | None = None
    reset: Reset | None = None

    def __post_init__(self) -> None:
        if (self.remaining is None) != (self.reset is None):
            raise ValueError("remaining and reset go together")
        if not self.limits and self.remaining is None:
            raise ValueError("a budget needs limits, or remaining and reset")
        if not self.share:
            raise ValueError("share leaves nothing; write more than 0%")
        if self.match is not None:
            _matcher(self.match)
        if self.spread and not self.allowances:
            raise ValueError("spread needs a limit of requests")

    @property
    def names(self) -> frozenset[str]:
        """The placeholders of `key`."""
        return self.key.names if self.key else frozenset()

    @property
    def allowances(self) -> tuple[Allowance, ...]:
        """Requests a time, less what is reserved, our share of it.

        Less than one request is one in a longer time: half of 1 in 1 s is 1 in 2 s.
        """
        found = []
        for limit in self.limits:
            if limit.requests is not None and limit.per is not None:
                ours = limit.requests * (1 - limit.reserve) * self.share
                per_s = limit.per.total_seconds() / min(1.0, ours)
                found.append(Allowance(_floor(ours), per_s, limit.spent == "stop"))
        return tuple(found)

    @property
    def concurrent(self) -> int | None:
        """How many requests may be in flight, at least one."""
        ours = [
            _floor(limit.concurrent * (1 - limit.reserve) * self.share)
            for limit in self.limits
            if limit.concurrent is not None
        ]
        return min(ours, default=None)

    def applies(self, method: str, path: str) -> bool:
        """Whether a request spends of it; `path` follows `base_url`, or is absolute elsewhere."""
        if self.match is None:
            return True
        wanted, pattern = _matcher(self.match)
        return wanted in (None, method) and pattern.fullmatch(path) is not None

    def bucket(self, name: str, values: Mapping[str, Any]) -> str | None:
        """The bucket's name, `name` and a digest of `key` (it may be a secret).

        None where the key has no value: then the budget does not apply.
        """
        if self.key is None:
            return name
        value = self.key.fill(values)
        if value is UNSET:
            return None
        return f"{name}:{blake2s(str(value).encode(), digest_size=8).hexdigest()}"

    @property
    def reserved(self) -> int:
        """How many requests stay for others of what an API says is left.

        With several limits it is not known of which of them the API speaks: then none.
        """
        limits = [limit for limit in self.limits if limit.requests is not None]
        if len(limits) != 1:
            return 0
        return math.ceil((limits[0].requests or 0) * limits[0].reserve - 1e-9)

    def learn(self, response: Response) -> Learnt | None:
        """What an answer says of the API's own count, less what is reserved, if anything."""
        if self.remaining is None or self.reset is None:
            return None
        remaining = _number(self.remaining.read(response))
        reset_s = self.reset.seconds(response)
        if remaining is None or reset_s is None:
            return None
        return Learnt(max(0, int(remaining) - self.reserved), reset_s)


@lru_cache
def _matcher(text: str) -> tuple[str | None, re.Pattern[str]]:
    found = _MATCH.fullmatch(text)
    if found is None:
        raise ValueError(
            f"match {text!r} is not a path, nor a method and a path; write one as in POST /search/*"
        )
    pieces = _PIECE.findall(found[2])
    return found[1], re.compile("".join(_pattern(piece) for piece in pieces))


def _pattern(piece: str) -> str:
    if piece == "*":
        return ".*"
    return "[^/]+" if piece[0] == "{" and piece[-1] == "}" else re.escape(piece)


def _floor(number: float) -> int:
    """Whole requests; 0.7 * 10 is 7 although binary fractions say a little less."""
    return max(1, math.floor(number + 1e-9))


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
