"""The JSON Schema for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from tap_saas.connector.model import Connector, Setting, Stream
from tap_saas.connector.reference import described, schema, strict_schema
from tap_saas.connector.request_form import RequestForm
from tap_saas.connector.yaml_reader import read

EXAMPLES = [
    path
    for path in sorted((Path(__file__).parent / "examples").glob("*.yaml"))
    if path.stem != "counted"
]


def validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def test_it_is_a_schema_of_the_dialect_that_editors_read() -> None:
    made = json.loads(json.dumps(schema()))
    Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema() == schema()


def test_every_reference_leads_somewhere() -> None:
    made = schema()
    names = {part["$ref"].removeprefix("#/$defs/") for part in walk(made) if "$ref" in part}
    assert names == made["$defs"].keys()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_editors_find_no_fault_in_the_examples(path: Path) -> None:
    faults = [error.message for error in validator().iter_errors(read(path).value)]
    assert faults == []


STREAM = {"path": "/orders", "primary_key": ["id"], "pagination": {"type": "single"}}


@pytest.mark.parametrize(
    "file",
    [
        {},
        {"streams": {"a": {**STREAM, "pth": "/x"}}},
        {"streams": {"a": {**STREAM, "pagination": {"type": "singel"}}}},
        {"streams": {"a": {**STREAM, "pagination": {"type": "single", "send": "param:x"}}}},
        {"streams": {"a": {**STREAM, "pagination": {"snd": "param:x"}}}},
        {"streams": {"a": {**STREAM, "name": "b"}}},
        {"streams": {"a": {**STREAM, "context": ["b"]}}},
        {"streams": {"a": {**STREAM, "max_rejects": 5}}},
        {"streams": {"a": {**STREAM, "incremental": {"key": "at", "order": "up"}}}},
        {"streams": {"a": STREAM}, "auth": {"type": "bearer", "user": "x"}},
        {"streams": {"a": STREAM}, "settings": {"a": {"type": "int"}}},
        {"streams": {"a": STREAM}, "defaults": {"recrods": "$"}},
    ],
)
def test_editors_find_the_faults(file: Any) -> None:
    assert not validator().is_valid(file)


def test_a_setting_may_stand_for_any_value_in_an_editor() -> None:
    pagination = {"type": "offset", "size": {"send": "param:limit", "value": "{size}"}}
    order = {"key": "at", "order": "{order}"}
    stream = {**STREAM, "pagination": pagination, "incremental": order}
    assert validator().is_valid({"streams": {"a": stream}, "retry": {"attempts": "{n}"}})


@pytest.mark.parametrize("model", [Connector, Setting, Stream, RequestForm])
def test_every_key_is_described_where_it_is_written(model: type[msgspec.Struct]) -> None:
    properties = schema()["$defs"].get(model.__name__, schema())["properties"]
    assert [key for key, part in properties.items() if not part.get("description")] == []


def test_every_described_key_exists() -> None:
    for name, part in schema()["$defs"].items():
        kinds = [kind for kind in subclasses(msgspec.Struct) if kind.__name__ == name]
        ours = [kind for kind in kinds if kind.__module__.startswith("tap_saas.connector")]
        for kind in ours:
            _, keys = described.__wrapped__(kind)
            assert keys.keys() <= part["properties"].keys(), kind


def subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from subclasses(inner)


def test_a_description_may_go_over_several_lines() -> None:
    class Thing:
        """What it is,
        in short.

        first: one
            and a half
        second: two
        """

    assert described(Thing) == (
        "What it is, in short.",
        {"first": "one and a half", "second": "two"},
    )


@pytest.mark.parametrize("model", [Connector, Setting, Stream, RequestForm])
def test_a_value_breaks_one_rule_of_the_strict_schema(model: type) -> None:
    made, notations = strict_schema(model)
    Draft202012Validator.check_schema(made)
    for part in walk(made):
        assert not {"anyOf", "oneOf"} & part.keys()
    assert all(hasattr(kind, "parse") for kind in notations.values())
