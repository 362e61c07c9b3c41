"""The JSONPath subset `$ .name ['name'] [n] [*] .*` of RFC 9535, compiled once to a getter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from msgspec import UNSET, UnsetType

from tap_saas.connector.written import Written, text_of

_NAME: Final = r"[\w@-]+"
_STEP: Final = rf"\.\*|\.{_NAME}|\[\*\]|\[-?\d+\]|\['(?:[^'\\]|\\.)*'\]|\[\"(?:[^\"\\]|\\.)*\"\]"
PATTERN: Final = rf"\$(?:{_STEP})*|{_NAME}"
_STEPS: Final = re.compile(_STEP, re.DOTALL)
_WHOLE: Final = re.compile(PATTERN, re.DOTALL)
_SHORT: Final = re.compile(r"[\w@-]+")
_EXAMPLE: Final = "$.data.items"


class _Every:
    """The step `[*]`: each item of an array, each member's value of an object."""

    def __repr__(self) -> str:
        return "[*]"


EVERY: Final = _Every()
Step = str | int | _Every
Getter = Callable[[Any], Any]
_ABSENT: Final[UnsetType] = UNSET
ListGetter = Callable[[Any], list[Any] | UnsetType]


class Path(Written):
    """A way into a JSON value: `$.a.b`, `$['x y'][0]`, `$.data[*].id`; `name` is `$.name`."""

    __slots__ = ("_get", "_items", "keys", "steps")

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps: Final = tuple(steps)
        super().__init__("$" + "".join(map(_printed, self.steps)))
        names = tuple(step for step in self.steps if isinstance(step, str))
        self.keys: Final[tuple[str, ...] | None] = names if len(names) == len(self.steps) else None
        self._get = _getter(self.steps)
        self._items = _list_getter(self.steps)

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a path; raises ValueError with one line that names the place of the mistake."""
        text = text_of(raw, "a path", _EXAMPLE)
        if _WHOLE.fullmatch(text):
            if not text.startswith("$"):
                return cls((text,))
            return cls([_step(match.group()) for match in _STEPS.finditer(text)])
        raise ValueError(_fault(text))

    def get(self, value: Any) -> Any:
        """The value there, UNSET where a member or index is missing.

        With `[*]` it is the list of all matches, empty when there are none.
        """
        return self._get(value)

    def items(self, value: Any) -> list[Any] | UnsetType:
        """The list there: a list's items, an object or scalar as the only one, none of a null.

        UNSET where the path (up to its first `[*]`) is not there.
        """
        return self._items(value)

    def set(self, value: Any, new: Any) -> Any:
        """A copy of an object with `new` there, objects made on the way; UNSET takes it away.

        Raises:
            ValueError: the path is not plain members, or leads through something that is no object.
        """
        if self.keys is None:
            raise ValueError(f"{self} cannot be set: use member names only, as in $.page.cursor")
        return _with(value, self.keys, new, self.text)


class Paths(Written):
    """One path, or a list of paths: `id`, `[updated_at, id]`."""

    __slots__ = ("paths",)

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths: Final = tuple(paths)
        super().__init__(", ".join(map(str, self.paths)))

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a path or a list of them; raises ValueError."""
        return cls([Path.parse(one) for one in (raw if isinstance(raw, list) and raw else [raw])])


def _with(value: Any, keys: tuple[str, ...], new: Any, path: str) -> Any:
    if not keys:
        return new
    if value is None or value is UNSET:
        value = {}
    if not isinstance(value, dict):
        raise ValueError(f"{path} cannot be set: there is no object at its member {keys[0]!r}")
    copied = dict(value)
    name, rest = keys[0], keys[1:]
    inner = _with(copied.get(name, UNSET), rest, new, path) if rest else new
    if inner is UNSET:
        copied.pop(name, None)
    else:
        copied[name] = inner
    return copied


def _step(text: str) -> Step:
    if text in (".*", "[*]"):
        return EVERY
    if text.startswith("."):
        return text[1:]
    inner = text[1:-1]
    return _unquoted(inner) if inner[0] in "'\"" else int(inner)


def _unquoted(text: str) -> str:
    """The name inside quotes: the escapes of JSON texts, and `\\'` inside single quotes."""
    inner = re.sub(r"\\.|\"", _double_quoted, text[1:-1], flags=re.DOTALL)
    try:
        name: str = json.loads(f'"{inner}"', strict=False)
    except ValueError:
        raise ValueError(
            f"a path has a wrong escape in {text}; write \\\\ for a backslash"
        ) from None
    return name


def _double_quoted(match: re.Match[str]) -> str:
    return {"\\'": "'", '"': '\\"'}.get(match.group(), match.group())


def _printed(step: Step) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if not isinstance(step, str):
        return "[*]"
    if _SHORT.fullmatch(step):
        return f".{step}"
    inner = json.dumps(step, ensure_ascii=False)[1:-1]
    return "['" + inner.replace('\\"', '"').replace("'", "\\'") + "']"


def _fault(text: str) -> str:
    """One line about a text that is no path: where it stops being one."""
    if not text.startswith("$"):
        return f"path {text!r} must start with $; write $.a.b, or $['a b'] for odd names"
    end = 1
    while match := _STEPS.match(text, end):
        end = match.end()
    return f"path {text!r} is wrong from {text[end:]!r} on; it may hold .name ['name'] [0] [*] .*"


def _getter(steps: tuple[Step, ...]) -> Getter:
    for at, step in enumerate(steps):
        if not isinstance(step, (str, int)):
            return _matches(
                _single(steps[:at]), _getter(steps[at + 1 :]), _is_list(steps[at + 1 :])
            )
    return _single(steps)


def _is_list(steps: tuple[Step, ...]) -> bool:
    return any(step is EVERY for step in steps)


def _matches(head: Getter, tail: Getter, tail_is_list: bool) -> Getter:
    """All matches of `head [*] tail`, in one flat list."""

    def get(value: Any) -> list[Any]:
        found = [tail(inner) for inner in _children(head(value))]
        if tail_is_list:
            return [match for matches in found for match in matches]
        return [match for match in found if match is not UNSET]

    return get


def _children(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return list(value.values()) if isinstance(value, dict) else []


def _single(steps: tuple[Step, ...]) -> Getter:
    """The getter of names and indexes; the usual short paths have one of their own."""
    if not steps:
        return lambda value: value
    first = steps[0]
    if len(steps) == 1 and isinstance(first, str):

        def member(value: Any) -> Any:
            return value.get(first, UNSET) if isinstance(value, dict) else UNSET

        return member

    def get(value: Any) -> Any:
        for step in steps:
            if isinstance(value, dict):
                value = value.get(step, UNSET) if isinstance(step, str) else UNSET
            elif (
                isinstance(value, list)
                and isinstance(step, int)
                and -len(value) <= step < len(value)
            ):
                value = value[step]
            else:
                return UNSET
        return value

    return get


def _list_getter(steps: tuple[Step, ...]) -> ListGetter:
    """The getter behind `items`; after a `[*]`, matches that are lists give their items."""
    get = _getter(steps)
    if not _is_list(steps):

        def plain(value: Any) -> list[Any] | UnsetType:
            return _as_list(get(value))

        return plain
    head = _single(steps[: next(at for at, step in enumerate(steps) if step is EVERY)])
    ends_at_every = steps[-1] is EVERY

    def spread(value: Any) -> list[Any] | UnsetType:
        if head(value) is UNSET:
            return _ABSENT
        found: list[Any] = get(value)
        if ends_at_every:
            return found
        return [inner for match in found for inner in _as_list(match) or ()]

    return spread


def _as_list(value: Any) -> list[Any] | UnsetType:
    if value is UNSET:
        return _ABSENT
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
