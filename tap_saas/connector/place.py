"""Places, where a value is taken from or sent to, and conditions on them."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal, Self

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import Body, Request, Response
from tap_saas.connector.jsonpath import PATTERN, Path
from tap_saas.connector.written import Written, text_of

Kind = Literal["param", "header", "body", "status"]
_TOKEN: Final = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
)  # a header's name, RFC 9110 section 5.6.2


class Place(Written):
    """Where a value is: `$.a.b`, `name`, `header:Name`, `status`, `param:name`, `body:$.a.b`."""

    __slots__ = ("kind", "name", "path")
    kinds: ClassVar[tuple[Kind, ...]] = ("param", "header", "body", "status")
    example: ClassVar[str] = "$.next, header:X-Next or param:page"

    def __init__(self, kind: Kind, name: str, path: Path | None = None) -> None:
        self.kind: Final = kind
        self.name: Final = name
        self.path: Final = path
        super().__init__(kind if kind == "status" else f"{kind}:{name}" if path is None else name)

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a place; raises ValueError."""
        text = text_of(raw, "a place", cls.example)
        kind, colon, name = text.partition(":")
        if text == "status":
            place = cls("status", "status")
        elif kind == "header" and colon:
            if not _TOKEN.fullmatch(name):
                raise ValueError(
                    f"place {text!r} has no header name; write one as in header:X-Next"
                )
            place = cls("header", name)
        elif kind == "param" and colon:
            if not name:
                raise ValueError(
                    f"place {text!r} has no parameter name; write one as in param:page"
                )
            place = cls("param", name)
        else:
            path = Path.parse(name if kind == "body" and colon else text)
            place = cls("body", path.text, path)
        if place.kind not in cls.kinds:
            raise ValueError(f"place {text!r} cannot be used here; write one such as {cls.example}")
        return place

    def read(self, response: Response) -> Any:
        """The value in a response; UNSET where there is none or the body is not JSON."""
        if self.path is not None:
            try:
                return response.document.get(self.path)
            except ValueError:
                return UNSET
        if self.kind == "header":
            return response.headers.get(self.name, UNSET)
        return response.status if self.kind == "status" else UNSET

    def put(self, request: Request, value: Any) -> Request:
        """The request with the value there; UNSET takes it away.

        Raises:
            ValueError: the body is a text, or not an object where the path leads.
        """
        if self.kind == "param":
            return request.with_param(self.name, value)
        if self.kind == "header":
            return request.with_header(self.name, value)
        body = request.body or Body("json", {})
        if self.path is None or body.kind == "text":
            raise ValueError(f"nothing can be sent to {self}; write a place such as param:page")
        return msgspec.structs.replace(
            request, body=Body(body.kind, self.path.set(body.value, value))
        )


class TakenFrom(Place):
    """A place in a response: `$.a.b`, a bare `name`, `header:Name`, `status`."""

    __slots__ = ()
    kinds = ("header", "body", "status")
    example = "$.next or header:X-Next"

    def there(self, response: Response) -> Any:
        """The value, None for nothing, null, "", false or 0."""
        value = self.read(response)
        return value if value is not UNSET and value else None

    def is_blank(self, response: Response) -> bool:
        """True where the place is in the response, with nothing in it."""
        return self.read(response) is not UNSET and self.there(response) is None


class SentTo(Place):
    """A place in a request: `param:name`, `header:Name`, `body:$.a.b`."""

    __slots__ = ()
    kinds = ("param", "header", "body")
    example = "param:page or body:$.page"

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a place; raises ValueError."""
        place = super().parse(raw)
        if place.path is not None and place.path.keys is None:
            raise ValueError(
                f"nothing can be sent to {place}; use member names only, as in body:$.page"
            )
        return place


Compare = Callable[[Any, Any], bool]


class _Test(msgspec.Struct, frozen=True):
    """One `PLACE OP LITERAL`, or a place alone."""

    place: Place
    compare: Compare
    literal: Any

    def holds(self, value: Any) -> bool:
        if value is UNSET:
            value = None
        elif self.place.kind == "header":  # headers are texts, and their numbers meant as numbers
            value = _as_number(value, self.literal)
        return self.compare(value, self.literal)


class Condition(Written):
    """`$.ok == false`, `status in [403, 404]`, or `$.more` alone; a list means all of them.

    A place alone holds where there is something: not "", [], {}, null, false or 0.
    What is missing counts as null. `<` and its like hold between two numbers or two texts only.
    """

    __slots__ = ("places", "tests")
    takes: ClassVar[type[Place]] = TakenFrom

    def __init__(self, texts: tuple[str, ...]) -> None:
        super().__init__(" and ".join(texts))
        self.tests: Final = tuple(_test(text, self.takes) for text in texts)
        self.places: Final = tuple(test.place for test in self.tests)

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a condition or a list of them; raises ValueError."""
        texts = raw if isinstance(raw, list) and raw else [raw]
        return cls(tuple(text_of(text, "a condition", "$.ok == false") for text in texts))

    def holds(self, response: Response) -> bool:
        """True where each of the tests holds for this response."""
        return all(test.holds(test.place.read(response)) for test in self.tests)

    def holds_in(self, value: Any) -> bool:
        """True where each of the tests holds for this JSON value, a record or the settings.

        Raises:
            ValueError: the condition asks for a header or a status.
        """
        for place in self.places:
            if place.path is None:
                raise ValueError(
                    f"condition {self.text!r} asks for {place}, which a record has not"
                )
        return all(test.holds(test.place.path.get(value)) for test in self.tests if test.place.path)


_CONDITION: Final = re.compile(
    rf"(?P<place>(?:header|param):[^\s=!<>]+|body:(?:{PATTERN})|{PATTERN})\s*"
    r"(?:(?P<op>==|!=|<=|>=|<|>|\bin\b|\bcontains\b)\s*(?P<literal>\S.*))?",
    re.DOTALL,
)


def _test(text: str, takes: type[Place]) -> _Test:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"condition {text!r} is not PLACE OP LITERAL, as in $.ok == false; the operators are "
            f"{' '.join(_COMPARE)}, and a list of conditions means all of them"
        )
    place = takes.parse(match["place"])
    op = match["op"]
    if op is None:
        return _Test(place, _there, None)
    literal = _literal(match["literal"].strip(), text)
    if op == "in" and not isinstance(literal, list):
        raise ValueError(f"condition {text!r} needs a list after in, as in status in [403, 404]")
    if op in ("<", "<=", ">", ">=") and (
        isinstance(literal, bool) or not isinstance(literal, (int, float, str))
    ):
        raise ValueError(f"condition {text!r} needs a number or a text after {op}")
    return _Test(place, _COMPARE[op], literal)


def _literal(text: str, condition: str) -> Any:
    """A JSON literal; a bare word or a single-quoted text is a text, also in a list."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    if len(text) > 1 and text[0] == text[-1] == "'" and "'" not in text[1:-1]:
        return text[1:-1]
    if text[0] == "[" and text[-1] == "]":
        return [_literal(inner.strip(), condition) for inner in text[1:-1].split(",")]
    if re.fullmatch(r"[^\s'\"\[\]{}=<>!,&|]+", text):
        return text
    raise ValueError(
        f'condition {condition!r} has a wrong literal {text}; quote a text, as in "a b"'
    )


def _there(value: Any, _: Any) -> bool:
    return bool(value)


def _same(value: Any, literal: Any) -> bool:
    """Equal as JSON values: true is not 1."""
    if isinstance(value, bool) or isinstance(literal, bool):
        return value is literal
    return bool(value == literal)


def _as_number(text: str, literal: Any) -> Any:
    """The text as a number where it is compared with numbers and is one."""
    sample = literal[0] if isinstance(literal, list) and literal else literal
    if isinstance(sample, bool) or not isinstance(sample, (int, float)):
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _ordered(compare: Compare) -> Compare:
    def holds(value: Any, literal: Any) -> bool:
        if isinstance(value, bool) or value is None:
            return False
        try:
            return compare(value, literal)
        except TypeError:
            return False

    return holds


def _contains(value: Any, literal: Any) -> bool:
    if isinstance(value, str):
        return isinstance(literal, str) and literal in value
    if isinstance(value, dict):
        return literal in value
    return isinstance(value, list) and any(_same(inner, literal) for inner in value)


_COMPARE: Final[Mapping[str, Compare]] = {
    "==": _same,
    "!=": lambda value, literal: not _same(value, literal),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "in": lambda value, literal: any(_same(value, one) for one in literal),
    "contains": _contains,
}
