"""Names as APIs write them: split into words, and written again in the same manner."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
RESERVED = frozenset({"start", "end", "now", "token"})


def words(name: str) -> tuple[str, ...]:
    """`nextPageToken`, `next_page_token` and `Next-Page-Token` are `("next", "page", "token")`."""
    return tuple(word.lower() for word in _WORD.findall(name))


def like(sample: str, parts: Iterable[str]) -> str:
    """The words as `sample` writes its own: `like("updatedAt", ["page", "token"])` is
    `pageToken`.
    """
    lower = [part.lower() for part in parts]
    if "-" in sample:
        return "-".join(lower)
    if "_" in sample or sample.islower():
        return "_".join(lower)
    first = lower[:1] if sample[:1].islower() else [part.capitalize() for part in lower[:1]]
    return "".join([*first, *(part.capitalize() for part in lower[1:])])


def identifier(text: str, otherwise: str) -> str:
    """A name for a connector, stream or setting: lower case, digits and `_`."""
    name = "_".join(words(text))
    if not name:
        return otherwise
    return name if _SETTING.fullmatch(name) else f"{otherwise}_{name}"


def setting(text: str) -> str:
    """The name of a setting; reserved ones get a word before them."""
    name = identifier(text, "setting")
    return f"api_{name}" if name in RESERVED else name


def singular(name: str) -> str:
    """`orders` is `order`, `categories` is `category`, as far as spelling tells."""
    if name.endswith("ies") and len(name) > 4:
        return f"{name[:-3]}y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
