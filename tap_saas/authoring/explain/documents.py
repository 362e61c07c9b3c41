"""JSON values written from the other side: so that a path finds this, that a condition holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import Headers, Request, Response
from tap_saas.connector.place import Condition, Place

Steps = Sequence[Any]


def put(document: Any, steps: Steps, value: Any) -> Any:
    """The JSON value with `value` where these steps of a path lead."""
    if not steps:
        return value
    first, rest = steps[0], steps[1:]
    if isinstance(first, str):
        members = dict(document) if isinstance(document, dict) else {}
        members[first] = put(members.get(first), rest, value)
        return members
    items = list(document) if isinstance(document, list) else []
    index = first if isinstance(first, int) and first >= 0 else 0
    items += [None] * (index + 1 - len(items))
    items[index] = put(items[index], rest, value)
    return items


class Draft:
    """An answer of an API while it is made up."""

    def __init__(self, answer: Response) -> None:
        self._answer = answer
        self._document: Any = {}
        self._headers: dict[str, str] = dict(answer.headers)

    def tell(self, place: Place, value: Any) -> None:
        """Put a value where the connector takes it from; None takes it away."""
        if place.path is not None:
            self._document = put(self._document, place.path.steps, value)
        elif place.kind == "header" and value is not None:
            self._headers[place.name] = value if isinstance(value, str) else str(value)
        elif place.kind == "header":
            self._headers.pop(place.name, None)

    def settle(self, condition: Condition | None, wanted: bool) -> None:
        """Let a condition hold, or not."""
        if condition is None or condition.holds(self.answer) is wanted:
            return
        for test in condition.tests:
            for value in _candidates(test.literal):
                sent = str(value) if test.place.kind == "header" else value
                if test.holds(sent) is wanted:
                    self.tell(test.place, sent)
                    break
            if not wanted and not condition.holds(self.answer):
                return

    @property
    def answer(self) -> Response:
        """The answer as it is now."""
        body = msgspec.json.encode(self._document)
        return msgspec.structs.replace(self._answer, body=body, headers=Headers(self._headers))


def _candidates(literal: Any) -> list[Any]:
    """Values one of which fits any comparison with a literal, and one of which does not."""
    near: list[Any] = [literal, [literal], f"{literal}-"]
    if isinstance(literal, list):
        near += literal
    if isinstance(literal, int | float):
        near += [literal + 1, literal - 1]
    return [True, None, *near, False, "other", "", 0, 1]


def sent(request: Request, place: Place) -> Any:
    """What a request carries at a place, UNSET where it carries nothing there."""
    if place.path is not None:
        return UNSET if request.body is None else place.path.get(request.body.value)
    pairs = request.params if place.kind == "param" else request.headers
    return next((value for name, value in pairs if name == place.name), UNSET)
