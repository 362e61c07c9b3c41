"""Whether events can be in the tables of the streams that they feed: keys and versions."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tap_saas.connector.connector_check import NAME, check_if, check_value_name
from tap_saas.connector.draft import Draft
from tap_saas.connector.events import EventLog
from tap_saas.connector.fields import HashKey
from tap_saas.connector.identity import version_format
from tap_saas.connector.mistake import Findings, Where, alternatives
from tap_saas.connector.model import Stream, column
from tap_saas.connector.proof import Secrets
from tap_saas.connector.request_check import check_form, check_placeholders
from tap_saas.connector.routes import Route
from tap_saas.connector.subscribe import PLACEHOLDERS
from tap_saas.connector.webhook import WebhookSource


def check_push(draft: Draft) -> None:
    """Tell every mistake of event logs and webhook sources that needs the whole connector."""
    connector = draft.connector
    for name, log in connector.events.items():
        where = ("events", name)
        _check_name(draft, name, where)
        bare = msgspec.structs.replace(log, routes=[])
        check_form(draft, bare, where, (), has_bounds=log.incremental is not None)
        check_if(draft, log.if_, where)
        _check_routes(draft, log, where)
    for name, source in connector.webhooks.items():
        where = ("webhooks", name)
        _check_name(draft, name, where)
        form_less = msgspec.structs.replace(source, routes=[], subscribe=None)
        check_placeholders(draft, form_less, where, set(draft.settings))
        _check_stores(draft, source, where)
        _check_routes(draft, source, where)
        for key, form in source.subscribe.requests.items() if source.subscribe else ():
            check_form(draft, form, (*where, "subscribe", key), PLACEHOLDERS)


def _check_stores(draft: Draft, source: WebhookSource, where: Where) -> None:
    """A secret that a handshake brings is one that the signature checks with, and no other."""
    signature = source.signature
    used = signature.secrets if isinstance(signature, Secrets) else []
    for n, handshake in enumerate(source.handshake):
        if handshake.store is None:
            continue
        at, tell = (*where, "handshake", n), draft.findings.tell
        name = handshake.store.setting
        setting = draft.settings.get(name)
        if setting is None:
            do = alternatives(name, draft.settings) or "declare it under `settings`"
            tell((*at, "store", "setting"), f'there is no setting "{name}"', do)
        elif not setting.secret or setting.type != "string":
            what = f'the setting "{name}" is no secret text'
            tell((*at, "store", "setting"), what, f"declare it as {name}: {{secret: true}}")
        elif not any(name in secret.names for secret in used):
            what = f'the signature does not use the secret "{name}"'
            tell((*at, "store", "setting"), what, f'add "{{{name}}}" to its `secrets`')
        if handshake.require is None:
            what = "nobody can sign with a secret before it has come"
            tell((*at, "store"), what, "add `require: {type: none}` beside `store`")


def _check_name(draft: Draft, name: str, where: Where) -> None:
    if not NAME.fullmatch(name):
        do = "use letters, digits and _, and begin with a letter"
        draft.findings.tell(where, f'"{name}" is not a name', do)


def _check_routes(draft: Draft, source: EventLog | WebhookSource, where: Where) -> None:
    for n, route in enumerate(source.routes):
        at = (*where, "routes", n, "fetch")
        if route.fetch is None:
            continue
        for name in route.fetch.values:
            check_value_name(draft, name, (*at, "values", name), set())
        check_form(draft, route.fetch, at, tuple(route.fetch.values))
    check_feeds(source, where, draft.streams, draft.names, draft.findings)


def check_feeds(
    source: EventLog | WebhookSource,
    where: Where,
    streams: Mapping[str, Stream],
    names: tuple[str, ...],
    findings: Findings,
) -> None:
    """Tell what is wrong with each route and its stream; `names` are all streams of the file."""
    for n, route in enumerate(source.routes):
        at = (*where, "routes", n)
        if findings.is_touched(at):
            continue
        if route.stream not in names:
            what = f'there is no stream "{route.stream}"'
            findings.tell((*at, "stream"), what, alternatives(route.stream, names))
        elif route.stream in streams and not _has_touched_key(route.stream, findings):
            has_time = source.time is not None or findings.is_touched((*where, "time"))
            _Feed(route, at, streams[route.stream], findings, has_time=has_time).check()


def _has_touched_key(name: str, findings: Findings) -> bool:
    keys = ("primary_key", "version", "incremental", "fields")
    return any(findings.is_touched(("streams", name, key)) for key in keys)


class _Feed:
    """One route into one stream."""

    def __init__(
        self, route: Route, where: Where, stream: Stream, findings: Findings, *, has_time: bool
    ) -> None:
        self._route, self._where, self._stream = route, where, stream
        self._findings = findings
        self._has_time = has_time

    def check(self) -> None:
        if not self._check_stream():
            return
        self._check_record()
        self._check_fetch()
        if self._route.can_delete:
            self._check_deletes()
        if self._stream.version_kind == "observed" and not self._has_time and self._brings_time:
            what = f'the version of "{self._stream.name}" is the time of the event'
            self._tell((), what, "add `time:` beside `routes`")

    @property
    def _brings_time(self) -> bool:
        """Whether the event's time becomes the version of a row."""
        return self._route.fetch is None or self._route.can_delete

    def _tell(self, place: Where, what: str, do: str | None) -> None:
        self._findings.tell((*self._where, *place), what, do)

    def _check_stream(self) -> bool:
        stream = self._stream
        told = f'events come twice and in any order, so "{stream.name}" needs'
        if stream.primary_key is None:
            self._tell(("stream",), f"{told} a primary key", "add `primary_key: [id]` to it")
        if stream.version_kind is None:
            do = "add `version:` to it, a field that grows with each change, or observed"
            self._tell(("stream",), f"{told} a version", do)
        return stream.primary_key is not None and stream.version_kind is not None

    def _check_record(self) -> None:
        record = self._route.record
        if record is None or record.path is not None:
            return
        lacking = self._without_key(set(record.members))
        version = self._stream.version_column
        is_field = self._stream.version_kind in ("field", "text")
        if self._route.fetch is None and not self._route.only_deletes and is_field:
            lacking += [] if self._names(str(version)) & set(record.members) else [str(version)]
        for name in lacking:
            what = f'the record lacks "{name}", which is of the key or version of its stream'
            self._tell(("record",), what, f"add it, as in {{{name}: $.{name}}}")

    def _check_fetch(self) -> None:
        fetch = self._route.fetch
        if fetch is None:
            return
        keys = self._stream.key_columns
        if fetch.batch is not None and not set(fetch.values) <= set(keys):
            what = "by its value a record of the answer must be known again"
            self._tell(("fetch", "batch"), what, f"name the value {keys[0]}, as the primary key")
        if self._route.record is not None:
            return
        lacking = self._without_key(set(fetch.values))
        if lacking and self._route.can_delete:
            what = f"nothing says which record is deleted: {', '.join(lacking)} is missing"
            self._tell(("deleted",), what, "add `record`, or a value of that name")
        elif lacking and fetch.gone:
            what = f"nothing says which record is gone: {', '.join(lacking)} is missing"
            self._tell(("fetch", "values"), what, "add it, or `record`, or say `gone: []`")
        elif fetch.gone and not self._is_time:
            name = self._stream.version_column
            what = f'"{name}" does not say when a record was found to be gone'
            self._tell(("fetch", "gone"), what, f"say `gone: []`, or add `record` with {name}")

    @property
    def _is_time(self) -> bool:
        """Whether the version of the stream is an instant, so that a time may be one."""
        return version_format(self._stream) is not None

    def _check_deletes(self) -> None:
        kind, name = self._stream.version_kind, self._stream.version_column
        record = self._route.record
        if kind == "observed":
            return
        has_own = record is not None and (
            record.path is not None or bool(self._names(str(name)) & set(record.members))
        )
        is_time = self._is_time
        if has_own or (is_time and self._has_time):
            return
        what = f'nothing says how new a deletion is: the version "{name}" is missing'
        do = "add `time:` beside `routes`, or " if is_time else ""
        self._tell(("deleted",), what, f"{do}add `record` with {name}")

    def _without_key(self, names: set[str]) -> list[str]:
        """The columns of the primary key (the fields of a digest) that are not among the names."""
        key = self._stream.primary_key
        paths = key.hash if isinstance(key, HashKey) else key or []
        return [column(path) for path in paths if not self._names(column(path)) & names]

    def _names(self, name: str) -> set[str]:
        """What a column may be called in a record: its name, and those that become it."""
        fields = self._stream.fields
        renamed = {old for old, new in fields.rename.items() if new == name} if fields else set()
        return {name} | renamed
