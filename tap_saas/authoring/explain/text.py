"""An explanation as text: lines of a few kinds, written for a terminal or as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from tap_saas.authoring.explain import words
from tap_saas.authoring.explain.explanation import Asking, Explanation, Figures, StreamPlan, Use

Kind = Literal["title", "heading", "point", "step", "code", "warning", "blank"]


class Line(msgspec.Struct, frozen=True):
    """One line before it is wrapped."""

    kind: Kind
    text: str = ""


def lines(explanation: Explanation) -> Iterator[Line]:
    """All lines of an explanation."""
    title = f" ({explanation.title})" if explanation.title else ""
    yield Line("title", f"{explanation.connector}{title}")
    if explanation.missing:
        yield Line("point", f"settings without a value: {', '.join(explanation.missing)}")
    yield Line("point", f"assumed: {'; '.join(explanation.assumptions)}")
    for plan in explanation.plans:
        yield from _plan(plan)
    if explanation.plans[1:]:
        yield from _whole(explanation)
    if explanation.warnings:
        yield from _section("warnings")
        yield from (Line("warning", text) for text in explanation.warnings)


def plain(found: Iterable[Line], width: int) -> Iterator[tuple[Kind, str]]:
    """The lines as a terminal shows them; requests and JSON are never wrapped."""
    step = 0
    for line in found:
        step = step + 1 if line.kind == "step" else 0
        first = {"point": "  - ", "step": f"  {step}. ", "code": "    ", "warning": "  ! "}
        mark = first.get(line.kind, "")
        if line.kind in ("point", "step", "warning"):
            wrapped = textwrap.wrap(
                line.text,
                max(width, 40),
                initial_indent=mark,
                subsequent_indent=" " * len(mark),
                break_long_words=False,
                break_on_hyphens=False,
            )
            yield from ((line.kind, text) for text in wrapped)
        else:
            yield line.kind, f"{mark}{line.text}"


def markdown(found: Iterable[Line]) -> Iterator[str]:
    """The lines as Markdown."""
    in_code = False
    for line in found:
        if in_code != (line.kind == "code"):
            in_code = not in_code
            yield "```text" if in_code else "```"
        marks = {"title": "## ", "heading": "### ", "point": "- ", "step": "1. "}
        mark = {**marks, "warning": "- **warning:** "}.get(line.kind, "")
        yield f"{mark}{line.text}"
    if in_code:
        yield "```"


def _plan(plan: StreamPlan) -> Iterator[Line]:
    yield Line("blank")
    yield Line("title", f"stream {plan.stream}")
    for at, answer in enumerate(plan.answers, 1):
        yield from _section(f"{at}. {answer.question}")
        yield from (Line("point", text) for text in answer.lines)
    for name, told in (("what is gone", plan.gone), ("events and webhooks", plan.pushed)):
        if told:
            yield from _section(name)
            yield from (Line("point", text) for text in told)
    yield from _requests(plan)
    yield from _section("polling plan")
    yield from (Line("step", text) for text in plan.flow)
    yield from _section("requests and time")
    yield from _runs(plan.first, plan.later)
    yield from (Line("point", f"{what}: {_figures(of)}") for what, of in plan.rare.items())
    yield Line("point", f"a run may begin every {words.duration(plan.often_s)}: budgets suffice")
    yield from (Line("point", _use(use)) for use in plan.uses)
    yield from _section("checkpoint, in the middle of a first run")
    yield Line("code", _json(plan.during))
    yield from _section("checkpoint, after a run")
    yield Line("code", _json(plan.after))
    if plan.warnings:
        yield from _section("warnings")
        yield from (Line("warning", text) for text in plan.warnings)


def _requests(plan: StreamPlan) -> Iterator[Line]:
    runs: Sequence[tuple[str, list[Asking]]]
    runs = ("first run", plan.first_requests), ("a later run", plan.later_requests)
    for name, asked in runs:
        yield from _section(f"requests of {name}")
        yield from (Line("code", f"{_request(one)}") for one in asked)
        yield from (Line("code", f"  {proof}") for proof in plan.proofs if asked)


def _whole(explanation: Explanation) -> Iterator[Line]:
    yield Line("blank")
    yield Line("title", "all these streams")
    yield Line("blank")
    yield from _runs(explanation.first, explanation.later)
    yield from (Line("point", _use(use)) for use in explanation.uses)


def _runs(first: Figures, later: Figures) -> Iterator[Line]:
    yield Line("point", f"first run: {_figures(first)}")
    yield Line("point", f"a later run: {_figures(later)}")


def _figures(figures: Figures) -> str:
    parts = [f"{count:,} for {purpose}" for purpose, count in figures.by_purpose.items()]
    waited = f", {words.duration(figures.waited_s)} of it waiting" if figures.waited_s else ""
    return (
        f"{words.counted(figures.records, 'record')}, "
        f"{words.counted(figures.requests, 'request')} ({'; '.join(parts)}), "
        f"{words.duration(figures.seconds)}{waited}"
    )


def _use(use: Use) -> str:
    limit = f"{use.requests:,} in {words.duration(use.per_s)}"
    left = (
        f"{words.percent(use.headroom)} headroom"
        if use.headroom >= 0
        else f"{words.percent(-use.headroom)} too much"
    )
    return f"budget {use.budget}, {limit}: the schedule needs {words.percent(use.used)}, {left}"


def _request(asked: Asking) -> str:
    body = f" {asked.body}" if asked.body else ""
    return f"{asked.method} {asked.url}{body}"


def _section(name: str) -> Iterator[Line]:
    yield Line("blank")
    yield Line("heading", name)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
