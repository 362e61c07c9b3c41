"""A mistake in a connector file, told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import msgspec

Where = tuple[str | int, ...]
MAX_LISTED = 12
Level = Literal["error", "warning"]


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """`file:line: where: what; do this`; a warning says so after the line."""

    path: str
    line: int
    where: str
    what: str
    do: str | None = None
    level: Level = "error"

    def __str__(self) -> str:
        told = ["warning"] if self.level == "warning" else []
        told += [self.where] if self.where else []
        text = ": ".join([f"{self.path}:{self.line}", *told, self.what])
        return f"{text}; {self.do}" if self.do else text


def dotted(where: Where) -> str:
    """`streams.orders.parents[0].values`."""
    text = ""
    for member in where:
        text += f"[{member}]" if isinstance(member, int) else f".{member}"
    return text.removeprefix(".")


def alternatives(word: str, known: Iterable[str]) -> str | None:
    """`did you mean "param"?` where one is near, else what there is, `None` if that is too much."""
    names = sorted(known)
    near = nearest(word, names)
    if near is not None:
        return f'did you mean "{near}"?'
    return f"use one of {', '.join(names)}" if 0 < len(names) <= MAX_LISTED else None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """What was most likely meant by `word`."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return near[0] if near else None


class LineMap:
    """Where each key of a connector file stands; merged keys are found where they were written."""

    def __init__(self, lines: Mapping[Where, int]) -> None:
        self._lines = lines

    def source(self, where: Where) -> Where:
        """The place in the file that `where` in the merged connector came from, or one around it.

        A stream's key is its own, or written in `defaults`, or at the file's top; so is that of an
        event log, and of the requests of both.
        """
        for candidate in _candidates(where):
            if candidate in self._lines:
                return candidate
        return self.source(where[:-1]) if where else ()

    def line(self, where: Where) -> int:
        """The line, from 1, of the nearest key that is in the file."""
        return self._lines.get(self.source(where), 1)


class Findings:
    """Mistakes as they are found, each told once, in the order of the file."""

    def __init__(self, path: str, lines: LineMap, found: Iterable[Mistake] = ()) -> None:
        self._path = path
        self._lines = lines
        self._found = dict.fromkeys(found)
        self._wheres: set[Where] = set()
        self._blanks: Collection[Where] = ()
        self._absent: Mapping[Where, Any] = {}

    def bound(self, blanks: Collection[Where], absent: Mapping[Where, Any]) -> None:
        """Say nothing about made-up values from now on; `absent` is what went with its settings."""
        self._blanks = blanks
        self._absent = absent

    def absent(self, where: Where) -> Any:
        """What stood at a place before it went away with its settings, `None` where nothing did."""
        for candidate in _candidates(where):
            if candidate in self._absent:
                return self._absent[candidate]
        return None

    def tell(
        self,
        where: Where,
        what: str,
        do: str | None = None,
        level: Level = "error",
        *,
        around: bool = False,
    ) -> None:
        """Note a mistake at a place of the merged connector; `around` names the map around it."""
        source = self._lines.source(where)
        self._wheres.add(where)
        if not around and any(source[: len(blank)] == blank for blank in self._blanks):
            return
        mistake = Mistake(
            path=self._path,
            line=self._lines.line(where),
            where=dotted(source[:-1] if around else source),
            what=what,
            do=do,
            level=level,
        )
        self._found[mistake] = None

    def is_touched(self, where: Where) -> bool:
        """Whether a mistake was told at this place or inside it."""
        return any(told[: len(where)] == where for told in self._wheres)

    @property
    def mistakes(self) -> list[Mistake]:
        """All of them, by line."""
        return sorted(self._found, key=lambda mistake: mistake.line)


def _candidates(where: Where) -> list[Where]:
    """Where a key of the merged connector may have been written, the nearest first."""
    places = [where]
    match where:
        case ("streams", name, "deletes", "list", *key) if key:
            places += [("streams", name, *key), ("defaults", "deletes", "list", *key)]
            places += [("defaults", *key), tuple(key)]
        case ("events" | "webhooks", _, "routes", _, "fetch", *key) if key:
            places.append(tuple(key))
        case ("webhooks", _, "subscribe", "create" | "renew" | "delete", *key) if key:
            places.append(tuple(key))
        case ("streams" | "events", _, *key) if key:
            places += [("defaults", *key), tuple(key)]
        case ("check", *key) if key:
            places.append(tuple(key))
        case _:
            pass
    # One item may be written without its list.
    bare = [tuple(member for member in place if member != 0) for place in places]
    return places + bare
