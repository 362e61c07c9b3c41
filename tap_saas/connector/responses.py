"""What a response means: `responses:` of a connector, then the built-in rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import Response
from tap_saas.connector.place import Condition, TakenFrom
from tap_saas.connector.retry import read_http_date
from tap_saas.connector.units import Percent

Then = Literal["ok", "retry", "wait", "skip", "fail", "done", "restart"]

# Besides all of 5xx: 408 Request Timeout, 425 Too Early (RFC 9110 section 15.5.9, RFC 8470).
RETRIED = frozenset({408, 425})
# Of a body that is no JSON this much is looked at, and of what it says this much is shown.
READ = 65_536
QUOTED = 200


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{status: [403, 404], when: $.code == 7, then: skip, scope: partition, max: 10%}`.

    status: one status or several
    when: what holds in the response besides
    then: ok; retry (a failure, asked again); wait (the API's rate limit); skip; done (the list ends
      here); restart (the pass, from its watermark); fail
    scope: what is skipped, the partition or the whole stream
    max: how many partitions may be skipped, more is a failure
    message: where the API says what is wrong
    """

    status: int | list[int] | None = None
    when: Condition | None = None
    then: Then
    scope: Literal["partition", "stream"] = "partition"
    max: Percent | None = None
    message: TakenFrom | None = None

    def __post_init__(self) -> None:
        if self.status is None and self.when is None:
            raise ValueError("a rule needs `status`, `when` or both")
        if self.max is not None and self.then != "skip":
            raise ValueError("`max` goes with `then: skip` only")

    def fits(self, response: Response) -> bool:
        """True where status and condition both hold."""
        statuses = [self.status] if isinstance(self.status, int) else self.status
        if statuses is not None and response.status not in statuses:
            return False
        return self.when is None or self.when.holds(response)


class Verdict(msgspec.Struct, frozen=True):
    """What to do about a response, the rule that said so, and the API's own words."""

    then: Literal["ok", "retry", "wait", "skip", "fail", "done", "restart", "login"]
    rule: Rule | None = None
    message: str | None = None


# What a child's path says about a parent that is gone.
GONE = Rule(status=[404, 410], then="skip")


def judge(response: Response, rules: Iterable[Rule] = ()) -> Verdict:
    """The verdict of the first rule that fits, else the built-in one."""
    for rule in rules:
        if rule.fits(response):
            return Verdict(rule.then, rule, _words(response, rule.then, rule.message))
    then = _built_in(response.status)
    return Verdict(then, None, _words(response, then, None))


def _built_in(status: int) -> Literal["ok", "login", "wait", "retry", "fail"]:
    if 200 <= status < 300:
        return "ok"
    if status == 401:
        return "login"
    if status == 429:
        return "wait"
    return "retry" if status >= 500 or status in RETRIED else "fail"


def status_text(status: int) -> str:
    """`429 Too Many Requests`."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def server_date(response: Response) -> datetime | None:
    """The instant at which the API answered, by its own clock (header `Date`)."""
    return read_http_date(response.headers.get("Date"))


def observed_at(response: Response) -> datetime:
    """The instant at which the API gave these values: its `Date` (else our clock) less `Age`.

    `Age` is how many seconds a cache on the way has kept the answer (RFC 9111 section 5.1).
    """
    seen = server_date(response) or response.received_at
    age = response.headers.get("Age", "")
    try:
        return seen - timedelta(seconds=int(age)) if age.isascii() and age.isdigit() else seen
    except (OverflowError, ValueError):
        return seen


def _words(response: Response, then: str, place: TakenFrom | None) -> str | None:
    """What the API says itself, where something went wrong."""
    told = UNSET if place is None else place.read(response)
    if told is not UNSET and told is not None:
        return str(told)
    return excerpt(response) if then in {"fail", "login", "retry", "wait"} else None


def excerpt(response: Response) -> str | None:
    """The API's message, else the beginning of the body; None where it is empty.

    Not yet masked and many lines long: `one_line` comes after masking.
    """
    try:
        told = next(_messages(response.document.value), None)
    except ValueError:
        told = html_page(response.body)
    start = response.body[:READ].decode(errors="replace").strip()
    return told or (start and start + "..." * (len(response.body) > READ)) or None


def one_line(text: str) -> str:
    """The first 200 printable characters, on one line."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(shown.split())[:QUOTED]


def _messages(value: Any) -> Iterator[str]:
    """Texts where APIs put them: `message`, `error`, `detail`, `errors[0].message` ..."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for member in value[:1]:
            yield from _messages(member)
    elif isinstance(value, dict):
        for key in ("message", "error_description", "error", "errors", "detail", "title", "reason"):
            yield from _messages(value.get(key))


def html_page(body: bytes) -> str | None:
    """`an HTML page ("Just a moment...")`, where the body is one."""
    head = body[:READ].decode(errors="replace")
    if not re.match(r"\s*(<!doctype html|<html|<head|<body)", head, re.IGNORECASE):
        return None
    title = re.search(r"<title[^>]*>(.*?)</title>", head, re.IGNORECASE | re.DOTALL)
    return f'an HTML page ("{title[1].strip()}")' if title else "an HTML page"
