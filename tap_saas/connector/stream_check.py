"""What a schema cannot say about one stream: its keys, versions and fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tap_saas.connector.decoding import members
from tap_saas.connector.deletes import Deletes
from tap_saas.connector.fields import Fields, HashKey, parser
from tap_saas.connector.incremental_check import check_column, check_incremental, check_pagination
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.mistake import Findings, Where
from tap_saas.connector.model import OBSERVED, Stream, TextVersion
from tap_saas.connector.pagination import Pagination
from tap_saas.connector.place import SentTo
from tap_saas.connector.request_form import RequestForm


def check_stream(stream: Stream, where: Where, findings: Findings) -> None:
    """Tell every mistake that is this stream's own."""
    check_request(stream, where, findings)
    _check_key(stream, where, findings)
    _check_version(stream, where, findings)
    if isinstance(stream.schema_, dict):
        _check_schema(stream, stream.schema_, (*where, "schema"), findings)
    if stream.fields is not None:
        _check_fields(stream, stream.fields, (*where, "fields"), findings)
    if stream.incremental is not None:
        check_incremental(
            stream.incremental,
            (*where, "incremental"),
            findings,
            names=stream.names,
            pagination=stream.pagination,
        )
    _check_token(stream, where, findings)
    if stream.deletes is not None:
        _check_deletes(stream, stream.deletes, (*where, "deletes"), findings)
    check_pagination(stream.pagination, stream.incremental, (*where, "pagination"), findings)


def check_request(form: RequestForm, where: Where, findings: Findings) -> None:
    """One kind of body, and none where the method has none."""
    if form.verb == "GET" and form.body is None and not findings.is_touched((*where, "body")):
        for at, place in _places(form, where):
            if place.kind == "body":
                name = place.path.steps[-1] if place.path and place.path.steps else place.name
                what = f"{place} is a place in the body, but the request has none"
                findings.tell(at, what, f"write param:{name}, or add `method: POST`")
    if form.body is None or findings.is_touched((*where, "body")):
        return
    kinds = [kind for kind in ("json", "form", "text") if getattr(form.body, kind) is not None]
    if len(kinds) != 1:
        what = f"a body is one thing, this has {' and '.join(kinds) or 'nothing'}"
        findings.tell((*where, "body"), what, "keep one of json, form, text")


def _places(value: Any, where: Where) -> Iterator[tuple[Where, SentTo]]:
    """Everything that is sent somewhere in a part of the model."""
    if isinstance(value, SentTo):
        yield where, value
    elif isinstance(value, msgspec.Struct):
        for name, inner in members(value):
            yield from _places(inner, (*where, name))


def _check_key(stream: Stream, where: Where, findings: Findings) -> None:
    at = (*where, "primary_key")
    if findings.is_touched(at):
        return
    if stream.primary_key is None:
        if not findings.is_touched(where):
            what = "without a primary key a record that is read again is a second row"
            do = "add `primary_key: [id]`, or {hash: [fields]}"
            findings.tell(where, what, do, "warning")
        return
    hashed = isinstance(stream.primary_key, HashKey)
    paths = (
        stream.primary_key.hash if isinstance(stream.primary_key, HashKey) else stream.primary_key
    )
    if not paths:
        findings.tell(at, "no field is named", "name the fields that tell records apart")
    for n, path in enumerate(paths):
        check_column(path, (*at, "hash", n) if hashed else (*at, n), findings)
    names = [str(path.steps[-1]) for path in paths if path.steps]
    for name in sorted({name for name in names if names.count(name) > 1} if not hashed else ()):
        findings.tell(
            at, f'two fields give the column "{name}"', "lift or rename one with `fields`"
        )


def _check_version(stream: Stream, where: Where, findings: Findings) -> None:
    at = (*where, "version")
    if findings.is_touched(at):
        return
    name = stream.version.text if isinstance(stream.version, TextVersion) else stream.version
    if name is not None and name != OBSERVED:
        try:
            check_column(Path.parse(name), at, findings)
        except ValueError as error:
            what, _, do = str(error).partition("; ")
            findings.tell(at, what, do or None)
    if name is None and stream.incremental and stream.incremental.kind == "text":
        what = "a text as replication key does not say how versions are ordered"
        do = f"add `version: {{text: {stream.incremental.column}}}` if letter by letter is right"
        findings.tell((*where, "incremental", "format"), what, do)


def _check_deletes(stream: Stream, deletes: Deletes, where: Where, findings: Findings) -> None:
    if stream.primary_key is None and not findings.is_touched((*where[:-1], "primary_key")):
        what = "without a primary key nothing says which record is gone"
        findings.tell(where, what, "add `primary_key: [id]`, or {hash: [fields]}")
    if deletes.flag is not None and any(place.path is None for place in deletes.flag.places):
        what = "a record has neither headers nor a status"
        findings.tell((*where, "flag"), what, "use the record's fields")
    if deletes.sweep is not None and not deletes.sweep.every:
        findings.tell((*where, "sweep", "every"), "a sweep has a distance", "write one such as 7d")
    if deletes.sweep is not None and not findings.is_touched((*where[:-1], "pagination")):
        _check_swept(stream.pagination, (*where, "sweep"), findings)
    if deletes.list_ is not None:
        at = (*where, "list")
        check_request(deletes.list_, at, findings)
        check_pagination(
            deletes.list_.pagination, stream.incremental, (*at, "pagination"), findings
        )


def _check_swept(pagination: Pagination, where: Where, findings: Findings) -> None:
    """A sweep takes for gone what its pass did not see."""
    if pagination.cap is not None:
        what = "a sweep has to see the whole list, and the API shows only a part of it"
        findings.tell(where, what, "use deletes.list, deletes.flag or events, or take it away")
    elif pagination.is_counted and not pagination.overlapping and pagination.total is None:
        what = "a record that goes while the list is read hides another: a sweep marks it as gone"
        do = "say pagination.total, by which it is noticed, or walk it by cursor or seek"
        findings.tell(where, what, do, "warning")


def _check_token(stream: Stream, where: Where, findings: Findings) -> None:
    """A sync token is of one list."""
    is_token = stream.incremental is not None and stream.incremental.sync_token is not None
    if is_token and any(parent.since is not None for parent in stream.parents):
        what = "with `parents.since` all parents have one watermark; each list has its own token"
        findings.tell((*where, "parents"), what, "take `since` away")


def _check_schema(
    stream: Stream, schema: Mapping[str, Any], where: Where, findings: Findings
) -> None:
    # jsonschema is slow to import, and most streams declare no schema.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path)) or "it"
        findings.tell(where, f"no JSON Schema: at {place}: {error.message[:120]}", "correct it")
        return
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        findings.tell(where, "the schema names no fields", "add `properties:`, or use infer")
        return
    parsed = stream.fields.types if stream.fields else {}
    for name in _named_columns(stream):
        if name not in {*properties, *parsed}:
            findings.tell(where, f'the schema lacks the field "{name}"', "add it to `properties:`")
    version = stream.version_column
    declared = properties.keys() - parsed.keys()
    if stream.version_kind == "field" and version in declared and not _orders(properties[version]):
        what = f'the version "{version}" is neither a date-time nor a number in the schema'
        findings.tell(where, what, f"correct its type, or use `version: {{text: {version}}}`")


def _named_columns(stream: Stream) -> list[str]:
    named = () if isinstance(stream.primary_key, HashKey) else stream.key_columns
    version = stream.version_column if stream.version_kind in ("field", "text") else None
    names = [*named, stream.replication_key, version]
    partition = {name for parent in stream.parents for name in parent.names}
    if stream.for_each is not None:
        partition.add(stream.for_each.as_)
    return [name for name in dict.fromkeys(names) if name and name not in partition]


def _orders(schema: Any) -> bool:
    """Whether values of a type have an order that every database agrees on."""
    if not isinstance(schema, dict):
        return False
    kinds = schema.get("type", [])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if kinds & {"integer", "number"}:
        return True
    return "string" in kinds and schema.get("format") in ("date-time", "date", "x-singer.decimal")


def _check_fields(stream: Stream, fields: Fields, where: Where, findings: Findings) -> None:
    for n, path in enumerate(fields.lift):
        check_column(path, (*where, "lift", n), findings)
    for name, format in fields.parse.items():
        try:
            parser(format)
        except ValueError as error:
            what, _, do = str(error).partition("; ")
            findings.tell(
                (*where, "parse", name), what, f"{do}; or json or decimal" if do else None
            )
    if fields.keep_if is not None and any(place.path is None for place in fields.keep_if.places):
        what = "a record has neither headers nor a status"
        findings.tell((*where, "keep_if"), what, "use the record's fields")
    _check_renames(fields, (*where, "rename"), findings)
    needed = _needed(stream)
    for n, name in enumerate(fields.drop):
        if name in needed:
            what = f'"{name}" is dropped, but {needed[name]} needs it'
            findings.tell((*where, "drop", n), what, "keep it")
    for old, new in fields.rename.items():
        if old in needed and old not in fields.rename.values() and old not in fields.add:
            what = f'"{old}" is renamed to "{new}", but {needed[old]} names it "{old}"'
            findings.tell((*where, "rename", old), what, f"write {new} there")


def _check_renames(fields: Fields, where: Where, findings: Findings) -> None:
    seen: dict[str, str] = {}
    for old, new in fields.rename.items():
        if new in seen:
            what = f'"{seen[new]}" and "{old}" both become "{new}"'
            findings.tell((*where, old), what, "give them different names")
        seen[new] = old


def _needed(stream: Stream) -> dict[str, str]:
    """The fields that other keys of the stream name, and by which key."""
    needed: dict[str, str] = {}
    if stream.version_kind in ("field", "text") and stream.version is not None:
        needed[str(stream.version_column)] = "version"
    if stream.replication_key:
        needed[stream.replication_key] = "incremental.key"
    if isinstance(stream.primary_key, HashKey):
        return needed
    return needed | dict.fromkeys(stream.key_columns, "primary_key")
