"""How the sandbox says no: one JSON form for every error, and strict reading of JSON bodies."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class RefusalError(Exception):
    """An answer `{"error": code, "message": text}` with its status."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        super().__init__(message)

    def response(self) -> Response:
        """The HTTP answer."""
        body = {"error": self.code, "message": self.message}
        return JSONResponse(body, self.status, headers=self.headers)


def bad(message: str, code: str = "invalid_parameter") -> RefusalError:
    """A 400 that names what is wrong."""
    return RefusalError(400, code, message)


class Fields:
    """The members of a JSON object, each taken once with its type; `end` refuses what is left."""

    def __init__(self, members: dict[str, Any]) -> None:
        self._members = dict(members)

    @classmethod
    async def of(cls, request: Request) -> Fields:
        """Read the body of a request; an empty body is an empty object."""
        raw = await request.body()
        try:
            members = json.loads(raw) if raw.strip() else {}
        except ValueError as error:
            raise bad("the body is not JSON") from error
        if not isinstance(members, dict):
            raise bad("the body is not a JSON object")
        return cls(members)

    def text(self, name: str, default: str | None = None) -> str | None:
        """A text or null."""
        value = self._members.pop(name, default)
        if value is not None and not isinstance(value, str):
            raise bad(f"{name} is not a text")
        return value

    def one_of(self, name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        """One of the allowed texts; a number that reads like one is taken too."""
        value = self._members.pop(name, default)
        if str(value) not in allowed:
            raise bad(f"{name} is not one of {', '.join(allowed)}")
        return str(value)

    def whole(self, name: str, default: int = 0, *, least: int = 0, most: int = 10**7) -> int:
        """A whole number within bounds, both included."""
        value = self._members.pop(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise bad(f"{name} is not a whole number from {least} to {most}")
        return value

    def count_or_ids(self, name: str) -> int | list[str]:
        """A whole number, or a list of ids: texts or numbers."""
        value = self._members.get(name, 0)
        if not isinstance(value, list):
            return self.whole(name)
        del self._members[name]
        if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in value):
            raise bad(f"{name} is not a whole number or a list of ids")
        return [str(one) for one in dict.fromkeys(value)]

    def texts(self, name: str) -> list[str]:
        """A list of texts, empty by default."""
        value = self._members.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise bad(f"{name} is not a list of texts")
        return value

    def whole_or_null(self, name: str, default: int | None, *, least: int = 1) -> int | None:
        """A whole number, or null for no limit."""
        if self._members.get(name, default) is None:
            self._members.pop(name, None)
            return None
        return self.whole(name, default or least, least=least)

    def number(self, name: str, default: float = 0.0, *, most: float = 86_400.0) -> float:
        """A number from 0 to `most`."""
        value = self._members.pop(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
            raise bad(f"{name} is not a number from 0 to {most:g}")
        return float(value)

    def number_or_null(self, name: str, *, most: float) -> float | None:
        """A number from 0 to `most`, or null."""
        if self._members.get(name) is None:
            self._members.pop(name, None)
            return None
        return self.number(name, most=most)

    def flag(self, name: str) -> bool:
        """True or false, false by default."""
        value = self._members.pop(name, False)
        if not isinstance(value, bool):
            raise bad(f"{name} is not true or false")
        return value

    def end(self) -> None:
        """Refuse members that nobody asked for."""
        if self._members:
            raise bad(f"unknown: {', '.join(sorted(self._members))}")
