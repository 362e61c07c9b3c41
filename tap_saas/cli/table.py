"""Tables on a terminal: as wide as they are; what is shown is never cut."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDE = 200
"""How wide a page is where there is no terminal."""


def console() -> Console:
    """The standard output, as wide as the terminal, or as the variable COLUMNS says."""
    from rich.console import Console

    found = Console()
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = WIDE
    return found


def show(table: Table) -> None:
    """Print a table; rows that are wider than the terminal go on in its next line."""
    page = console()
    page.width = max(page.width, width(page, table))
    page.print(table)


def width(page: Console, table: Table) -> int:
    """How wide a table is with nothing cut or wrapped."""
    from rich.measure import Measurement

    return Measurement.get(page, page.options.update(width=10 * WIDE), table).maximum
