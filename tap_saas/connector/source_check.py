"""What a schema cannot say about one event log or webhook source."""

from __future__ import annotations

import re

from tap_saas.connector.events import EventLog
from tap_saas.connector.incremental_check import check_incremental, check_pagination
from tap_saas.connector.mistake import Findings, Where
from tap_saas.connector.proof import Proof, Secrets
from tap_saas.connector.routes import EventPlaces, Route
from tap_saas.connector.signature import PublicKey
from tap_saas.connector.stream_check import check_request
from tap_saas.connector.webhook import WebhookSource

_CONSUMER = re.compile(r"[A-Za-z0-9_.-]{1,63}", re.ASCII)


def check_log(log: EventLog, where: Where, findings: Findings) -> None:
    """Tell every mistake that is this event log's own."""
    check_request(log, where, findings)
    if log.incremental is not None:
        check_incremental(
            log.incremental,
            (*where, "incremental"),
            findings,
            names=log.names,
            pagination=log.pagination,
        )
    check_pagination(log.pagination, log.incremental, (*where, "pagination"), findings)
    for name in ("id", "type", "time"):
        places = getattr(log, name)
        has_headers = places is not None and (
            places.has_headers if isinstance(places, EventPlaces) else places.take.path is None
        )
        if has_headers:
            what = "an event of a log has no headers"
            findings.tell((*where, name), what, "name a place in the event, as in $.id")
    _check_routes(log, where, findings)


def check_source(source: WebhookSource, where: Where, findings: Findings) -> None:
    """Tell every mistake that is this webhook source's own."""
    if source.id is not None and source.id.is_hash and source.time is None:
        what = "two events may well say the same, so a hash needs a time"
        findings.tell((*where, "id"), what, "add `time:`, or leave `id` out")
    consumers = source.consumers
    if not consumers:
        what = "nobody reads the events"
        findings.tell((*where, "consumers"), what, "name one, as in [main]")
    for n, name in enumerate(consumers):
        if not _CONSUMER.fullmatch(name):
            what = f'"{name}" is no name of a consumer'
            findings.tell((*where, "consumers", n), what, "use letters, digits, _ . and -")
    _check_written(source.signature, (*where, "signature"), findings)
    for n, handshake in enumerate(source.handshake):
        if handshake.require is not None:
            _check_written(handshake.require, (*where, "handshake", n, "require"), findings)
    if source.subscribe is not None:
        for name, form in source.subscribe.requests.items():
            check_request(form, (*where, "subscribe", name), findings)
    _check_routes(source, where, findings)


def _check_written(proof: Proof, where: Where, findings: Findings) -> None:
    """A secret belongs into the environment, as that of a request does; a public key is none."""
    if not isinstance(proof, Secrets) or isinstance(proof, PublicKey):
        return
    for n, secret in enumerate(proof.secrets):
        if not secret.names:
            do = 'make it a setting with `secret: true` and `env:`, and write "{webhook_secret}"'
            at = (*where, "secrets", n)
            findings.tell(
                at,
                "the secret is written in this file, or in a setting that is no secret",
                do,
                "warning",
            )


def _check_routes(source: EventLog | WebhookSource, where: Where, findings: Findings) -> None:
    if not source.routes and not findings.is_touched((*where, "routes")):
        findings.tell((*where, "routes"), "no event goes anywhere", "add a route")
    for n, route in enumerate(source.routes):
        at = (*where, "routes", n)
        if route.fetch is not None:
            check_request(route.fetch, (*at, "fetch"), findings)
            fetch = (*at, "fetch", "pagination")
            check_pagination(route.fetch.pagination, None, fetch, findings)
        if findings.is_touched(at):
            continue
        if source.type is None and not findings.is_touched((*where, "type")):
            _check_needs_type(route, at, findings)
        _check_deleted(route, at, findings)
        _check_paths(route, at, findings)


def _check_needs_type(route: Route, where: Where, findings: Findings) -> None:
    for name in ("types", "deleted"):
        if isinstance(getattr(route, name), list) and getattr(route, name):
            what = "nothing says where an event has its type"
            findings.tell((*where, name), what, "add `type:` beside `routes`")


def _check_deleted(route: Route, where: Where, findings: Findings) -> None:
    if isinstance(route.deleted, bool):
        return
    for n, pattern in enumerate(route.deleted):
        if route.types and not any(pattern.meets(one) for one in route.types):
            what = f'no event of the type "{pattern}" comes here'
            findings.tell((*where, "deleted", n), what, "add it to `types`")


def _check_paths(route: Route, where: Where, findings: Findings) -> None:
    """One event is about one record."""
    for path in route.record.paths if route.record is not None else ():
        if "*" in str(path):
            what = f"{path} is a list, and a route brings one record"
            findings.tell((*where, "record"), what, "give the path of one")
    if route.fetch is None:
        return
    for name, path in route.fetch.values.items():
        if "*" in str(path):
            what = f"{path} is a list of values"
            findings.tell((*where, "fetch", "values", name), what, "give the path of one")
    if route.fetch.batch is None:
        return
    at = (*where, "fetch", "batch")
    if len(route.fetch.values) != 1:
        what = "a batch is a list of one value of each event"
        findings.tell(at, what, "name one value, or take `batch` away")
    elif set(route.fetch.values) & route.fetch.path.names:
        (name,) = route.fetch.values
        what = f"a batch is a list, and the path holds one {{{name}}}"
        findings.tell(at, what, "send it in `params` or `body`, or take `batch` away")
