"""A connector explained before anything is asked: what its API must be known for, and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tap_saas.authoring.explain import words
from tap_saas.authoring.explain.assumed import Assumed
from tap_saas.authoring.explain.course import Course, figures, uses
from tap_saas.authoring.explain.explanation import Explanation, StreamPlan
from tap_saas.authoring.explain.plan import Planner
from tap_saas.authoring.explain.subject import Subject, read
from tap_saas.client.limiter import Limiter
from tap_saas.client.stores.memory import MemoryStore
from tap_saas.connector.load import Loaded
from tap_saas.connector.mistake import LineMap
from tap_saas.errors import TapSaasError
from tap_saas.sync.ends import Limits, Stop
from tap_saas.sync.run import Run

__all__ = ["Assumed", "Explanation", "explain"]


def explain(
    source: str, stream: str | None, given: Mapping[str, Any], assumed: Assumed
) -> Explanation:
    """Explain a connector, or one of its streams; `given` are settings that the user has set.

    Nothing is asked of the API, and no credential is looked at.

    Raises:
        ConnectorError: the file has mistakes; it holds all of them.
        ConfigError: there is no such connector or stream, or a setting is wrong.
    """
    subject = read(source, given)
    planned, warnings = _planned(subject, stream, assumed)
    later = [one.later for one in planned]
    return Explanation(
        connector=subject.connector.name,
        title=subject.connector.title,
        missing=subject.missing,
        assumptions=_assumptions(assumed),
        plans=[one.plan for one in planned],
        first=figures([one.first for one in planned], assumed),
        later=figures(later, assumed),
        uses=uses(later, assumed),
        warnings=[*subject.warnings, *warnings],
    )


class _Planned(NamedTuple):
    """A stream's plan, and its runs."""

    plan: StreamPlan
    first: Course
    later: Course


def _planned(
    subject: Subject, stream: str | None, assumed: Assumed
) -> tuple[list[_Planned], list[str]]:
    """The streams that can be rehearsed, and why others cannot."""
    loaded = Loaded(
        connector=subject.connector,
        values=dict(subject.values),
        secrets=[],
        path=Path(subject.connector.name),
        lines=LineMap({}),
    )
    run = Run(loaded, {}, Path(), Stop(), Limits(None, None))
    planned, warnings = [], []
    with Limiter(MemoryStore(), scope=subject.connector.name) as limiter:
        for one in subject.chosen(stream):
            try:
                planner = Planner(subject, one, assumed, run, limiter)
                planned.append(_Planned(planner.plan(), planner.first(), planner.later()))
            except (TapSaasError, ValueError) as error:
                warnings.append(f"{one.name}: no plan, such a run ends with an error: {error}")
    return planned, warnings


def _assumptions(assumed: Assumed) -> list[str]:
    changed = "one in a hundred changes"
    if "" in assumed.changed:
        changed = f"{words.number(assumed.changed[''])} change"
    records, of_one = _counts(assumed.records), _counts(assumed.changed)
    return [
        f"{words.number(assumed.records[''])} records a stream{records} (--records)",
        f"{changed} between two runs{of_one} (--rows-changed)",
        f"{assumed.runs_per_day:g} runs a day (--runs-per-day)",
        f"an answer takes {words.duration(assumed.answer_s)} (--answer)",
        f"{assumed.parallel} partitions, windows or children are read at a time (the setting "
        "parallel)",
        "nothing else spends of the budgets, nothing fails, no token ends",
    ]


def _counts(of: Mapping[str, int]) -> str:
    """What is said of single streams: `, 40 of orders`."""
    return "".join(f", {count:,} of {stream}" for stream, count in of.items() if stream)
