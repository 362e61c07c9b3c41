"""A scene of the demo: what is played, and the one line that it claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tap_saas.demo.stage import Stage

Evidence = TypeVar("Evidence")


class UntrueError(Exception):
    """What a scene claims is not so; the text says what is so instead."""


@dataclass(frozen=True)
class Scene(Generic[Evidence]):
    """`play` lets it happen and gives what came of it, `line` makes the claim of that.

    Scenes with the same `play` share what happens. Both raise `UntrueError` where what should be
    is not so.
    """

    name: str
    about: str
    play: Callable[[Stage], Evidence]
    line: Callable[[Evidence], str]


def require(holds: bool, otherwise: str) -> None:
    """Raise `UntrueError` with these words unless it holds."""
    if not holds:
        raise UntrueError(otherwise)
