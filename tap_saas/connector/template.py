"""Texts with `{name}` placeholders: parsed once, listed, filled."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

from msgspec import UNSET

from tap_saas.connector.formats import ISO8601, InstantFormat
from tap_saas.connector.written import Written

Values = Mapping[str, Any]
Writer = Callable[[Any], Any]
_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z_]\w*|token\.[\w.-]+")
_EXAMPLE: Final = "write {name} or {name:format}, and {{ for a brace"


class Placeholder(NamedTuple):
    """`{name}` or `{name:format}`."""

    name: str
    format: str | None = None

    @property
    def root(self) -> str:
        """The name that a value is given for: `token` for `token.FIELD`."""
        return self.name.partition(".")[0]

    def __str__(self) -> str:
        return f"{{{self.name}}}" if self.format is None else f"{{{self.name}:{self.format}}}"


class Template(Written):
    """A text with placeholders, `Bearer {api_key}`; one placeholder alone keeps its type."""

    __slots__ = ("_fill", "_fill_quoted", "names", "parts")

    def __init__(self, parts: Sequence[str | Placeholder]) -> None:
        self.parts: Final = tuple(parts)
        super().__init__("".join(map(_printed, self.parts)))
        self.names: Final = frozenset(
            part.root for part in self.parts if isinstance(part, Placeholder)
        )
        self._fill = _filler(self.parts, _plain)
        self._fill_quoted = _filler(self.parts, _quoted)

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a text with placeholders; raises ValueError."""
        if not isinstance(raw, str):
            raise ValueError(f"a text is needed here, not {raw!r}")
        return cls(_parts(raw))

    def fill(self, values: Values) -> Any:
        """The text with its values, UNSET where one of them is missing, None or UNSET.

        Raises:
            ValueError: a value does not fit its placeholder's format.
        """
        return self._fill(values)

    def fill_quoted(self, values: Values) -> Any:
        """As `fill`, for the path of a URL: what values bring is percent-encoded, slashes too."""
        return self._fill_quoted(values)


class Tree(Written):
    """A JSON value whose texts are templates: parameters, headers, bodies."""

    __slots__ = ("_fill", "names", "raw")

    def __init__(self, raw: Any) -> None:
        self.raw: Final = raw
        super().__init__(json.dumps(raw, ensure_ascii=False))
        names: set[str] = set()
        self._fill = _tree_filler(raw, names)
        self.names: Final = frozenset(names)

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Compile a JSON value; raises ValueError for a wrong placeholder in it."""
        return cls(raw)

    def fill(self, values: Values) -> Any:
        """The JSON value without what has no value, nor any object or list emptied by that.

        UNSET where nothing is left. Raises ValueError as `Template.fill` does.
        """
        return self._fill(values)


def _parts(text: str) -> list[str | Placeholder]:
    parts: list[str | Placeholder] = []
    for match in _PIECE.finditer(text):
        piece = match.group()
        if piece in ("{", "}"):
            raise ValueError(f"{text!r} has a lone {piece}; {_EXAMPLE}")
        if match.group(1) is not None:
            parts.append(_placeholder(match.group(1), text))
            continue
        literal = {"{{": "{", "}}": "}"}.get(piece, piece)
        if parts and isinstance(parts[-1], str):
            parts[-1] += literal
        else:
            parts.append(literal)
    return parts


def _placeholder(inner: str, text: str) -> Placeholder:
    name, colon, wanted = inner.partition(":")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} has a wrong placeholder {{{inner}}}; {_EXAMPLE}")
    if not colon:
        return Placeholder(name)
    if wanted not in _WRITERS:
        try:
            InstantFormat.parse(wanted)
        except ValueError as error:
            more = "" if "%" in wanted else ", or json or urlencode"
            raise ValueError(f"placeholder {{{inner}}}: {error}{more}") from None
    return Placeholder(name, wanted)


def _printed(part: str | Placeholder) -> str:
    return part.replace("{", "{{").replace("}", "}}") if isinstance(part, str) else str(part)


def _filler(parts: tuple[str | Placeholder, ...], literal: Writer) -> Callable[[Values], Any]:
    """One function that fills these parts; `literal` writes what a value brings into the text."""
    if not any(isinstance(part, Placeholder) for part in parts):
        text = "".join(map(str, parts))
        return lambda values: text
    if len(parts) == 1 and literal is _plain:
        (only,) = parts
        assert isinstance(only, Placeholder)
        return _getter(only, _typed)
    getters = [part if isinstance(part, str) else _getter(part, literal) for part in parts]

    def fill(values: Values) -> Any:
        filled = []
        for getter in getters:
            piece = getter if isinstance(getter, str) else getter(values)
            if piece is UNSET:
                return UNSET
            filled.append(piece)
        return "".join(map(_plain, filled))

    return fill


def _getter(placeholder: Placeholder, write: Writer) -> Callable[[Values], Any]:
    """What finds and writes one placeholder's value; UNSET where there is none."""
    name, *rest = placeholder.name.split(".")
    write = _formatter(placeholder.format, write)

    def get(values: Values) -> Any:
        value = values.get(name, UNSET)
        for inner in rest:
            value = value.get(inner, UNSET) if isinstance(value, Mapping) else UNSET
        return UNSET if value is None or value is UNSET else write(value)

    return get


def _formatter(wanted: str | None, write: Writer) -> Writer:
    if wanted is None:
        return write
    if wanted == "urlencode":
        return _quoted
    if wanted in _WRITERS:
        written = _WRITERS[wanted]
        return written if write is not _quoted else lambda value: _quoted(written(value))
    form = InstantFormat.parse(wanted)

    def instant(value: Any) -> Any:
        moment = value if isinstance(value, datetime) else ISO8601.read(value)
        return form.write(moment) if write is not _quoted else _quoted(form.write(moment))

    return instant


def _typed(value: Any) -> Any:
    return ISO8601.write(value) if isinstance(value, datetime) else value


def _plain(value: Any) -> str:
    """A value inside a text: instants as RFC 3339, lists and objects as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return str(ISO8601.write(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return _json(value) if isinstance(value, (dict, list)) else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _quoted(value: Any) -> str:
    return quote(_plain(value), safe="")


_WRITERS: Final[Mapping[str, Writer]] = {"json": _json, "urlencode": _quoted}


def _tree_filler(raw: Any, names: set[str]) -> Callable[[Values], Any]:
    """The function that fills one JSON value; adds the placeholders in it to `names`."""
    if isinstance(raw, str):
        template = Template.parse(raw)
        names |= template.names
        return template.fill
    inner: set[str] = set()
    if isinstance(raw, dict) and raw:
        members = {key: _tree_filler(value, inner) for key, value in raw.items()}
        filled = _object_filler(members)
    elif isinstance(raw, list) and raw:
        filled = _list_filler([_tree_filler(value, inner) for value in raw])
    else:
        return lambda values: raw
    names |= inner
    if inner:
        return filled
    constant = filled({})
    return lambda values: constant


def _object_filler(members: Mapping[str, Callable[[Values], Any]]) -> Callable[[Values], Any]:
    def fill(values: Values) -> Any:
        filled = {key: value for key, get in members.items() if (value := get(values)) is not UNSET}
        return filled or UNSET

    return fill


def _list_filler(members: Sequence[Callable[[Values], Any]]) -> Callable[[Values], Any]:
    def fill(values: Values) -> Any:
        filled = [value for get in members if (value := get(values)) is not UNSET]
        return filled or UNSET

    return fill
