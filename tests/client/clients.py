"""Clients for tests: made from the YAML's own words, asked in one line."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tap_saas.client.client import Client, Outcome, Where
from tap_saas.connector.exchange import Request
from tap_saas.connector.model import Connector, Stream
from tap_saas.connector.notation import decode_notation
from tap_saas.redact import Redactor
from tap_saas.report import Report

KEY = "s3cr3t-key"
BEARER = {"type": "bearer", "token": "{api_key}"}
FAST = {"first": "1ms", "max": "5ms"}


class Asker:
    """A client with all its parts at hand."""

    def __init__(
        self,
        url: str,
        *,
        values: Mapping[str, Any] | None = None,
        home: Path | None = None,
        deadline: float | None = None,
        most_requests: int | None = None,
        **keys: Any,
    ) -> None:
        raw = {"name": "acme", "base_url": url, "auth": [BEARER], "retry": FAST, **keys}
        self.url = url
        self.connector = msgspec.convert(raw, Connector, dec_hook=decode_notation)
        self.values = {"api_key": KEY, **(values or {})}
        self.redactor = Redactor(str(value) for value in self.values.values())
        self.report = Report("run-1", self.redactor)
        self.stop = threading.Event()
        self.client = Client(
            self.connector,
            self.values,
            home=home,
            stop=self.stop,
            report=self.report,
            redactor=self.redactor,
            deadline=deadline,
            most_requests=most_requests,
        )

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def ask(self, path: str = "/orders", *, page: int = 1, **more: Any) -> Outcome:
        """A GET of a path, or of a whole address; the body is to be JSON."""
        address = path if "://" in path else self.url + path
        request = more.pop("request", None) or Request(url=address)
        where = more.pop("where", None) or Where(stream="orders", page=page)
        form = more.pop("form", None)
        more.setdefault("decode", lambda response: response.document.value)
        return self.client.send(form, request, where=where, **more)

    @property
    def counts(self) -> dict[str, Any]:
        """The row of `_runs` of the stream."""
        return next(row for row in self.report.rows() if row["stream"] == "orders")


def stream(**keys: Any) -> Stream:
    """A stream with nothing but these keys."""
    raw = {"path": "/orders", "pagination": {"type": "single"}, **keys}
    return msgspec.convert(raw, Stream, dec_hook=decode_notation)


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]
