"""`saasctl queue`: look into the durable log of webhooks, read parts of it again, clear it."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tap_saas.errors import ConfigError
from tap_saas.redact import MASK

if TYPE_CHECKING:
    from tap_saas.queues.base import Event, Queue, SourceStatus

QUEUE_VARIABLE = "TAP_SAAS_QUEUE"
SECRET_NAMES = re.compile(
    r"auth|cookie|signature|secret|token|passw|hmac|api.?key|credential|\bsig\b|session",
    re.IGNORECASE,
)
ALL = (1 << 62) - 1
SHOWN = 10


@click.group()
def queue() -> None:
    """See and mend the queue that the receiver of webhooks keeps events in.

    The queue is --queue, else the variable TAP_SAAS_QUEUE, else queue.db in the home folder. All
    of this works while a receiver runs.

    \b
    saasctl queue status                              what is kept, who has read how far
    saasctl queue peek acme/main --last 3             the newest events, secrets masked
    saasctl queue replay acme/main --from 10 --to 99  let every consumer read these again
    saasctl queue purge --keep 1h                     delete what all consumers acknowledged
    saasctl queue salvage queue.db.corrupt-...        put back what a damaged file still has
    """


def _queue_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--queue",
        "url",
        envvar=QUEUE_VARIABLE,
        metavar="FILE|URL",
        help=f"A file or postgresql://host/database; else the variable {QUEUE_VARIABLE}, "
        "else queue.db in the home folder.",
    )(command)


@contextlib.contextmanager
def _opened(url: str | None) -> Iterator[Queue]:
    from tap_saas.config import home
    from tap_saas.queues import DEFAULT_NAME, open_queue

    with contextlib.closing(open_queue(url or home({}) / DEFAULT_NAME, write=False)) as found:
        yield found


@queue.command()
@_queue_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def status(url: str | None, as_json: bool) -> None:
    """Show what is kept of each source, and how far its consumers are.

    `waiting since` is when the oldest event came that a consumer has not acknowledged. Refused
    requests are counted by source and reason.
    """
    import msgspec
    from rich.console import Console

    with _opened(url) as found:
        known = found.status()
    if as_json:
        click.echo(msgspec.json.encode(known))
        return
    terminal = Console().is_terminal
    console = Console(width=None if terminal else 200)
    free = "" if known.free_bytes is None else f", {_size(known.free_bytes)} free"
    console.print(f"epoch {known.epoch}, {_size(known.file_bytes)}{free}", highlight=False)
    if known.refusal:
        console.print(f"nothing is accepted: {known.refusal}", style="red", highlight=False)
    names = ("source", "events", "size", "offsets", "oldest", "acknowledged", "waiting since")
    console.print(_table(names, [_row(source) for source in known.sources]))
    if known.refused:
        refused = [
            (each.source, each.reason, f"{each.count:,}", _when(each.last_at))
            for each in known.refused
        ]
        console.print(_table(("refused", "reason", "requests", "last"), refused))


def _table(names: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None)
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _row(source: SourceStatus) -> tuple[str, ...]:
    offsets = "" if source.first_offset is None else f"{source.first_offset}..{source.last_offset}"
    acknowledged = ", ".join(f"{name} {offset}" for name, offset in source.acknowledged.items())
    return (
        source.source, f"{source.events:,}", _size(source.bytes), offsets,
        _when(source.oldest_received_at), acknowledged, _when(source.waiting_since),
    )  # fmt: skip


def _when(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M:%SZ}"


def _size(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"


@queue.command()
@click.argument("source")
@_queue_option
@click.option("--from", "first", type=click.IntRange(1), default=1, help="The offset to begin at.")
@click.option("--last", type=click.IntRange(1, 1000), help="The newest events instead.")
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True, help="How many.")
@click.option(
    "--body-bytes", type=click.IntRange(0), default=500, show_default=True,
    help="Show so much of each body.",
)  # fmt: skip
def peek(
    source: str, url: str | None, first: int, last: int | None, limit: int, body_bytes: int
) -> None:
    """Print events of SOURCE (connector/source) as JSON, one a line; nothing is acknowledged.

    Values whose name sounds secret (authorization, token, signature, password, ...) are masked in
    headers, the query and JSON bodies; other secrets in a body are not known here.
    """
    with _opened(url) as found:
        if last is not None:
            first, limit = found.newest(source, last), last
        shown = 0
        after = first - 1
        while shown < limit:
            events = found.read(source, after, max_events=min(limit - shown, 100))
            if not events:
                break
            for event in events:
                click.echo(json.dumps(_shown(event, body_bytes), ensure_ascii=False))
            shown, after = shown + len(events), events[-1].offset
    if not shown:
        click.echo(f"no events of {source} from offset {first} on", err=True)


def _shown(event: Event, body_bytes: int) -> dict[str, Any]:
    body, cut = _body(event.body, body_bytes)
    headers = {name: _masked(name, value) for name, value in event.headers.items()}
    return {
        "offset": event.offset,
        "received_at": event.received_at.isoformat(),
        "event_id": event.event_id,
        "request": f"{event.method} {event.path}" + (f"?{_query(event.query)}" * bool(event.query)),
        "headers": headers,
        "bytes": len(event.body),
        "body": body,
        **({"cut": True} if cut else {}),
    }


def _body(body: bytes, limit: int) -> tuple[Any, bool]:
    """A JSON body masked by names, as a value where it is short; any other one as text."""
    try:
        value = _masked("", json.loads(body))
    except ValueError:
        text = body[: limit + 1].decode("utf-8", "backslashreplace")
        return text[:limit], len(body) > limit
    text = json.dumps(value, ensure_ascii=False)
    return (value, False) if len(text) <= limit else (text[:limit], True)


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(key, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(name, each) for each in value]
    return MASK if value and isinstance(value, str) and SECRET_NAMES.search(name) else value


def _query(query: str) -> str:
    pairs = (pair.partition("=") for pair in query.split("&"))
    return "&".join(f"{name}{equals}{_masked(name, value)}" for name, equals, value in pairs)


_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])


@queue.command()
@click.argument("source")
@_queue_option
@click.option("--from", "first", type=click.IntRange(1), default=1, help="The first offset.")
@click.option("--to", "last", type=click.IntRange(1), default=ALL, help="The last offset.")
@click.option(
    "--since",
    type=_TIME,
    metavar="TIME",
    help="Received at this time or later: 2026-01-31, 2026-01-31T08:00:00Z.",
)
@click.option("--until", type=_TIME, metavar="TIME", help="Received before this time (UTC).")
@click.option("--all", "everything", is_flag=True, help="All that is kept.")
def replay(
    source: str, url: str | None, first: int, last: int, since: datetime | None,
    until: datetime | None, everything: bool,
) -> None:  # fmt: skip
    """Let every consumer of SOURCE read kept events again.

    The events are copied to the end of the queue under new offsets, with the time at which they
    came; states stay as they are. Kept is what was not acknowledged by all consumers, and for 24
    hours what was.
    """
    chosen = (first > 1, last < ALL, since is not None, until is not None)
    if everything == any(chosen):
        raise ConfigError(
            "which events is not said", do="pass --from, --to, --since or --until, or --all"
        )
    with _opened(url) as found:
        copied = found.replay(source, first, last, since=_utc(since), until=_utc(until))
    click.echo(f"{copied} events of {source} will be read again")


def _utc(given: datetime | None) -> datetime | None:
    return None if given is None else given.replace(tzinfo=UTC)


@queue.command()
@click.argument("source", required=False)
@_queue_option
@click.option("--keep", help="Delete what was acknowledged so long ago: 24h (default), 30m, 0s.")
@click.option(
    "--force", is_flag=True, help="Delete events of SOURCE that nobody acknowledged too; with --to."
)
@click.option("--to", "last", type=click.IntRange(1), help="The last offset that --force deletes.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(
    source: str | None, url: str | None, keep: str | None, force: bool, last: int | None,
    yes: bool,
) -> None:  # fmt: skip
    """Delete events that all consumers acknowledged; the receiver does this by itself.

    Events that are not acknowledged are deleted with --force alone, of one SOURCE and up to an
    offset. What is deleted cannot be replayed; the tap sees the gap and pulls everything again.
    """
    if force != (last is not None) or force != (source is not None):
        raise ConfigError(
            "SOURCE, --to and --force go together", do="or pass none of them, and --keep"
        )
    if force and keep is not None:
        raise ConfigError("--keep says nothing to --force", do="leave one out")
    with _opened(url) as found:
        if source is not None and last is not None:
            _ask(f"Delete all events of {source} up to offset {last}, read or not?", yes)
            gone = found.drop(source, last)
        else:
            span = _duration(keep)
            _ask("Delete the events that all consumers have acknowledged?", yes)
            gone = found.purge(keep=span, max_events=ALL)
    click.echo(f"{gone} events are deleted")


@queue.command()
@click.argument("file", type=click.Path(path_type=Path))
@_queue_option
def salvage(file: Path, url: str | None) -> None:
    """Put back what can be read of FILE, a damaged queue that a receiver put aside.

    A receiver that finds its file damaged names it queue.db.corrupt-TIME and begins a new one. The
    events of FILE that are whole are put at the end of the queue, once each: those that it has
    already, by their ids, are not put there again. FILE stays as it is.
    """
    from tap_saas.queues import salvage as put_back

    with _opened(url) as found:
        read, stored, had, gaps = put_back(file, found)
    of = "" if had is None else f"of {had} "
    click.echo(f"{read} {of}events read: {stored} put back, {read - stored} were there already")
    if gaps:
        shown = ", ".join(f"{first}..{last}" for first, last in gaps[:SHOWN])
        more = f", and {len(gaps) - SHOWN} more" if len(gaps) > SHOWN else ""
        click.echo(f"ranges of offsets of which nothing could be read: {len(gaps)} ({shown}{more})")


def _ask(question: str, yes: bool) -> None:
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody is there to ask", do="pass --yes")
        click.confirm(question, abort=True, err=True)


def _duration(text: str | None) -> timedelta | None:
    from tap_saas.connector.units import parse_duration

    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--keep: {error}") from error
