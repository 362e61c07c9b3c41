"""The parameter that gives only what changed: what it means is seen in the answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from lookalikes import Thing, World, iso
from ruamel.yaml import YAML
from small_apis import Asked, RefusalError, Reply, serve

from tap_saas.authoring import address, draft
from tap_saas.authoring.guess import guess


class Rule(NamedTuple):
    """How an API filters: by which date, through which parameter, read how."""

    name: str
    read: Callable[[str], datetime]
    keeps: Callable[[Thing, datetime], bool]
    order: str = "updated"
    newest: bool = False
    cap: int = 500


def _epoch(text: str) -> datetime:
    return datetime.fromtimestamp(int(text), UTC)


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def things(rule: Rule | None) -> list[Thing]:
    """160 of which every tenth was changed six hours after it was made."""
    made = [
        Thing(one.n, one.created, one.created + timedelta(hours=6 * (one.n % 10 == 0)))
        for one in World(160).things
    ]
    order = rule.order if rule else "updated"
    newest = bool(rule and rule.newest)
    return sorted(made, key=lambda one: getattr(one, order), reverse=newest)


def found_with(rule: Rule | None, most: int = 15, *, is_paged: bool = True) -> dict[str, Any]:
    """The stream that is guessed of a list that is filtered so."""

    def answer(asked: Asked) -> Reply:
        known = things(rule)
        if rule is not None and rule.name in asked.params:
            try:
                start = rule.read(asked.params[rule.name])
            except ValueError:
                raise RefusalError(400, "bad date") from None
            known = [thing for thing in known if rule.keeps(thing, start)]
        page, size = (
            asked.whole("page", 1),
            min(asked.whole("per_page", 50), rule.cap if rule else 500),
        )
        part = known[(page - 1) * size : page * size] if is_paged else known
        records = [
            {"id": one.n, "created_at": iso(one.created), "updated_at": iso(one.updated)}
            for one in part
        ]
        return Reply({"items": records, "page": page} if is_paged else records)

    with serve(answer) as url:
        text = draft.connector(guess(address.read(f"{url}/things", env={}), most, lambda _: None))
    stream: dict[str, Any] = YAML(typ="safe").load(text)["streams"]["things"]
    return stream


def later(thing: Thing, start: datetime) -> bool:
    """Changed then or later."""
    return thing.updated >= start


@pytest.mark.parametrize(
    ("rule", "start"),
    [
        (Rule("updated_after", datetime.fromisoformat, later), {"send": "param:updated_after"}),
        (
            Rule("modified_since", datetime.fromisoformat, later, order="created"),
            {"send": "param:modified_since"},
        ),
        (
            Rule("updated_at__gte", datetime.fromisoformat, later, newest=True),
            {"send": "param:updated_at__gte"},
        ),
        (
            Rule("since", datetime.fromisoformat, lambda one, at: one.updated > at),
            {"send": "param:since", "exclusive": True},
        ),
        (Rule("since", _epoch, later), {"send": "param:since", "format": "epoch_s"}),
        (
            Rule("updated_since", _day, later),
            {"send": "param:updated_since", "format": "date", "exclusive": True},
        ),
    ],
)
def test_a_filter_is_found_with_its_meaning(rule: Rule, start: dict[str, Any]) -> None:
    assert found_with(rule)["incremental"] == {"key": "updated_at", "start": start}


@pytest.mark.parametrize(
    "rule",
    [
        Rule("since", datetime.fromisoformat, lambda one, at: one.created >= at),
        Rule("since", datetime.fromisoformat, lambda one, at: one.created >= at, order="created"),
        Rule("since", datetime.fromisoformat, lambda one, at: one.created >= at, "created", cap=50),
        Rule("since", datetime.fromisoformat, lambda one, at: one.updated >= at and one.n % 2 > 0),
        Rule("since", datetime.fromisoformat, lambda one, at: one.updated < at),
        Rule("since", datetime.fromisoformat, lambda one, at: one.n > 20),
        Rule("since", datetime.fromisoformat, lambda one, at: False),
        None,
    ],
)
def test_what_does_not_give_all_changes_is_no_filter(rule: Rule | None) -> None:
    stream = found_with(rule)
    assert "incremental" not in stream
    assert stream["version"] == "updated_at"


def test_requests_are_kept_for_the_filter() -> None:
    rule = Rule("updated_after", datetime.fromisoformat, later)
    assert "incremental" in found_with(rule, 10, is_paged=False)
