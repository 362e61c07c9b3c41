"""Records through both lanes, page by page and run by run, and where their values are then."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tap_saas.sync.columns import MORE, Columns
from tap_saas.sync.fast import SurpriseError
from tap_saas.sync.newest import Newest
from tap_saas.sync.prepare import Preparer
from tap_saas.sync.shape import Batch, Shape
from tap_saas.sync.writer import ENCODER, RecordLines

AT = "2025-01-01T00:00:00Z"
_BAD = re.compile("[\x00\ud800-\udfff]")


class Runs:
    """The runs of one stream with a learnt schema: each knows what the one before has learnt."""

    def __init__(self, stream: str = "odd", **more: Any) -> None:
        self._shape = {"stream": stream, "key": ("id",), "version": None, "incremental": None}
        self._shape |= more
        self._learnt: Any = []
        self.schemas: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.rejects: list[Any] = []
        self.lines = b""
        self.fast_pages = self.stale = self.contradicted = self.gathered = 0
        self.begin()

    def begin(self) -> None:
        """The next run."""
        columns = Columns(()).with_learnt(json.loads(json.dumps(self._learnt)))
        self._preparer = Preparer(Shape(**{"columns": columns, **self._shape}), Newest(), fast=True)
        self._announced: Columns | None = None

    def page(self, records: list[Any]) -> Batch:
        """One page as an API would send it."""
        raw = json.dumps(records, default=_number)
        raw = re.sub(r'"!(-?[0-9.eE+-]+)!"', r"\1", raw)
        batch = self._fast(raw.encode()) or self._preparer.prepare(
            json.loads(raw, parse_float=Decimal), {}, None
        )
        self._learnt = batch.columns.learnt()
        self._write(batch)
        assert len(batch.rows) + len(batch.rejects) + batch.stale == len(records)
        self.rejects += batch.rejects
        self.stale += batch.stale
        self.contradicted += batch.contradicted
        self.gathered += batch.gathered
        return batch

    def _fast(self, raw: bytes) -> Batch | None:
        lane = self._preparer.fast
        if lane is None:
            return None
        try:
            batch = self._preparer.prepare_fast(lane.decode(raw), {}, None)
        except SurpriseError:
            return None
        self.fast_pages += batch is not None
        return batch

    def _write(self, batch: Batch) -> None:
        stream = self._shape["stream"]
        if batch.columns is not self._announced:
            self._announced = batch.columns
            self.schemas.append(batch.columns.json_schema())
            message = {
                "type": "SCHEMA", "stream": stream, "schema": self.schemas[-1],
                "key_properties": ["id"],
            }  # fmt: skip
            self.lines += ENCODER.encode(message) + b"\n"
        self.lines += RecordLines(str(stream)).encode(batch.rows, AT)
        self.rows += [json.loads(ENCODER.encode(row), parse_float=Decimal) for row in batch.rows]


def _number(number: Any) -> str:
    """A decimal as a text that `page` makes a number of: json writes no decimals."""
    return f"!{number}!"


def plain(value: Any) -> Any:
    """A JSON value as it can be stored: numbers by value, without NUL, surrogates and NaN."""
    match value:
        case str():
            return _BAD.sub("\ufffd", value)
        case bool() | None:
            return value
        case int() | float() | Decimal():
            is_finite = not isinstance(value, float) or math.isfinite(value)
            return Decimal(str(value)) if is_finite else None
        case list():
            return [plain(item) for item in value]
        case dict():
            return {plain(name): plain(item) for name, item in value.items()}
        case _:
            raise TypeError(value)


def is_readable(row: Mapping[str, Any], name: str, value: Any) -> bool:
    """True where the row holds the value in one place: its column, `__text` or `_more_fields`."""
    gathered = row.get(MORE) or {}
    places = [row.get(name), row.get(f"{name}__text"), gathered.get(name)]
    wanted = plain(value)
    found = [n for n, place in enumerate(places) if place is not None]
    if wanted is None:
        return not found
    if len(found) != 1:
        return False
    stored = places[found[0]]
    if isinstance(stored, str) and not isinstance(value, str):
        if isinstance(wanted, Decimal) and found[0] == 0:
            return Decimal(stored) == wanted
        stored = json.loads(stored, parse_float=Decimal)
    return bool(plain(stored) == wanted) and isinstance(plain(stored), bool) == isinstance(
        wanted, bool
    )


SAMPLES: list[Any] = [
    None, True, False, 0, 1, -7, 2.5, 1e16, 2**53 + 1, 2**70, Decimal("1234567890123456.78"),
    Decimal("1e400"), Decimal("1e200000"), float("nan"), "", "7", "abc", "true", "2025-01-01",
    "2025-01-01T00:00:00Z", "a\x00b", "\ud800", [], [1, "a", None], {}, {"a": {"b": [1.5, 2**70]}},
    {"a\x00": "\udfff", "n": float("inf")}, {"big": Decimal("1e200000")}, "x" * 3_000,
]  # fmt: skip


def drifting(dice: random.Random, number: int) -> dict[str, Any]:
    """A record whose fields are of any type."""
    fields = dice.sample(["v", "w", "x"], dice.randint(1, 3))
    return {"id": number, **{name: dice.choice(SAMPLES) for name in fields}}
