"""Settings: their values (given, from the environment, by default) and their places in the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import written
from tap_saas.connector.mistake import Where, alternatives
from tap_saas.connector.model import Setting
from tap_saas.connector.place import Condition
from tap_saas.connector.template import Template

_ALONE = re.compile(r"\{([A-Za-z_]\w*)\}")
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
_SAMPLES: Mapping[str, Any] = {
    "string": "sample",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": ["sample"],
    "object": {},
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float, Decimal),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """The settings' values; `samples` are those that have none, so that theirs is made up."""

    values: dict[str, Any]
    samples: frozenset[str] = frozenset()
    problems: list[str] = []


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A file with its settings in place.

    `blanks` are the places that got a made-up value, `absent` what went away with its settings.
    """

    raw: dict[str, Any]
    blanks: frozenset[Where]
    absent: Mapping[Where, Any]


def resolve(
    settings: Mapping[str, Setting],
    given: Mapping[str, Any],
    env: Mapping[str, str],
    *,
    sample_all: bool = False,
) -> Values:
    """The value of each setting, a sample where a required one (or any) has none.

    `problems` say what is wrong with the values that were given.
    """
    values: dict[str, Any] = {}
    samples: set[str] = set()
    problems = [
        f'there is no setting "{name}"; {alternatives(name, settings) or "take it away"}'
        for name in given
        if name not in settings
    ]
    for name, setting in settings.items():
        value = _found(setting, given.get(name), env)
        if value is UNSET and (sample_all or setting.is_required):
            values[name] = sample(setting)
            samples.add(name)
        elif value is not UNSET:
            try:
                values[name] = coerce(setting, value)
            except ValueError as error:
                problems.append(f"the setting {name} {error}")
                values[name] = sample(setting)
    return Values(values=values, samples=frozenset(samples), problems=problems)


def coerce(setting: Setting, value: Any) -> Any:
    """A value as the setting's type; texts, as variables hold them, are read.

    Raises: `ValueError` that goes on after the setting's name and never shows a secret.
    """
    if isinstance(value, str) and setting.type != "string":
        value = _read_text(setting.type, value)
    fits = isinstance(value, _TYPES[setting.type])
    if not fits or (isinstance(value, bool) and setting.type != "boolean"):
        raise ValueError(f"is not {_article(setting.type)}")
    if not _is_unicode(value):
        raise ValueError("holds a byte that is no letter in UTF-8; correct it")
    if setting.enum is not None and value not in setting.enum:
        known = ", ".join(map(written, setting.enum))
        raise ValueError(f"is none of {known}; use one of them")
    if setting.pattern and isinstance(value, str) and not re.fullmatch(setting.pattern, value):
        raise ValueError(f"does not fit the pattern {setting.pattern}; correct it")
    return value


def _is_unicode(value: Any) -> bool:
    """False for a text of the environment that is not UTF-8 (PEP 383)."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def sample(setting: Setting) -> Any:
    """A value that stands for one that is not known."""
    if setting.default is not None:
        return setting.default
    return setting.enum[0] if setting.enum else _SAMPLES[setting.type]


def secrets(settings: Mapping[str, Setting], values: Mapping[str, Any]) -> list[str]:
    """Every text and number in the values of secret settings, as text."""
    secret = [
        values[name] for name, setting in settings.items() if setting.secret and name in values
    ]
    return [text for text in map(written, _leaves(secret)) if text]


def bind(raw: Mapping[str, Any], settings: Mapping[str, Setting], values: Values) -> Bound:
    """Put each setting that a text consists of in its place, secrets excepted.

    A text of a setting without a value goes away, and each map or list that becomes empty by it;
    in a webhook source it stays where a handshake is to bring the value.
    """
    binder = _Binder(settings, values, _brought(raw.get("webhooks")))
    filled = {
        key: value if key == "settings" else binder.fill(value, (key,))
        for key, value in raw.items()
    }
    kept = {key: value for key, value in filled.items() if value is not UNSET}
    return Bound(raw=kept, blanks=frozenset(binder.blanks), absent=binder.absent)


def names_in(raw: Any) -> set[str]:
    """The settings that a part of the file may need: placeholders, `by`, `setting`, `if`."""
    names: set[str] = set()
    for key, value in _members(raw):
        if key in ("by", "setting") and isinstance(value, str):
            names.add(value)
        elif key == "if":
            names |= _condition_names(value)
        if isinstance(value, str):
            names |= _placeholders(value)
    return names


def prune(raw: Any, values: Mapping[str, Any]) -> Any:
    """The file with only the branch of each `select` that the values take."""
    if isinstance(raw, list):
        return [prune(item, values) for item in raw]
    if not isinstance(raw, dict):
        return raw
    by: Any = raw.get("by")
    of: Any = raw.get("of")
    names_branches = isinstance(by, str) and isinstance(of, dict)
    if raw.get("type") == "select" and names_branches and by in values:
        taken = written(values[by])
        if taken in of:
            raw = {**raw, "of": {taken: of[taken]}}
    return {key: prune(value, values) for key, value in raw.items()}


class _Binder:
    def __init__(
        self, settings: Mapping[str, Setting], values: Values, brought: frozenset[str]
    ) -> None:
        self.blanks: set[Where] = set()
        self.absent: dict[Where, Any] = {}
        self._settings = settings
        self._values = values
        self._brought = brought

    def fill(self, raw: Any, where: Where) -> Any:
        """The value with its settings, UNSET where nothing is left of it."""
        if isinstance(raw, dict) and raw:
            members = {key: self.fill(value, (*where, key)) for key, value in raw.items()}
            filled: Any = {key: value for key, value in members.items() if value is not UNSET}
        elif isinstance(raw, list) and raw:
            items = [self.fill(item, (*where, n)) for n, item in enumerate(raw)]
            filled = [item for item in items if item is not UNSET]
        else:
            return self._text(raw, where) if isinstance(raw, str) else raw
        if not filled:
            self.absent[where] = raw
        return filled or UNSET

    def _text(self, text: str, where: Where) -> Any:
        match = _ALONE.fullmatch(text)
        setting = self._settings.get(match[1]) if match else None
        if match is None or setting is None:
            return text
        name = match[1]
        if name not in self._values.values:
            if name in self._brought and where[0] == "webhooks":
                return text
            self.absent[where] = text
            return UNSET
        value = self._values.values[name]
        if name in self._values.samples:
            self.blanks.add(where)
        # A value with braces would be read as a template: its placeholder stays until the request.
        has_braces = any(brace in str(value) for brace in "{}") and _has_braces(value)
        return text if setting.secret or has_braces else value


def _brought(webhooks: Any) -> frozenset[str]:
    """The settings whose values handshakes bring: `store: {setting: NAME}`."""
    stores = [value for key, value in _members(webhooks) if key == "store"]
    names = [store.get("setting") for store in stores if isinstance(store, dict)]
    return frozenset(name for name in names if isinstance(name, str))


def _found(setting: Setting, given: Any, env: Mapping[str, str]) -> Any:
    if given is not None and given != "":
        return given
    variable = env.get(setting.env, "") if setting.env else ""
    if variable:
        return variable
    return UNSET if setting.default is None else setting.default


def _read_text(kind: str, text: str) -> Any:
    stripped = text.strip()
    if kind == "boolean":
        word = stripped.lower()
        return True if word in _TRUE else False if word in _FALSE else text
    if kind == "array" and not stripped.startswith("["):
        return [part.strip() for part in stripped.split(",") if part.strip()]
    try:
        if kind == "integer":
            return int(stripped)
        if kind == "number":
            return int(stripped) if re.fullmatch(r"[-+]?\d+", stripped) else _decimal(stripped)
        return json.loads(stripped)
    except (ValueError, RecursionError):
        return text


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise ValueError from error
    if not number.is_finite():
        raise ValueError
    return number


def _article(kind: str) -> str:
    words = {
        "string": "a text; quote it",
        "integer": "a whole number; give one such as 100",
        "number": "a number; give one such as 1.5",
        "boolean": "true or false; give one of them",
        "array": "a list; give one such as [a, b]",
        "object": "an object; give one such as {a: 1}",
    }
    return words[kind]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield value


def _members(raw: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a JSON value, with the key that it stands under."""
    yield key, raw
    if isinstance(raw, dict):
        for name, value in raw.items():
            yield from _members(value, name)
    elif isinstance(raw, list):
        for item in raw:
            yield from _members(item, key)


def _has_braces(value: Any) -> bool:
    return any("{" in text or "}" in text for text in _leaves(value) if isinstance(text, str))


def _placeholders(text: str) -> frozenset[str]:
    try:
        return Template.parse(text).names
    except ValueError:
        return frozenset()


def _condition_names(raw: Any) -> set[str]:
    try:
        places = Condition.parse(raw).places
    except ValueError:
        return set()
    return {place.path.keys[0] for place in places if place.path and place.path.keys}
