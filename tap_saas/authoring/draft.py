"""A guess as a connector file: what was seen, what is only guessed, and what is to be decided."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tap_saas.authoring.dates import DateField
from tap_saas.authoring.filters import Filter
from tap_saas.authoring.guess import Guess
from tap_saas.authoring.writing import Entry, flow, text
from tap_saas.connector.formats import InstantFormat, normalise_instant

LONGEST_VALUE = 60
AN_ID = re.compile(r"\d+|[0-9a-fA-F-]{16,}")


def connector(guess: Guess) -> str:
    """The whole file."""
    head = [Entry(key=key, value=value) for key, value in guess.address.head.items()]
    head[0] = Entry(key="name", value=guess.address.name, comments=list(_opening(guess)))
    lines = [*text([*head, *_budgets(guess)]), "streams:", f"  {guess.address.stream}:"]
    return "\n".join([*lines, *text(list(_stream(guess)), depth=2)]) + "\n"


def _opening(guess: Guess) -> Iterator[str]:
    yield (
        f"Written by `saasctl guess` after {guess.requests} requests and"
        f" {guess.records_seen} records. SEEN: the API answered so. GUESS: read it before you rely"
        " on it. DECIDE: only you can know."
    )
    for setting in guess.address.settings.values():
        yield f"The secret is taken from the environment: export {setting['env']}=..."
    if guess.untried:
        yield f"Not tried, no requests were left: {'; '.join(guess.untried[:3])} (--requests N)"


def _budgets(guess: Guess) -> Iterator[Entry]:
    limits = guess.limits
    if limits.budget is not None:
        shown = ", ".join(
            f"{name}: {value[:LONGEST_VALUE]}" for name, value in limits.headers.items()
        )
        yield Entry(key="budgets", value={"seen": limits.budget}, comments=[f"SEEN: {shown}"])
        return
    comments = [f"SEEN: {name}: {value[:LONGEST_VALUE]}" for name, value in limits.headers.items()]
    comments.append("DECIDE: the rate limit, from the API's documentation, as in")
    example = {"all": {"limits": [{"requests": 100, "per": "1m"}]}}
    yield Entry(key="budgets", value=example, comments=comments, off=True)


def _stream(guess: Guess) -> Iterator[Entry]:
    address = guess.address
    numbers = [part for part in address.base_url.split("/")[3:] if AN_ID.fullmatch(part)]
    yield Entry(
        key="path",
        value=address.path,
        comments=[f"DECIDE: {part} looks like an id; `parents` reads the list of every one of them"
                  for part in numbers],
    )  # fmt: skip
    params = _kept_params(guess)
    if params:
        yield Entry(key="params", value=params)
    others = f" Other lists: {', '.join(guess.other_lists[:3])}." if guess.other_lists else ""
    yield Entry(
        key="records", value=guess.listing.form,
        comments=[f"SEEN: {guess.listing.described()}.{others}"],
    )  # fmt: skip
    yield _key(guess)
    yield Entry(
        key="pagination",
        value=guess.walk.form,
        comments=[
            *(f"SEEN: {seen}." for seen in guess.walk.seen),
            *(f"GUESS: {doubt}." for doubt in guess.walk.doubts),
        ],
    )
    yield from _incremental(guess)
    yield from _fields(guess)


def _kept_params(guess: Guess) -> dict[str, Any]:
    """The parameters of the URL that nothing else sends."""
    form = guess.walk.form
    size = form.get("size")
    sent = {form.get("send"), size.get("send") if isinstance(size, dict) else None}
    sent |= {"param:page"} if form["type"] == "page" else set()
    sent |= {"param:offset"} if form["type"] == "offset" else set()
    if guess.filter is not None:
        sent.add(f"param:{guess.filter.name}")
    params = guess.address.params
    return {name: value for name, value in params.items() if f"param:{name}" not in sent}


def _key(guess: Guess) -> Entry:
    key = guess.key
    seen = f"in {guess.records_seen} records"
    if key.hashed:
        comment = (
            f"GUESS: no field is unique {seen}, so that a digest names a record: one that changes"
            " becomes a new row. DECIDE: name the fields that tell records apart."
        )
    elif key.is_sure:
        comment = f"SEEN: unique and never null {seen}."
    else:
        comment = f"GUESS: unique and never null {seen}, but is it a key that never changes?"
    return Entry(key="primary_key", value=key.form, comments=[comment])


def _incremental(guess: Guess) -> Iterator[Entry]:
    useful = [date for date in guess.dates if date.role != "other"]
    if guess.filter is not None:
        yield _filtered(guess, guess.filter)
    elif not useful:
        yield Entry(
            comments=["No field says when a record changed: every run reads the whole list."]
        )
    else:
        yield from _unfiltered(useful[0])


def _filtered(guess: Guess, found: Filter) -> Entry:
    date = found.date
    start: dict[str, Any] = {"send": f"param:{found.name}"}
    if found.format != date.format:
        start["format"] = found.format
    if not found.includes:
        start["exclusive"] = True
    form = {"key": date.name, **_format(date), "start": start}
    given = guess.address.params.get(found.name)
    if isinstance(given, str):
        form["first"] = _instant(given, found.format)
    comments = list(_about_filter(found, guess.walk.form["type"]))
    return Entry(key="incremental", value=form, comments=comments)


def _about_filter(found: Filter, kind: str) -> Iterator[str]:
    at = normalise_instant(found.from_.isoformat())
    yield f"SEEN: {found.name} from {at} on gave no record with an earlier {found.date.name}."
    if found.includes is None:
        yield "GUESS: whether that instant itself is included did not show; `exclusive` is safe."
    yield from _about_zone(found.date)
    if found.date.order == "asc" and kind not in {"page", "offset"}:
        yield (
            f"SEEN: sorted by {found.date.name}, oldest first. DECIDE: where the API promises that,"
            " add `order: asc`: a run that was cut short then goes on where it was."
        )
    if found.date.role != "changed":
        yield (
            f"DECIDE: {found.date.name} does not move when a record changes, so later runs see new"
            " records only. A full pass now and then, or another filter, sees the rest."
        )


def _about_zone(date: DateField) -> Iterator[str]:
    if not date.has_zone:
        yield (
            f"GUESS: {date.name} names no zone and is read as UTC; if not, add"
            " `zone: Europe/Berlin`."
        )


def _unfiltered(date: DateField) -> Iterator[Entry]:
    """What may become incremental by hand."""
    comments = [
        f"SEEN: {date.name} is a date ({date.format}). No parameter that was tried filters by it,"
        " so every run reads the whole list. DECIDE: if the documentation has one:"
    ]
    form = {"key": date.name, **_format(date), "start": {"send": "param:NAME"}}
    yield Entry(key="incremental", value=form, comments=comments, off=True)
    if date.order == "desc":
        told = f"SEEN: the newest {date.name} comes first. DECIDE: where the API promises that:"
        newest = {"key": date.name, **_format(date), "order": "desc"}
        yield Entry(key="incremental", value=newest, comments=[told], off=True)
    if date.role == "changed" and (date.format == "iso8601" or date.format.startswith("epoch")):
        told = "The newer version of a row wins."
        yield Entry(key="version", value=date.name, comments=[told, *_about_zone(date)])


def _format(date: DateField) -> dict[str, str]:
    return {} if date.format == "iso8601" else {"format": date.format}


def _instant(given: str, format: str) -> str:
    """What the URL said, as `first` has it."""
    for name in (format, "iso8601", "epoch_s"):
        try:
            return normalise_instant(InstantFormat.parse(name).read(given).isoformat())
        except ValueError:
            continue
    return given


def _fields(guess: Guess) -> Iterator[Entry]:
    listed = ", ".join(f"{name} {kind}" for name, kind in guess.fields.items())
    comments = [
        f"SEEN: the fields {listed}. The schema is learnt from the records (`schema: infer`)."
    ]
    nested = [name for name, kind in guess.fields.items() if kind == "object"]
    if nested and len(guess.fields) <= 2 * len(nested) + 2:
        lifted = flow({"lift": [f"$.{name}" for name in nested[:1]]})
        comments.append(f"DECIDE: `fields: {lifted}` makes columns of what is in {nested[0]}.")
    odd = {
        date.name: date.format
        for date in guess.dates
        if len(date.path.steps) == 1 and date.format not in {"iso8601", "date"}
    }
    if odd:
        comments.append(f"DECIDE: `fields: {flow({'parse': odd})}` makes date-times of them.")
    yield Entry(comments=comments)
