"""`saasctl state`: the state of a plain pipe, kept atomically and shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tap_saas.cli.table import show as print_table
from tap_saas.errors import StateError
from tap_saas.objects import parse_object, read_text


@click.group()
def state() -> None:
    """Keep and show the state of a plain pipe.

    \b
    echo '{}' > state.json                      once
    tap-saas --config tap.json --state state.json \\
      | target-postgres --config target.json \\
      | saasctl state save state.json
    """


@state.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def save(file: Path) -> None:
    """Keep the last STATE that the target echoes on stdin in FILE.

    Each line replaces the file as a whole, so that a crash leaves the state before it. No line at
    all leaves the file as it is.
    """
    for line in sys.stdin:
        if line.strip():
            parse_object(line, "standard input", StateError, "state")
            replace(file, line.strip() + "\n")


def replace(file: Path, text: str) -> None:
    """Write a file so that it is the old one or the new one, whatever happens."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StateError(
            f"the state cannot be kept ({error.strerror})",
            where=str(file),
            do="the file is as it was; mend the folder and run again",
        ) from error


@state.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def show(file: Path) -> None:
    """Show how far each stream of the state in FILE is."""
    from rich.table import Table
    from rich.text import Text

    known = parse_object(read_text(str(file), StateError, "state"), str(file), StateError, "state")
    table = Table(box=None)
    for name in ("stream", "partition", "watermark", "last_success_ts", "last_cursor", "in flight"):
        table.add_column(name, no_wrap=True)
    for row in rows(known):
        table.add_row(*map(Text, row))
    print_table(table)


def rows(known: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """One row a stream and partition: what the table shows.

    Raises:
        StateError: it has no bookmarks, as every state of a Singer tap has.
    """
    bookmarks = known.get("bookmarks") if known else {}
    if not isinstance(bookmarks, dict):
        raise StateError(
            "the state has no bookmarks of streams", do="pass one that the tap has written"
        )
    for stream, bookmark in bookmarks.items():
        yield _row(stream, bookmark)
        for part in bookmark.get("partitions") or []:
            yield _row(stream, part)


def _row(stream: str, bookmark: Any) -> tuple[str, ...]:
    if not isinstance(bookmark, dict):
        do = "take it out of the state"
        raise StateError("its bookmark is no JSON object", stream=stream, do=do)
    context = ", ".join(f"{k}={v}" for k, v in (bookmark.get("context") or {}).items())

    def text(name: str) -> str:
        value = bookmark.get(name)
        return "" if value is None else str(value)

    flight = bookmark.get("resume") or []
    kind = (
        "" if not flight else f"{'full' if flight[0].get('since') is None else 'incremental'} pass"
    )
    return (
        stream, context, text("replication_key_value"), text("last_success_ts"),
        text("last_cursor") or _offset(bookmark), kind,
    )  # fmt: skip


def _offset(bookmark: dict[str, Any]) -> str:
    """Up to where a queue is read, `offset 9`: its second member, behind the queue's epoch."""
    match bookmark.get("queue"):
        case [_, int(offset), *_]:
            return f"offset {offset}"
    return ""
