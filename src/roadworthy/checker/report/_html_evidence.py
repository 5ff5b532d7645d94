"""Evidence as HTML: exchanges, lines, tables, and a timeline that is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..verdict import Evidence, Lines, Point, Table, Timeline, WireExchange
from ._markup import Markup, many, tag

__all__ = ("evidence",)

_MOST_LINES = 200
_WIDTH = 640
_NAMES = 168
_RADIUS = 7
_LANE = 30
_TOP = 8


def evidence(each: Evidence) -> Markup:
    """Return one piece of evidence."""
    match each:
        case WireExchange():
            return _exchange(each)
        case Lines():
            return _lines(each)
        case Table():
            return _table(each)
        case Timeline():
            return _timeline(each)


def _exchange(each: WireExchange) -> Markup:
    title = f"{each.request.partition(chr(10))[0][:100]} · {each.seconds * 1000:.0f} ms"
    return tag(
        "details",
        tag("summary", tag("span", each.note or "exchange", class_="kind"), tag("code", title)),
        tag(
            "div",
            tag("pre", each.request, class_="sent", aria_label="request"),
            tag("pre", each.response, class_="came", aria_label="response"),
            class_="pair",
        ),
        tag("pre", each.curl, class_="replay", aria_label="command to send it again"),
        class_="evidence",
    )


def _lines(each: Lines) -> Markup:
    shown = "\n".join(each.lines[:_MOST_LINES])
    left = len(each.lines) - _MOST_LINES
    return tag(
        "details",
        tag("summary", tag("span", "lines", class_="kind"), f"{each.title} ({len(each.lines)})"),
        tag("pre", shown + (f"\n… and {left} more" if left > 0 else "")),
        class_="evidence",
    )


def _table(each: Table) -> Markup:
    head = tag("tr", *(tag("th", column, scope="col") for column in each.columns))
    rows = [tag("tr", *(tag("td", cell) for cell in row)) for row in each.rows]
    return tag(
        "figure",
        tag("figcaption", each.title),
        tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="scroll"),
        class_="evidence",
    )


def _timeline(each: Timeline) -> Markup:
    """Draw lanes over time; each mark has a number, and the list below explains it."""
    lanes = list(dict.fromkeys(point.lane for point in each.points))
    runs = _runs(each.points)
    start = min((run.first for run in runs), default=0.0)
    end = max((run.last for run in runs), default=0.0)
    scale = _Scale(min(start, 0.0), max(end, start + 0.001))
    bottom = _TOP + _LANE * len(lanes)
    drawing = tag(
        "svg",
        *_axis(scale, bottom),
        *(_lane(name, index) for index, name in enumerate(lanes)),
        *_marks(runs, lanes, scale),
        viewBox=f"0 0 {_WIDTH} {bottom + 24}",
        role="img",
        aria_label=each.title,
        class_="timeline",
    )
    return tag(
        "figure",
        tag("figcaption", each.title),
        tag("div", drawing, class_="scroll"),
        tag("ol", *map(_point, runs), class_="points"),
        class_="evidence",
    )


@dataclass(slots=True)
class _Run:
    """The same thing over and over in one lane: twenty answers of 503 are one bar."""

    lane: str
    text: str
    first: float
    last: float
    count: int = 1


def _runs(points: Iterable[Point]) -> list[_Run]:
    found: list[_Run] = []
    latest: dict[str, _Run] = {}
    for point in sorted(points, key=lambda point: point.at):
        end = point.at if point.until is None else point.until
        run = latest.get(point.lane)
        if run is not None and run.text == point.text:
            run.last, run.count = max(run.last, end), run.count + 1
        else:
            run = _Run(point.lane, point.text, point.at, end)
            latest[point.lane] = run
            found.append(run)
    return found


class _Scale:
    """Seconds to the drawing's units."""

    def __init__(self, first: float, last: float) -> None:
        self.first, self.last = first, last
        span = last - first
        self.step = next(step for step in _STEPS if span / step <= 7)

    def x(self, at: float) -> float:
        return _NAMES + (at - self.first) / (self.last - self.first) * (_WIDTH - _NAMES - 16)


_STEPS = [unit * factor for unit in (0.001, 0.01, 0.1, 1, 10, 100, 1000, 10_000) for factor in (1, 2, 5)] + [
    float("inf")
]


def _axis(scale: _Scale, bottom: int) -> list[Markup]:
    found: list[Markup] = []
    tick = -(-scale.first // scale.step) * scale.step + 0.0
    while tick <= scale.last:
        x = f"{scale.x(tick):.1f}"
        found.append(
            tag("line", x1=x, x2=x, y1=str(_TOP - 4), y2=str(bottom), class_="zero" if tick == 0 else "grid")
        )
        found.append(tag("text", f"{tick:g} s", x=x, y=str(bottom + 16), class_="tick"))
        tick = round(tick + scale.step, 9)
    return found


def _lane(name: str, index: int) -> Markup:
    y = _TOP + _LANE * index + _LANE / 2
    short = name if len(name) <= 26 else f"{name[:25]}…"
    return many(
        tag("line", x1=str(_NAMES), x2=str(_WIDTH - 16), y1=f"{y:g}", y2=f"{y:g}", class_="lane"),
        tag("text", short, x="0", y=f"{y + 4:g}", class_="name"),
    )


def _marks(runs: Iterable[_Run], lanes: list[str], scale: _Scale) -> Iterator[Markup]:
    taken = dict.fromkeys(lanes, 0.0)
    for number, run in enumerate(runs, 1):
        y = _TOP + _LANE * lanes.index(run.lane) + _LANE / 2
        start, end = scale.x(run.first), scale.x(run.last)
        # Two marks at the same moment stand beside each other.
        x = max(start, taken[run.lane] + 2 * _RADIUS + 1)
        taken[run.lane] = x
        width = f"{max(end - start, 0):.1f}"
        yield tag(
            "g",
            tag("title", f"{run.first:+.3f} s {run.text}"),
            tag("rect", x=f"{start:.1f}", y=f"{y - 5:g}", width=width, height="10", rx="3", class_="span"),
            tag("circle", cx=f"{x:.1f}", cy=f"{y:g}", r=str(_RADIUS), class_="moment"),
            tag("text", str(number), x=f"{x:.1f}", y=f"{y + 3.5:g}", class_="number"),
        )


def _point(run: _Run) -> Markup:
    until = f" … {run.last:+.3f} s" if run.last - run.first >= 0.001 else ""
    return tag(
        "li",
        tag("span", f"{run.first:+.3f} s{until}", class_="at"),
        tag("span", run.lane, class_="who"),
        run.text if run.count == 1 else f"{run.text} ({run.count} times)",
    )
