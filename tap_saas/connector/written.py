"""The base of values that a connector file writes as one text."""

from __future__ import annotations

from typing import Any, Self


class Written:
    """An immutable value known by its canonical text.

    A subclass parses in `parse` and keeps what it compiled beside the text; msgspec decodes it
    through `notation.decode_notation`.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read what the connector file says.

        Raises:
            ValueError: one clear line about what is wrong.
        """
        raise NotImplementedError

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.text == other.text

    def __hash__(self) -> int:
        return hash((type(self), self.text))


def text_of(raw: Any, what: str, example: str) -> str:
    """The text that a notation must be, without the space around it.

    Raises:
        ValueError: it is not a text, or an empty one.
    """
    if not isinstance(raw, str):
        raise ValueError(f"{what} is a text such as {example}, not {raw!r}")
    text = raw.strip()
    if not text:
        raise ValueError(f"{what} is empty; write one such as {example}")
    return text
