"""The one error of this package, told in one line."""

from __future__ import annotations


class TargetConfigError(Exception):
    """The database or the target cannot be used as it is: `what; do`."""

    def __init__(self, what: str, do: str) -> None:
        self.what = what
        self.do = do
        super().__init__(f"{what}; {do}")
