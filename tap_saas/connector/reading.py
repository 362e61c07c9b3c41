"""The way from a connector file to its model: settings, defaults, each part, then the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tap_saas.connector import yaml_reader
from tap_saas.connector.bind import Values, bind, names_in, prune, resolve
from tap_saas.connector.connector_check import check_draft, check_settings
from tap_saas.connector.draft import Draft
from tap_saas.connector.events import EventLog
from tap_saas.connector.exchange import written
from tap_saas.connector.merge import merged
from tap_saas.connector.mistake import Findings, Where
from tap_saas.connector.model import LANGUAGE, Connector, Setting, Stream
from tap_saas.connector.ownership import (
    finished,
    owned,
    owned_routes,
    owned_subscribe,
    with_owned_list,
)
from tap_saas.connector.place import Condition
from tap_saas.connector.push_check import check_push
from tap_saas.connector.request_form import RequestForm
from tap_saas.connector.source_check import check_log, check_source
from tap_saas.connector.stream_check import check_request, check_stream
from tap_saas.connector.validate import read
from tap_saas.connector.webhook import WebhookSource
from tap_saas.errors import ConfigError, ConnectorError

REQUEST_KEYS = ("base_url", "headers", "params", "auth", "http", "budgets", "retry", "responses")
LIST_KEYS = ("records", "decode", "pagination")
_OF_LOGS = (*REQUEST_KEYS, *LIST_KEYS)
_READ_APART = ("settings", "defaults", "streams", "events", "webhooks")

T = TypeVar("T")


class Reading:
    """One connector file being read; what is wrong with it is in `findings`.

    With `sample_all` each setting has a value, made up where need be, and nothing is switched off.
    With `unfinished` streams may lack their pagination: one page is read of them, and `unfinished`
    names them.
    """

    def __init__(
        self,
        path: Path,
        given: Mapping[str, Any],
        env: Mapping[str, str],
        *,
        sample_all: bool = False,
        unfinished: bool = False,
    ) -> None:
        self.source = yaml_reader.read(path)
        self.findings = Findings(str(path), self.source.lines, self.source.mistakes)
        self._sample_all = sample_all
        self._may_be_unfinished = unfinished
        self.unfinished: list[str] = []
        self._refuse_newer_language()
        self._file = {key: value for key, value in self.source.value.items() if key != "settings"}
        self.settings = self._read_settings()
        self.values = resolve(self.settings, given, env, sample_all=sample_all)
        self._taken = self._file if sample_all else _taken(self._file, self.values)
        bound = bind(self._taken, self.settings, self.values)
        self.findings.bound(bound.blanks, bound.absent)
        self._raw = bound.raw

    def connector(self) -> Connector | None:
        """The connector as far as it can be read."""
        top = self._read_top()
        forms = self._section("streams")
        if not forms and not self.findings.is_touched(("streams",)):
            do = "add `streams:` with one at least"
            self.findings.tell(("streams",), "there are no streams", do)
        read_streams = {name: self._read_stream(name, own) for name, own in forms.items()}
        known = {name: stream for name, stream in read_streams.items() if stream is not None}
        off = frozenset(name for name, one in known.items() if not self._is_on(one.if_))
        streams = {name: stream for name, stream in known.items() if name not in off}
        form = self._read_check()
        logs = self._each("events", self._read_log)
        sources = self._each("webhooks", self._read_source)
        if top is None:
            return None
        top = msgspec.structs.replace(
            top,
            settings=self.settings,
            check=form,
            defaults=self._section("defaults"),
            events={name: log for name, log in logs.items() if self._is_on(log.if_)},
            webhooks=sources,
        )
        draft = Draft(
            connector=top,
            streams=streams,
            names=tuple(forms),
            off=off,
            used=frozenset(names_in(self._file)),
            values=self.values.values,
            samples=self.values.samples,
            findings=self.findings,
        )
        check_draft(draft)
        check_push(draft)
        return finished(top, streams)

    def problems(self) -> list[str]:
        """What is wrong with the settings that were given, one line each."""
        asked, everywhere = _asked_by_a_run(self._taken), names_in(self._file)
        lines = []
        for name, setting in self.settings.items():
            if name in self.values.samples and (name in asked or name not in everywhere):
                variable = f" or the variable {setting.env}" if setting.env else ""
                about = f" ({setting.description})" if setting.description else ""
                do = f"set settings.{name}{variable}{about}"
                lines.append(f"the setting {name} is missing; {do}")
        for by, branches in _selects(self._file):
            value = self.values.values.get(by)
            if by not in self.values.samples and written(value) not in branches:
                lines.append(f"the setting {by} chooses nothing; use one of {', '.join(branches)}")
        return list(dict.fromkeys([*self.values.problems, *lines]))

    def _refuse_newer_language(self) -> None:
        language = self.source.value.get("language")
        if isinstance(language, int) and language > LANGUAGE:
            what = f"language {language} is newer than {LANGUAGE}, which this tap-saas knows"
            self.findings.tell(("language",), what, "upgrade tap-saas")
            raise ConnectorError([str(self.findings.mistakes[-1])])

    def _read_settings(self) -> dict[str, Setting]:
        raw = self.source.value.get("settings")
        if raw is not None and not isinstance(raw, dict):
            self.findings.tell(
                ("settings",), "`settings` is not a map", "write `api_key: {}` below it"
            )
        settings: dict[str, Setting] = {}
        for name, options in (raw if isinstance(raw, dict) else {}).items():
            where = ("settings", name)
            setting = read(Setting, {} if options is None else options, where, self.findings)
            settings[name] = setting or Setting()
        check_settings(settings, self.findings)
        return settings

    def _section(self, key: str) -> dict[str, Any]:
        section = self._raw.get(key)
        if section is not None and not isinstance(section, dict):
            self.findings.tell((key,), f"`{key}` is not a map", "write its keys below it, indented")
        return section if isinstance(section, dict) else {}

    def _read_top(self) -> Connector | None:
        raw: dict[str, Any] = {key: {} for key in _READ_APART if key in self._raw}
        kept = {k: v for k, v in self._raw.items() if k not in raw and k != "check"}
        raw |= {key: value for key, value in kept.items() if value is not None}
        top = read(Connector, raw, (), self.findings, self._place_files)
        if top is None or self._raw.get("name") is not None:
            return top
        return msgspec.structs.replace(top, name=self.source.path.stem)

    def _read_stream(self, name: str, own: Any) -> Stream | None:
        where = ("streams", name)
        base = merged(self._shared(), self._section("defaults"))
        raw = self._over(base, own, where)
        if raw is None:
            return None
        self._take_schema_file(raw, (*where, "schema"))
        self._complete_deleted_list(raw, where)
        if self._may_be_unfinished and "pagination" not in raw:
            raw["pagination"] = {"type": "single"}
            self.unfinished.append(name)
        stream = read(Stream, raw, where, self.findings, self._place_files)
        if stream is None:
            return None
        stream = msgspec.structs.replace(
            stream, name=name, budgets=owned(stream.budgets, own, name)
        )
        check_stream(stream, where, self.findings)
        return _once_parsed(with_owned_list(stream, own))

    def _each(self, key: str, read_one: Callable[[str, Any], T | None]) -> dict[str, T]:
        """What could be read of a section."""
        found = {name: read_one(name, own) for name, own in self._section(key).items()}
        return {name: one for name, one in found.items() if one is not None}

    def _read_log(self, name: str, own: Any) -> EventLog | None:
        where = ("events", name)
        base = {k: v for k, v in self._section("defaults").items() if k in _OF_LOGS}
        raw = self._over(merged(self._shared(), base), own, where)
        if raw is None:
            return None
        self._complete_fetches(raw, where)
        log = read(EventLog, raw, where, self.findings, self._place_files)
        if log is None:
            return None
        check_log(log, where, self.findings)
        if "incremental" in self._section("defaults") and "incremental" not in (own or {}):
            what = "the `incremental` of `defaults` is one of streams: each run reads the whole log"
            do = "add `incremental` here; null where that is meant"
            self.findings.tell(where, what, do, "warning")
        owner = f"events.{name}"
        budgets = owned(log.budgets, own, owner)
        routes = owned_routes(log.routes, own, owner)
        return msgspec.structs.replace(log, name=name, budgets=budgets, routes=routes)

    def _read_source(self, name: str, own: Any) -> WebhookSource | None:
        where = ("webhooks", name)
        raw = self._over({}, own, where)
        if raw is None:
            return None
        self._complete_fetches(raw, where)
        self._complete_subscribe(raw, where)
        source = read(WebhookSource, raw, where, self.findings, self._place_files)
        if source is None:
            return None
        check_source(source, where, self.findings)
        routes = owned_routes(source.routes, own, f"webhooks.{name}")
        subscribe = owned_subscribe(source.subscribe, own, f"webhooks.{name}")
        return msgspec.structs.replace(source, name=name, routes=routes, subscribe=subscribe)

    def _complete_fetches(self, raw: dict[str, Any], where: Where) -> None:
        """Put under the requests of routes what the file says for every request."""
        if not isinstance(raw.get("routes"), list):
            return
        raw["routes"] = routes = list(raw["routes"])
        for n, route in enumerate(routes):
            if isinstance(route, dict) and isinstance(route.get("fetch"), dict):
                at = (*where, "routes", n, "fetch")
                routes[n] = {**route, "fetch": self._over(self._shared(), route["fetch"], at)}

    def _complete_subscribe(self, raw: dict[str, Any], where: Where) -> None:
        """Put under the requests of `subscribe` what the file says for every request."""
        said = raw.get("subscribe")
        if not isinstance(said, dict):
            return
        raw["subscribe"] = said = dict(said)
        for name in ("create", "renew", "delete"):
            if isinstance(said.get(name), dict):
                at = (*where, "subscribe", name)
                said[name] = self._over(self._shared(), said[name], at)

    def _complete_deleted_list(self, raw: dict[str, Any], where: Where) -> None:
        """Put under the request for what is gone what the stream says, but for parameters."""
        deletes = raw.get("deletes")
        if not isinstance(deletes, dict) or not isinstance(deletes.get("list"), dict):
            return
        kept = {*REQUEST_KEYS, *LIST_KEYS} - {"params"}
        base = {k: v for k, v in raw.items() if k in kept}
        own = self._over(base, deletes["list"], (*where, "deletes", "list"))
        raw["deletes"] = {**deletes, "list": own}

    def _read_check(self) -> RequestForm | None:
        own = self._raw.get("check")
        raw = None if own is None else self._over(self._shared(), own, ("check",))
        form = (
            None
            if raw is None
            else read(RequestForm, raw, ("check",), self.findings, self._place_files)
        )
        if form is None:
            return None
        check_request(form, ("check",), self.findings)
        return msgspec.structs.replace(form, budgets=owned(form.budgets, own, "check"))

    def _shared(self) -> dict[str, Any]:
        """What the file says for every request."""
        return {key: self._raw[key] for key in REQUEST_KEYS if self._raw.get(key) is not None}

    def _over(self, base: dict[str, Any], own: Any, where: Where) -> dict[str, Any] | None:
        if own is not None and not isinstance(own, dict):
            self.findings.tell(
                where, "this is not a map", "write `path: /...` and other keys below it"
            )
            return None
        return {key: value for key, value in merged(base, own or {}).items() if value is not None}

    def _take_schema_file(self, raw: dict[str, Any], where: Where) -> None:
        """Put the schema that a file holds in its place."""
        schema = raw.get("schema")
        if not isinstance(schema, dict) or set(schema) != {"file"}:
            return
        path = self.source.path.parent / str(schema["file"])
        try:
            raw["schema"] = yaml_reader.read(path).value
            return
        except ConfigError as error:
            self.findings.tell((*where, "file"), error.what, "correct the path")
        except ConnectorError as error:
            self.findings.tell((*where, "file"), error.lines[0])
        del raw["schema"]

    def _place_files(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Certificates beside the connector's file."""
        http, folder = raw.get("http"), self.source.path.parent
        if isinstance(http, dict):
            if isinstance(http.get("ca_file"), str):
                http["ca_file"] = str(folder / http["ca_file"])
            if isinstance(http.get("cert"), list):
                http["cert"] = [str(folder / str(file)) for file in http["cert"]]
        return raw

    def _is_on(self, condition: Condition | None) -> bool:
        if self._sample_all or condition is None:
            return True
        if any(place.path is None for place in condition.places):
            return True
        return condition.holds_in(self.values.values)


def _taken(file: dict[str, Any], values: Values) -> dict[str, Any]:
    """The file without the branches of `select` that the settings do not take."""
    known = {k: value for k, value in values.values.items() if k not in values.samples}
    taken: dict[str, Any] = prune(file, known)
    return taken


def _asked_by_a_run(taken: dict[str, Any]) -> set[str]:
    """The settings that a run needs: what only verifies webhooks is the receiver's business."""
    names = names_in({key: value for key, value in taken.items() if key != "webhooks"})
    sources = taken.get("webhooks")
    for source in sources.values() if isinstance(sources, dict) else ():
        names |= names_in(source.get("routes") if isinstance(source, dict) else None)
    return names


def _once_parsed(stream: Stream) -> Stream:
    """The stream with a replication key as `fields.parse` leaves it."""
    incremental, parsed = stream.incremental, stream.fields.types if stream.fields else {}
    if incremental is None or incremental.kind != "instant" or incremental.column not in parsed:
        return stream
    return msgspec.structs.replace(stream, incremental=incremental.once_parsed())


def _selects(raw: Any) -> Iterator[tuple[str, list[str]]]:
    """Each `select`: the setting, and the branches that it chooses from."""
    if isinstance(raw, dict):
        by, of = raw.get("by"), raw.get("of")
        if raw.get("type") == "select" and isinstance(by, str) and isinstance(of, dict):
            yield by, list(of)
        for value in raw.values():
            yield from _selects(value)
    elif isinstance(raw, list):
        for item in raw:
            yield from _selects(item)
