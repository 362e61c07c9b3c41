"""A part of a connector file to its object, with every mistake told."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from tap_saas.connector.bind import names_in
from tap_saas.connector.decoding import FILLED_BY_LOAD, decode
from tap_saas.connector.mistake import Findings, Where
from tap_saas.connector.short_forms import spelled_out

if TYPE_CHECKING:
    from tap_saas.connector.faults import Fault

Struct = TypeVar("Struct", bound=msgspec.Struct)

MAX_ROUNDS = 20
_STAND_INS: Mapping[str, Any] = {"path": "", "pagination": {"type": "single"}}
_STEP = re.compile(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]")


def read(
    model: type[Struct],
    raw: Any,
    where: Where,
    findings: Findings,
    adjust: Callable[[Any], Any] = lambda raw: raw,
) -> Struct | None:
    """The object that `raw` says, without its mistaken parts; `None` where too little is left.

    `adjust` may change what is to be decoded. The schema is only asked what is wrong, as it is
    slower.
    """
    if isinstance(raw, dict) and _filled_by_load(model).isdisjoint(raw):
        try:
            full = adjust(spelled_out(model, copy.deepcopy(raw)))
            return msgspec.convert(full, model, dec_hook=decode)
        except msgspec.ValidationError:
            pass
    part = _Part(model, copy.deepcopy(raw), where, findings)
    return part.convert(adjust) if part.meets_schema() else None


@functools.cache
def _filled_by_load(model: type[msgspec.Struct]) -> frozenset[str]:
    """Fields of the model that are no keys of the file."""
    fields = msgspec.structs.fields(model)
    marked = [one for one in fields if FILLED_BY_LOAD in getattr(one.type, "__metadata__", ())]
    return frozenset(one.encode_name for one in marked)


class _Part(Generic[Struct]):
    """A part of a file whose mistakes are told and taken out, until it can be decoded."""

    def __init__(self, model: type[Struct], raw: Any, where: Where, findings: Findings) -> None:
        self._model = model
        self._raw = raw
        self._where = where
        self._findings = findings
        self._restored: dict[Where, Any] = {}
        self._taken: list[Where] = []

    def meets_schema(self) -> bool:
        """Tell what breaks the schema and repair it; false where that cannot be."""
        # jsonschema is slow to import, and a right file needs none of it.
        from tap_saas.connector.faults import faults

        for n in range(MAX_ROUNDS):
            broken = list(faults(self._model, self._raw))
            if not broken:
                return True
            broken = [fault for fault in broken if not self._restore(fault)]
            for fault in broken:
                if not _is_misspelt(fault, broken) and not (n > 0 and self._is_told(fault)):
                    self._tell(fault)
            # Every one is taken out, also after one that cannot be.
            repaired = [self._repair(f) for f in sorted(broken, key=_depth, reverse=True)]
            if not all(repaired):
                return False
        return False

    def convert(self, adjust: Callable[[Any], Any]) -> Struct | None:
        """Decode; what a class itself refuses is told and taken out."""
        self._raw = adjust(spelled_out(self._model, self._raw))
        for _ in range(MAX_ROUNDS):
            try:
                return msgspec.convert(self._raw, self._model, dec_hook=decode)
            except msgspec.ValidationError as error:
                text, _, steps = str(error).partition(" - at `$")
                place = _named(self._model, self._raw, _STEP.findall(steps), text)
                what, _, do = text.partition("; ")
                whole = (*self._where, *self._original(place))
                if not self._findings.is_touched(whole):
                    self._findings.tell(whole, what, do or None)
                if not self._take(place):
                    return None
        return None

    def _restore(self, fault: Fault) -> bool:
        """Put back a required text that went with its setting: a template needs no value."""
        if fault.missing is None:
            return False
        place = (*fault.place, fault.missing)
        gone = self._findings.absent((*self._where, *place))
        if gone is None or place in self._restored:
            return False
        self._restored[place] = gone
        _at(self._raw, fault.place)[fault.missing] = gone
        return True

    def _is_told(self, fault: Fault) -> bool:
        """Whether what is missing now went away with a mistake that has been told."""
        place = (*self._where, *self._original(fault.place))
        return fault.missing is not None and self._findings.is_touched(place)

    def _tell(self, fault: Fault) -> None:
        place = (*self._where, *self._original(fault.place))
        for n in range(len(fault.place), 0, -1):
            gone = self._restored.get(fault.place[:n])
            if gone is not None:
                names = " and ".join(sorted(names_in(gone)))
                self._findings.tell(place, f"the setting {names} has no value", "set it")
                return
        self._findings.tell(place, fault.what, fault.do, around=fault.meant is not None)

    def _repair(self, fault: Fault) -> bool:
        """Take the mistaken part out, or put a stand-in where a key is missing."""
        stand_in = None if fault.place else _STAND_INS.get(fault.missing or "")
        if stand_in is not None:
            self._raw[fault.missing] = copy.deepcopy(stand_in)
            return True
        return self._take(fault.place)

    def _take(self, place: Where) -> bool:
        """Take a part out; false for the whole."""
        if not place:
            return False
        holder = _at(self._raw, place[:-1])
        if isinstance(holder, list) and isinstance(place[-1], int) and place[-1] < len(holder):
            del holder[place[-1]]
            self._taken.append(place)
        elif isinstance(holder, dict):
            holder.pop(place[-1], None)
        return True

    def _original(self, place: Where) -> Where:
        """Where a place was before items of the lists around it were taken out."""
        for taken in reversed(self._taken):
            n = len(taken) - 1
            if len(place) > n and place[:n] == taken[:n]:
                now, before = int(place[n]), int(taken[n])
                place = (*place[:n], now + (now >= before), *place[n + 1 :])
        return place


def _is_misspelt(fault: Fault, faults: Iterable[Fault]) -> bool:
    """Whether an unknown key beside it was meant to be the missing one."""
    return any(
        fault.missing is not None
        and other.meant == fault.missing
        and other.place[:-1] == fault.place
        for other in faults
    )


def _depth(fault: Fault) -> tuple[int, list[tuple[bool, str | int]]]:
    """Deepest first, and in a list the last first, so that taking one away moves no other."""
    return len(fault.place), [(isinstance(member, int), member) for member in fault.place]


def _at(raw: Any, place: Where) -> Any:
    for member in place:
        try:
            raw = raw[member]
        except (KeyError, IndexError, TypeError):
            return None
    return raw


def _named(model: type, raw: Any, steps: list[tuple[str, str]], text: str) -> Where:
    """The place of a msgspec error; the member of a map, which it calls `...`, is looked for."""
    place: list[str | int] = []
    for name, index in steps:
        if index != "...":
            place.append(int(index) if index else name)
            continue
        members = _at(raw, tuple(place))
        found = [key for key in members or () if _fails_alone(model, raw, (*place, key), text)]
        if not found:
            break
        place.append(found[0])
    return tuple(place)


def _fails_alone(model: type, raw: Any, place: Where, text: str) -> bool:
    """Whether the same error comes when this is the only member of its map."""
    alone = copy.deepcopy(raw)
    members = _at(alone, place[:-1])
    for key in set(members) - {place[-1]}:
        del members[key]
    try:
        msgspec.convert(alone, model, dec_hook=decode)
    except msgspec.ValidationError as error:
        return str(error).startswith(text)
    return False
