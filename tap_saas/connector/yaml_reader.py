"""YAML 1.2 (core schema) to plain values, with the line of every key."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from tap_saas.connector.mistake import LineMap, Mistake, Where, dotted
from tap_saas.errors import ConfigError, ConnectorError

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 200_000
MAX_DEPTH = 60

_CONSTANTS = {
    "": None,
    **dict.fromkeys(("~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# YAML 1.2.2 section 10.3.2, but a number never begins with a superfluous zero: 0123 is a text.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,300})")
_BASED = re.compile(r"0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_TAGS = {
    "tag:yaml.org,2002:str": ScalarEvent,
    "tag:yaml.org,2002:map": MappingStartEvent,
    "tag:yaml.org,2002:seq": SequenceStartEvent,
}

_HINTS = {
    "got '{'": 'quote texts with braces, as in "Bearer {token}"',
    "got ':'": "quote texts with a colon and a space",
    "mapping values are not allowed": "quote texts with a colon and a space",
    "'\\t'": "indent with spaces",
    "found undefined alias": "write the anchor above it",
    "expected <block end>": "correct the indentation, and quote texts that begin with a brace",
}


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A connector file as plain values: JSON types only, keys are texts."""

    path: Path
    value: dict[str, Any]
    lines: LineMap
    mistakes: list[Mistake]


class _Node(msgspec.Struct, kw_only=True):
    """A scalar's value, or the children of a list (without keys) or map; `lines` are theirs."""

    line: int
    value: Any = None
    keys: list[str] | None = None
    children: list[_Node] | None = None
    lines: list[int] = []
    closed: bool = True


def read(path: Path) -> Source:
    """Read a connector file.

    Raises: `ConfigError` when it cannot be read, `ConnectorError` when it is not YAML.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise ConfigError(
            f"{path}: {reason.lower()}", do="give the path of a connector file"
        ) from error
    return read_text(raw, path)


def read_text(raw: bytes, path: Path) -> Source:
    """Read YAML that is in memory; `path` only names it.

    Raises: `ConnectorError` when it is not YAML, too large, or not a map.
    """
    if len(raw) > MAX_BYTES:
        raise _refuse(path, 1, f"the file is over {MAX_BYTES // 1024 // 1024} MB", "split it")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _refuse(path, line, "the file is not UTF-8", "save it as UTF-8") from error
    composer = _Composer(path)
    builder = _Builder(path)
    try:
        root = composer.compose(text)
    except MarkedYAMLError as error:
        raise _refuse(path, _line_of(error), *_problem(error)) from error
    except YAMLError as error:
        raise _refuse(path, 1, f"not YAML: {str(error).splitlines()[0]}", None) from error
    if root is None or root.keys is None:
        what = "the file is empty" if root is None else "the file is not a map of keys"
        raise _refuse(path, 1, what, "begin with `name:`, `base_url:` and `streams:`")
    value = builder.build(root, (), 0)
    return Source(path=path, value=value, lines=LineMap(builder.lines), mistakes=builder.mistakes)


def _refuse(path: Path, line: int, what: str, do: str | None) -> ConnectorError:
    return ConnectorError([str(Mistake(path=str(path), line=line, where="", what=what, do=do))])


def _line_of(error: MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _problem(error: MarkedYAMLError) -> tuple[str, str | None]:
    parts = [part.strip() for part in (error.context, error.problem) if part]
    text = " ".join(", ".join(parts).split())
    return f"not YAML: {text}", next((do for sign, do in _HINTS.items() if sign in text), None)


class _Composer:
    """Parser events to nodes, with aliases as the same node twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._anchors: dict[str, _Node] = {}
        self._events: Iterator[Any] = iter(())

    def compose(self, text: str) -> _Node | None:
        events = list(self._shallow(YAML(pure=True).parse(text)))
        starts = [event for event in events if isinstance(event, DocumentStartEvent)]
        if len(starts) > 1:
            line = starts[1].start_mark.line + 1
            raise _refuse(self._path, line, "a second document begins here", "take `---` away")
        self._events = iter(events)
        first = next(self._events, None)
        return self._node(next(self._events), 0) if first is not None else None

    def _shallow(self, events: Iterable[Any]) -> Iterator[Any]:
        """The events, as they come: the parser takes for ever over thousands of levels."""
        depth = 0
        for event in events:
            depth += isinstance(event, CollectionStartEvent)
            depth -= isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH + 1:
                raise self._too_deep(event.start_mark.line + 1)
            if isinstance(event, _KEPT):
                yield event

    def _too_deep(self, line: int) -> ConnectorError:
        return _refuse(self._path, line, f"nested deeper than {MAX_DEPTH} levels", None)

    def _node(self, event: NodeEvent, depth: int) -> _Node:
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise self._too_deep(line)
        if isinstance(event, AliasEvent):
            return self._alias(event, line)
        self._refuse_tag(event, line)
        node = _Node(line=line, closed=False)
        if event.anchor:
            self._anchors[event.anchor] = node
        if isinstance(event, ScalarEvent):
            node.value = self._value(event, line)
        elif isinstance(event, MappingStartEvent):
            self._mapping(node, depth)
        else:
            self._sequence(node, depth)
        node.closed = True
        return node

    def _value(self, event: ScalarEvent, line: int) -> Any:
        if not _is_unicode(event.value):
            do = "write the letter itself"
            raise _refuse(self._path, line, "half of a surrogate pair is no letter", do)
        return _scalar(event.value) if event.style is None and event.tag is None else event.value

    def _alias(self, event: AliasEvent, line: int) -> _Node:
        known = self._anchors.get(event.anchor)
        if known is None:
            what = f'the alias "*{event.anchor}" has no anchor above it'
            raise _refuse(
                self._path, line, what, f"write &{event.anchor} before the value it means"
            )
        if not known.closed:
            raise _refuse(self._path, line, f'the alias "*{event.anchor}" contains itself', None)
        return known

    def _refuse_tag(self, event: NodeEvent, line: int) -> None:
        tag = str(getattr(event, "tag", None) or "")
        if tag and tag != "!" and not isinstance(event, _TAGS.get(tag, ())):
            raise _refuse(self._path, line, f'the tag "{tag}" is not known here', "take it away")

    def _mapping(self, node: _Node, depth: int) -> None:
        node.keys, node.children = [], []
        while not isinstance(event := next(self._events), CollectionEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, ScalarEvent):
                raise _refuse(self._path, line, "a key is not a text", "quote it")
            node.keys.append(event.value)
            node.lines.append(line)
            node.children.append(self._node(next(self._events), depth + 1))

    def _sequence(self, node: _Node, depth: int) -> None:
        node.children = []
        while not isinstance(event := next(self._events), CollectionEndEvent):
            node.lines.append(event.start_mark.line + 1)
            node.children.append(self._node(event, depth + 1))


_KEPT = (NodeEvent, CollectionStartEvent, CollectionEndEvent, DocumentStartEvent)


class _Builder:
    """Nodes to values and lines; every alias is written out, up to `MAX_NODES` values."""

    def __init__(self, path: Path) -> None:
        self.lines: dict[Where, int] = {}
        self.mistakes: list[Mistake] = []
        self._path = path
        self._count = 0

    def build(self, node: _Node, where: Where, depth: int) -> Any:
        self._count += 1
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            raise _refuse(
                self._path, node.line, "aliases make the file too large", "use fewer aliases"
            )
        if node.children is None:
            return node.value
        if node.keys is None:
            return [self._child(node, where, n, n, depth) for n in range(len(node.children))]
        value: dict[str, Any] = {}
        for n, key in enumerate(node.keys):
            if key in value:
                self._tell_twice(where, key, node.lines[n])
            else:
                value[key] = self._child(node, where, key, n, depth)
        return value

    def _child(self, node: _Node, where: Where, key: str | int, n: int, depth: int) -> Any:
        assert node.children is not None
        place = (*where, key)
        self.lines[place] = node.lines[n]
        return self.build(node.children[n], place, depth + 1)

    def _tell_twice(self, where: Where, key: str, line: int) -> None:
        first = self.lines[*where, key]
        what = f'the key "{key}" is given twice, first in line {first}'
        self.mistakes.append(
            Mistake(path=str(self._path), line=line, where=dotted(where), what=what, do="keep one")
        )


def _scalar(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
