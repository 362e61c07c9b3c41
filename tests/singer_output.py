"""What the tap has written, Singer messages and log lines, and what must hold of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jsonschema_rs

SECRETS = ("sandbox-key", "sandbox-secret", "wrong-secret-7f3a")


def identity(record: Mapping[str, Any]) -> tuple[str, str]:
    """A record's key and version, as the sandbox's truth writes them."""
    key = record["id"] if "id" in record else f"{record['order_id']}:{record['line_no']}"
    return str(key), canonical(record["updated_at"])


def canonical(instant: str) -> str:
    """An instant in UTC as the sandbox's truth writes it: such texts sort as their instants do."""
    return f"{datetime.fromisoformat(instant):%Y-%m-%dT%H:%M:%S.%f}Z"


@dataclass(frozen=True)
class Done:
    """A process that has ended: exit code, stdout, stderr."""

    code: int
    out: bytes
    told: str

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The whole lines of stdout, each a Singer message."""
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if _is_whole(line)]

    def records(self, stream: str) -> list[dict[str, Any]]:
        """The records of a stream, in order."""
        return [
            message["record"]
            for message in self.messages
            if message["type"] == "RECORD" and message["stream"] == stream
        ]

    def versions(self, stream: str) -> list[tuple[str, str]]:
        """Key and version of each record, in order, as the sandbox's truth writes them."""
        return [identity(record) for record in self.records(stream)]

    @property
    def lines(self) -> list[str]:
        """What stderr says beyond the log of a run: the error lines of `tap-saas`."""
        return [line for line in self.told.splitlines() if line.startswith("tap-saas: ")]

    @property
    def warnings(self) -> list[str]:
        """The WARNING lines of the log."""
        return [line for line in self.told.splitlines() if " WARNING " in line]

    def assert_one_line(self, code: int, *words: str) -> None:
        """It failed as it should: the code, one line with these words, no trace, no secret."""
        assert self.code == code, self.told
        assert len(self.lines) == 1, self.told
        assert [word for word in words if word not in self.lines[0]] == [], self.lines[0]
        assert "Traceback" not in self.told, self.told
        assert "internal error" not in self.told, self.told
        self.assert_no_secret()
        self.assert_singer()

    def assert_no_secret(self) -> None:
        """Nothing that must stay hidden is in what it wrote."""
        for secret in SECRETS:
            assert secret.encode() not in self.out, secret
            assert secret not in self.told, secret

    @property
    def last_state(self) -> dict[str, Any]:
        """The value of the last STATE."""
        states = [message["value"] for message in self.messages if message["type"] == "STATE"]
        return dict(states[-1])

    def assert_singer(self) -> None:
        """Whole lines, only Singer messages, each record after its SCHEMA and as that says."""
        assert not self.out or self.out.endswith(b"\n"), self.out[-200:]
        validators: dict[str, jsonschema_rs.Validator] = {}
        for message in self.messages:
            kind = message["type"]
            assert kind in {"SCHEMA", "RECORD", "STATE"}, message
            if kind == "SCHEMA":
                schema = {"additionalProperties": False, **message["schema"]}
                assert set(message["key_properties"]) <= schema["properties"].keys()
                validators[message["stream"]] = jsonschema_rs.validator_for(schema)
            elif kind == "RECORD":
                validators[message["stream"]].validate(message["record"])


def _is_whole(line: bytes) -> bool:
    """Every line but a last one that a killed tap did not finish."""
    return line.endswith(b"\n")
