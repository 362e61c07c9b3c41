"""Short forms are the same as what they stand for."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from tap_saas.connector.decoding import decode
from tap_saas.connector.events import EventLog
from tap_saas.connector.model import Stream
from tap_saas.connector.short_forms import spelled_out

BEARER = {"type": "bearer", "token": "x"}
STREAM = {"path": "/orders", "pagination": {"type": "single"}}
ROUTE = {"stream": "orders", "record": "$.data"}


@pytest.mark.parametrize(
    ("model", "short", "full"),
    [
        (Stream, {"records": "$.data"}, {"records": {"at": "$.data"}}),
        (Stream, {"auth": BEARER}, {"auth": [BEARER]}),
        (Stream, {"incremental": {"key": "at"}}, {"incremental": {"key": {"field": "at"}}}),
        (
            Stream,
            {"deletes": {"list": {**STREAM, "records": "$.x", "auth": BEARER}}},
            {"deletes": {"list": {**STREAM, "records": {"at": "$.x"}, "auth": [BEARER]}}},
        ),
        (
            EventLog,
            {"time": "$.at", "routes": [ROUTE]},
            {"time": {"take": "$.at"}, "routes": [ROUTE]},
        ),
        (
            EventLog,
            {"routes": [{"stream": "a", "fetch": {"path": "/a", "records": "$.x"}}]},
            {"routes": [{"stream": "a", "fetch": {"path": "/a", "records": {"at": "$.x"}}}]},
        ),
    ],
)
def test_short_forms(model: type[msgspec.Struct], short: Any, full: Any) -> None:
    said = {**STREAM, **short}
    before = copy.deepcopy(said)
    assert spelled_out(model, said) == {**STREAM, **full}
    assert said == before
    assert spelled_out(model, spelled_out(model, said)) == spelled_out(model, said)
    msgspec.convert(spelled_out(model, said), model, dec_hook=decode)


@pytest.mark.parametrize("wrong", [None, 5, [], "x", {"records": 5}, {"routes": "x"}, {"auth": 5}])
def test_what_is_wrong_stays_as_it_is(wrong: Any) -> None:
    assert spelled_out(EventLog, wrong) == wrong
