"""Pictures as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from coffre.report.markup import Markup, element
from coffre.report.text import duration, milliseconds, size
from coffre.results import ReportedDay

HALF, WHOLE, HEIGHT = 460, 900, 230
"""Widths of pictures that stand beside each other, and of one that stands alone."""
LEFT, RIGHT, TOP, BOTTOM = 74, 18, 14, 30
Tell = Callable[[float], str]


@dataclass(frozen=True)
class _Axes:
    """From values to points; both axes begin at zero."""

    highest_x: float
    highest_y: float
    width: int = HALF

    def x(self, value: float) -> float:
        return LEFT + (self.width - LEFT - RIGHT) * value / self.highest_x

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.highest_y


def calendar(days: Sequence[ReportedDay]) -> Markup:
    """A month of days, each in the colour of its worst outcome and with the number of its backups."""
    side, gap, top = 58, 6, 26
    first = date.fromisoformat(days[0].date).weekday()
    weeks = (first + len(days) + 6) // 7
    parts: list[Markup] = [
        _text(name, 7 + n * (side + gap) + side / 2, 16, "middle")
        for n, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
    ]
    for number, day in enumerate(days):
        column, row = (first + number) % 7, (first + number) // 7
        x, y = 7 + column * (side + gap), top + row * (side + gap)
        tone, words = outcome(day)
        label = element("title", f"{day.date}: {words}")
        box = element("rect", label, x=x, y=y, width=side, height=side, rx=8, class_=f"day {tone}")
        count = str(day.taken + day.failed) if day.taken + day.failed else ""
        parts += [
            box,
            _text(str(number + 1), x + 8, y + 17, "start", "daynumber"),
            _text(count, x + side / 2, y + 42, "middle", "daycount"),
        ]
    width, height = 7 * (side + gap) + 8, top + weeks * (side + gap)
    return _svg("Backups of each day", width, height, parts)


def outcome(day: ReportedDay) -> tuple[str, str]:
    """A day's colour, and what happened in words."""
    told = [
        (day.failed, "failed"),
        (day.refuted, "refuted by their proof"),
        (day.inconclusive, "inconclusive"),
        (day.taken - day.proven - day.refuted - day.inconclusive, "not verified"),
        (day.proven, "proven"),
    ]
    words = ", ".join(f"{count} {what}" for count, what in told if count) or "no backup"
    tones = ("bad", "bad", "fair", "dim", "good")
    tone = next((tone for (count, _), tone in zip(told, tones, strict=True) if count), "none")
    return tone, words


def growth(days: Sequence[ReportedDay]) -> Markup:
    """The size of the database, as its backups saw it."""
    points = [(number, day.bytes) for number, day in enumerate(days, 1) if day.bytes is not None]
    if not points:
        return _nothing("no backup, so no size is known")
    axes = _Axes(len(days) + 0.5, _ceiling(max(value for _, value in points)))
    line = " ".join(f"{axes.x(n):.1f},{axes.y(v):.1f}" for n, v in points)
    area = f"{axes.x(points[0][0]):.1f},{axes.y(0):.1f} {line} {axes.x(points[-1][0]):.1f},{axes.y(0):.1f}"
    dots = [_dot(axes.x(n), axes.y(v), f"{days[n - 1].date}: {size(v)}", "dot") for n, v in points]
    shapes = [element("polygon", points=area, class_="area"), element("polyline", points=line, class_="line")]
    return _plot("Size of the database", axes, _days(axes, len(days)), size, [*shapes, *dots])


def stored(days: Sequence[ReportedDay]) -> Markup:
    """What each day's backups stored anew."""
    highest = max(day.new_bytes for day in days)
    if not highest:
        return _nothing("nothing new was stored")
    axes = _Axes(len(days) + 0.5, _ceiling(highest))
    width = (HALF - LEFT - RIGHT) / (len(days) + 1) * 0.72
    bars = [
        element(
            "rect",
            element("title", f"{day.date}: {size(day.new_bytes)} new"),
            x=f"{axes.x(number) - width / 2:.1f}",
            y=f"{axes.y(day.new_bytes):.1f}",
            width=f"{width:.1f}",
            height=f"{axes.y(0) - axes.y(day.new_bytes):.1f}",
            class_="bar",
        )
        for number, day in enumerate(days, 1)
        if day.new_bytes
    ]
    return _plot("New bytes stored", axes, _days(axes, len(days)), size, bars)


def health(days: Sequence[ReportedDay]) -> Markup:
    """The lowest and the mean score of each day."""
    known = [(n, day) for n, day in enumerate(days, 1) if day.lowest_score is not None]
    if not known:
        return _nothing("no score was recorded")
    axes = _Axes(len(days) + 0.5, 100)
    shapes = [
        _line(
            axes,
            (n, day.lowest_score or 0),
            (n, day.mean_score or 0),
            "range",
            element("title", f"{day.date}: {day.lowest_score:.0f} to {day.mean_score or 0:.0f} on average"),
        )
        for n, day in known
    ]
    shapes += [
        _dot(
            axes.x(n), axes.y(day.lowest_score or 0), f"{day.date}: lowest {day.lowest_score:.0f}", _tone(day)
        )
        for n, day in known
    ]
    return _plot("Health score", axes, _days(axes, len(days)), lambda value: f"{value:.0f}", shapes)


@dataclass(frozen=True)
class RestorePicture:
    """What the picture of restore times shows.

    Attributes
    ----------
    points:
        Bytes, seconds and what it was, of restores that were measured.
    base, per_second:
        The line through them: seconds of an empty database, bytes a second.
    size, expected:
        Bytes of the newest backup, and what its restore is expected to take.
    limit:
        The RTO in seconds.
    """

    points: Sequence[tuple[int, float, str]]
    base: float | None
    per_second: float | None
    size: int | None
    expected: float | None
    limit: float | None


def restores(picture: RestorePicture) -> Markup:
    """Measured restores by size, the line through them, the newest backup, and the RTO."""
    known = [(s, t) for s, t, _ in picture.points]
    if picture.size is not None and picture.expected is not None:
        known.append((picture.size, picture.expected))
    if not known:
        return _nothing("no restore was measured")
    furthest = max(s for s, _ in known) * 1.05 or 1
    highest = max(t for _, t in known)
    # A limit far above would press everything else flat.
    limit = picture.limit if picture.limit is not None and picture.limit < 6 * highest else None
    axes = _Axes(_ceiling(furthest), _ceiling(max(highest, limit or 0) * 1.1), WHOLE)
    shapes: list[Markup] = []
    if picture.base is not None:
        slope = 1 / picture.per_second if picture.per_second else 0.0
        end = min(axes.highest_x, (axes.highest_y - picture.base) / slope if slope else axes.highest_x)
        shapes.append(_line(axes, (0, picture.base), (end, picture.base + slope * end), "curve"))
    if limit is not None:
        shapes.append(_line(axes, (0, limit), (axes.highest_x, limit), "limit"))
        words = f"RTO {duration(limit)}"
        shapes.append(_text(words, WHOLE - RIGHT - 4, axes.y(limit) - 6, "end", "limitname"))
    shapes += [
        _dot(axes.x(s), axes.y(t), f"{what}: {size(s)} in {duration(t)}", what)
        for s, t, what in picture.points
    ]
    if picture.size is not None and picture.expected is not None:
        x, y = axes.x(picture.size), axes.y(picture.expected)
        words = f"the newest backup: {size(picture.size)}, expected {duration(picture.expected)}"
        shapes.append(_dot(x, y, words, "expected", radius=8))
    ticks = [(axes.x(value), size(value)) for value in _ticks(axes.highest_x)[:-1]]
    return _plot("Restore times by size", axes, ticks, duration, shapes)


def answers(
    title: str, points: Sequence[tuple[float, float, int]], stages: Sequence[tuple[str, float, float]]
) -> Markup:
    """How long answers took, and which were wrong, while stages of a test went on.

    Parameters
    ----------
    points:
        Seconds since the beginning, seconds that the slowest answer took, and how many were wrong.
    stages:
        Name, begin and end in seconds since the beginning.
    """
    if not points:
        return _nothing("nothing was asked")
    last = max([at for at, _, _ in points] + [ended for _, _, ended in stages])
    axes = _Axes(last * 1.01 or 1, _ceiling(max(seconds for _, seconds, _ in points) * 1.1), WHOLE)
    shapes: list[Markup] = []
    for name, began, ended in stages:
        begin, width = axes.x(began), axes.x(ended) - axes.x(began)
        label = element("title", f"{name}: {duration(ended - began)}")
        box = {"x": f"{begin:.1f}", "y": TOP, "width": f"{width:.1f}", "height": HEIGHT - TOP - BOTTOM}
        shapes.append(element("rect", label, **box, class_=f"stage {name}"))
        if width > 8 * len(name):  # a name that doesn't fit is told by pointing at its stage
            shapes.append(_text(name, begin + width / 2, TOP + 14, "middle"))
    line = " ".join(f"{axes.x(at):.1f},{axes.y(seconds):.1f}" for at, seconds, _ in points)
    shapes.append(element("polyline", points=line, class_="line"))
    shapes += [
        _dot(axes.x(at), axes.y(seconds), f"{at:.0f} s: {wrong} wrong", "bad")
        for at, seconds, wrong in points
        if wrong
    ]
    ticks = [(axes.x(value), duration(value)) for value in _ticks(axes.highest_x)[:-1]]
    return _plot(title, axes, ticks, milliseconds, shapes)


def _tone(day: ReportedDay) -> str:
    score = day.lowest_score or 0
    return "dot good" if score >= 90 else "dot fair" if score >= 60 else "dot bad"


def _plot(
    title: str, axes: _Axes, ticks: Sequence[tuple[float, str]], tell: Tell, shapes: Sequence[Markup]
) -> Markup:
    grid = []
    for value in (0.0, *_ticks(axes.highest_y)):
        grid.append(_line(axes, (0, value), (axes.highest_x, value), "grid"))
        grid.append(_text(tell(value), LEFT - 8, axes.y(value) + 4, "end"))
    below = [_text(name, x, HEIGHT - 8, "middle") for x, name in ticks]
    return _svg(title, axes.width, HEIGHT, [*grid, *below, *shapes])


def _svg(title: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    box = f"0 0 {width:.0f} {height:.0f}"
    return element(
        "svg", *parts, viewBox=box, role="img", aria_label=title, style=f"max-width:{width * 1.25:.0f}px"
    )


def _line(
    axes: _Axes, begin: tuple[float, float], end: tuple[float, float], kind: str, *content: Markup
) -> Markup:
    (x1, y1), (x2, y2) = begin, end
    return element(
        "line",
        *content,
        x1=f"{axes.x(x1):.1f}",
        y1=f"{axes.y(y1):.1f}",
        x2=f"{axes.x(x2):.1f}",
        y2=f"{axes.y(y2):.1f}",
        class_=kind,
    )


def _dot(x: float, y: float, words: str, kind: str, *, radius: int = 4) -> Markup:
    return element("circle", element("title", words), cx=f"{x:.1f}", cy=f"{y:.1f}", r=radius, class_=kind)


def _text(words: str, x: float, y: float, anchor: str, kind: str = "label") -> Markup:
    return element("text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=kind)


def _nothing(words: str) -> Markup:
    return element("p", words, class_="nothing")


def _days(axes: _Axes, count: int) -> list[tuple[float, str]]:
    return [(axes.x(number), str(number)) for number in range(1, count + 1) if number == 1 or number % 5 == 0]


def _ceiling(value: float) -> float:
    """The next round number that is at least ``value``."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)


def _ticks(highest: float) -> list[float]:
    return [highest * part / 4 for part in (1, 2, 3, 4)]
