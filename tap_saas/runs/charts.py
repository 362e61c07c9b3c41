"""Charts as HTML with inline SVG: shapes stretch with the page, texts keep their size."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import msgspec

from tap_saas.runs.words import Axis

SIDE = 1_000  # of a drawing, in its own units: it is stretched to the size of its place
COLOURS = 6


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """Values over time: `values[i]` holds from `edges[i]` to `edges[i + 1]` of the chart.

    `colour` is a number from 1 to `COLOURS`, `note` is shown beside the label.
    """

    label: str
    values: Sequence[float]
    colour: int = 1
    note: str = ""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar: its label, its length on the axis, and the text of its value."""

    label: str
    value: float
    text: str
    colour: int = 1


def figure(title: str, note: str, inner: str) -> str:
    """A chart with its title and a line that says what is seen."""
    return (
        f'<figure class="card"><figcaption><h3>{escape(title)}</h3>'
        f"<p>{escape(note)}</p></figcaption>{inner}</figure>"
    )


def stacked(edges: Sequence[float], layers: Sequence[Layer], x: Axis, y: Axis) -> str:
    """Areas on top of each other."""
    base = [0.0] * (len(edges) - 1)
    shapes = []
    for layer in layers:
        top = [low + value for low, value in zip(base, layer.values, strict=True)]
        points = [*_steps(edges, top, x, y), *reversed(_steps(edges, base, x, y))]
        shapes.append(f'<polygon class="area c{layer.colour}" points="{" ".join(points)}"/>')
        base = top
    shapes += [_outline(edges, base, x, y, layers[0].colour)] if len(layers) == 1 else []
    return _legend(layers) + _plot(shapes, x, y, _titles(edges, layers, x, y))


def lines(edges: Sequence[float], layers: Sequence[Layer], x: Axis, y: Axis, limit: float) -> str:
    """Lines, and the limit that they stay under."""
    shapes = [_outline(edges, layer.values, x, y, layer.colour) for layer in layers]
    at = _down(limit, y)
    shapes.append(f'<line class="limit" x1="0" x2="{SIDE}" y1="{at}" y2="{at}"/>')
    return _legend(layers) + _plot(shapes, x, y, _titles(edges, layers, x, y))


def bars(found: Sequence[Bar], axis: Axis) -> str:
    """Bars from left to right, one a line, with an axis below."""
    rows = "".join(
        f"<li><span>{escape(bar.label)}</span>"
        f'<svg viewBox="0 0 {SIDE} 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="c{bar.colour}" width="{_along(bar.value, axis)}" height="1"/></svg>'
        f"<b>{escape(bar.text)}</b></li>"
        for bar in found
    )
    marks = _marks(axis, "left")
    return (
        f'<ul class="bars">{rows}<li class="scale"><span></span><div class="x">{marks}</div>'
        f'<b></b></li></ul><p class="unit">{escape(axis.unit)}</p>'
    )


def columns(found: Sequence[Bar], y: Axis, first: str, last: str) -> str:
    """Columns side by side, each as wide as the others; what the first and the last one are."""
    width = SIDE / max(len(found), 1)
    shapes = [
        f'<rect class="c{bar.colour}" x="{i * width + width * 0.1:.1f}" width="{width * 0.8:.1f}" '
        f'y="{_down(bar.value, y)}" height="{SIDE - _down(bar.value, y):.1f}">'
        f"<title>{escape(bar.label)}: {escape(bar.text)}</title></rect>"
        for i, bar in enumerate(found)
    ]
    x = Axis(1.0, [], "")
    ends = f'<p class="ends"><span>{escape(first)}</span><span>{escape(last)}</span></p>'
    return _plot(shapes, x, y, "") + ends


def _plot(shapes: Sequence[str], x: Axis, y: Axis, titles: str) -> str:
    grid = "".join(
        f'<line class="grid" x1="0" x2="{SIDE}" y1="{_down(at, y)}" y2="{_down(at, y)}"/>'
        for at, _ in y.ticks
    )
    width = max(len(label) for _, label in y.ticks)
    unit = f'<p class="unit">{escape(x.unit)}</p>' if x.unit else ""
    return (
        f'<p class="y-unit">{escape(y.unit)}</p><div class="plot" style="--y: {width}ch">'
        f'<div class="y">{_marks(y, "bottom")}</div>'
        f'<svg viewBox="0 0 {SIDE} {SIDE}" preserveAspectRatio="none" role="img">'
        f"{grid}{''.join(shapes)}{titles}</svg>"
        f'<div class="x">{_marks(x, "left")}</div></div>{unit}'
    )


def _marks(axis: Axis, side: str) -> str:
    return "".join(
        f'<span style="{side}: {at / axis.top * 100:.2f}%">{escape(label)}</span>'
        for at, label in axis.ticks
    )


def _legend(layers: Sequence[Layer]) -> str:
    if len(layers) == 1 and not layers[0].note:
        return ""
    items = "".join(
        f'<li><i class="c{layer.colour}"></i>{escape(layer.label)} <b>{escape(layer.note)}</b></li>'
        for layer in layers
    )
    return f'<ul class="legend">{items}</ul>'


def _steps(edges: Sequence[float], values: Sequence[float], x: Axis, y: Axis) -> list[str]:
    points = []
    for i, value in enumerate(values):
        height = _down(value, y)
        points += [f"{_along(edges[i], x)},{height}", f"{_along(edges[i + 1], x)},{height}"]
    return points


def _outline(edges: Sequence[float], values: Sequence[float], x: Axis, y: Axis, colour: int) -> str:
    points = " ".join(_steps(edges, values, x, y))
    return f'<polyline class="line c{colour}" points="{points}"/>'


def _titles(edges: Sequence[float], layers: Sequence[Layer], x: Axis, y: Axis) -> str:
    """What a browser shows over a part of the chart: the instant and the values."""
    parts = []
    for i in range(len(edges) - 1):
        left, right = _along(edges[i], x), _along(edges[i + 1], x)
        said = "; ".join(f"{layer.label} {layer.values[i]:,.3g}" for layer in layers)
        parts.append(
            f'<rect class="hover" x="{left}" width="{max(right - left, 0):.1f}" height="{SIDE}">'
            f"<title>{escape(f'{edges[i]:,.1f} s: {said} {y.unit}')}</title></rect>"
        )
    return "".join(parts)


def _along(value: float, axis: Axis) -> float:
    return round(min(max(value / axis.top, 0.0), 1.0) * SIDE, 1)


def _down(value: float, axis: Axis) -> float:
    return round(SIDE - min(max(value / axis.top, 0.0), 1.0) * SIDE, 1)
