"""Pictures as lists of boxes, lines and words with their places; the templates print them.

It decides where things go and what they are called; colours are the style sheet's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fuzz.report.scale import Scale
from fuzz.report.timeline import (
    FREE,
    HEADER,
    LIVE,
    OWN,
    SLACK,
    Life,
    Timeline,
    place_text,
)

WIDTH, LEFT, RIGHT = 960.0, 76.0, 16.0
_ROOM = 9  # letters on the left
_LANE, _GAP = 44.0, 22.0
_LETTER = 7.2  # width of a letter in a label, roughly
_MANY = 8  # blocks to each side in a close view


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: `style` names classes of the style sheet, `title` is its tooltip.

    It is there in the states born <= s < died.
    """

    x: float
    y: float
    width: float
    height: float
    style: str
    title: str = ""
    label: str = ""
    born: int = 0
    died: int = 1 << 31


@dataclass(frozen=True, slots=True)
class Word:
    """A text at a place; `anchor` is start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "middle"
    style: str = "tick"


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    style: str

    @property
    def path(self) -> str:
        """As SVG's polyline takes it."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass
class Drawing:
    """A picture of `height` units, WIDTH wide; `says` is what it shows, in words."""

    height: float
    says: str
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    width: float = WIDTH
    left: float = LEFT
    step: float = 0.0


# ---- the heap over time ----


def over_time(shown: Timeline, height: float = 340.0) -> Drawing:
    """Operations from left to right, addresses from the bottom up, a box for each block's life."""
    states = shown.last - shown.first + 1
    step = (WIDTH - LEFT - RIGHT) / states
    top = _LANE + _GAP + 14
    drawing = Drawing(top + height + 40, _says(shown), step=step)
    scale = _scale(shown)
    if shown.violation is not None:
        _mark(drawing, shown, step, top, height)
    for life in sorted(shown.lives, key=_depth):
        start, length = scale.span(life.low, life.high)
        x, width = _columns(shown, life.born, life.died, step)
        tall = max(length * height, 1.2)
        y = top + height - start * height - tall
        drawing.boxes.append(_box(shown, life, x, y, width, tall))
    _lane(drawing, shown, step)
    _pages(drawing, shown, step, top + height)
    _addresses(drawing, scale, top, height)
    _operations(drawing, shown, step, top + height)
    return drawing


def _scale(shown: Timeline) -> Scale:
    """To scale where blocks live; space that is only ever free is cut short."""
    live = [(life.low, life.high) for life in shown.lives if life.kind == LIVE]
    return Scale(live, [(life.low, life.high) for life in shown.lives])


def _columns(shown: Timeline, born: int, died: int, step: float) -> tuple[float, float]:
    first = max(born, shown.first) - shown.first
    last = min(died, shown.last + 1) - shown.first
    return LEFT + first * step, max((last - first) * step - min(1.0, step / 4), 0.8)


def _depth(life: Life) -> tuple[int, int]:
    """Free and own space lies below live blocks, large live blocks below small ones."""
    return {FREE: 0, OWN: 1, LIVE: 2}[life.kind], life.low - life.high


def _box(shown: Timeline, life: Life, x: float, y: float, width: float, height: float) -> Box:
    label = f"p{life.name}" if life.name is not None else ""
    fits = height >= 11 and width >= _LETTER * len(label) + 4
    return Box(
        x, y, width, height, style_of(shown, life), title_of(shown, life),
        label if fits else "", life.born, life.died,
    )  # fmt: skip


def style_of(shown: Timeline, life: Life) -> str:
    """Classes: what it is, and whether the violation names it."""
    return f"{life.kind} named" if life.name in shown.named else life.kind


def title_of(shown: Timeline, life: Life) -> str:
    """A life in words."""
    where = f"{place_text(life.low)}..{place_text(life.high)}"
    if life.kind == FREE:
        return f"free: {life.high - life.low} bytes at {where}"
    if life.kind == OWN:
        return f"the allocator's own, or lost: {life.high - life.low} bytes at {where}"
    made = f"made by operation {life.born - 1}" if life.born else "there from the start"
    return f"p{life.name}: {life.size} bytes; block {where}, {made}"


def _mark(drawing: Drawing, shown: Timeline, step: float, top: float, height: float) -> None:
    """The column of the violating operation."""
    assert shown.violation is not None
    at = min(shown.violation.op + 1, shown.last) - shown.first
    x = LEFT + at * step
    width = max(step, 3.0)
    title = f"operation {shown.violation.op} breaks {shown.violation.rule}"
    drawing.boxes.append(Box(x, top - 8, width, height + 16, "violation", title))
    anchor = "end" if x > WIDTH * 0.8 else "start" if x < LEFT + 60 else "middle"
    place = x + width if anchor == "end" else x if anchor == "start" else x + width / 2
    drawing.words.append(
        Word(place, top - 12, f"\N{BLACK DOWN-POINTING TRIANGLE} {shown.violation.rule}",
             anchor, "verdict")
    )  # fmt: skip


def _lane(drawing: Drawing, shown: Timeline, step: float) -> None:
    """Bytes granted and bytes in use above the heap."""
    most = max(*shown.held, *shown.in_use, 1)

    def stairs(values: Sequence[int]) -> Iterator[tuple[float, float]]:
        for index, value in enumerate(values):
            y = 6 + _LANE * (1 - value / most)
            yield LEFT + index * step, y
            yield LEFT + (index + 1) * step, y

    if any(shown.held):
        drawing.lines.append(Line(tuple(stairs(shown.held)), "held"))
    drawing.lines.append(Line(tuple(stairs(shown.in_use)), "in-use"))
    drawing.words.append(Word(LEFT - 8, 14, bytes_text(most), "end"))
    drawing.words.append(Word(LEFT - 8, _LANE + 8, "0", "end"))


def _pages(drawing: Drawing, shown: Timeline, step: float, bottom: float) -> None:
    """A mark below each operation that asked for pages."""
    for each in shown.steps:
        if each.asked_pages or each.refused:
            x = LEFT + (each.index + 1 - shown.first) * step
            told = "asked for pages, refused" if each.refused else "asked for pages"
            style = "refused" if each.refused else "pages"
            title = f"operation {each.index} ({each.text}) {told}"
            wide = min(max(step - 1, 2.0), 10.0)
            drawing.boxes.append(Box(x, bottom + 4, wide, 7, style, title))


def _short(place: str) -> str:
    """As much of an address, from its end, as there is room for."""
    return place if len(place) <= _ROOM else "\N{HORIZONTAL ELLIPSIS}" + place[1 - _ROOM :]


def _addresses(drawing: Drawing, scale: Scale, top: float, height: float) -> None:
    """The ends of each run of addresses; dots where addresses are not to scale."""
    last = 1e9
    for run in scale.runs:
        low, high = top + height * (1 - run.start), top + height * (1 - run.end)
        if run.is_break:
            drawing.words.append(Word(LEFT - 4, (low + high) / 2 + 4, "\N{VERTICAL ELLIPSIS}"))
            continue
        drawing.lines.append(Line(((LEFT - 4, low), (LEFT - 4, high)), "axis"))
        for address, y in ((run.low, low), (run.high, high)):
            if last - y >= 12:
                drawing.words.append(Word(LEFT - 8, y + 4, _short(place_text(address)), "end"))
                last = y


def _operations(drawing: Drawing, shown: Timeline, step: float, bottom: float) -> None:
    """Numbers of operations under the picture."""
    every = 1
    while every * step < 34:
        every *= 5 if str(every)[0] == "1" else 2
    for state in range(shown.first, shown.last + 1):
        if state and not (state - 1) % every:
            x = LEFT + (state - shown.first + 0.5) * step
            drawing.words.append(Word(x, bottom + 24, str(state - 1)))
    drawing.words.append(Word(LEFT, bottom + 37, "operation \N{RIGHTWARDS ARROW}", "start", "name"))


def _says(shown: Timeline) -> str:
    live = sum(life.kind == LIVE for life in shown.lives)
    text = f"The heap over {shown.last - shown.first} operations, {live} blocks."
    if shown.violation is None:
        return text
    return f"{text} Operation {shown.violation.op} breaks the rule {shown.violation.rule}."


# ---- one state, from left to right ----

STRIP = 74.0


def every_state(shown: Timeline) -> Drawing:
    """All states in one strip: each box knows when it is there."""
    drawing = Drawing(STRIP, "The heap after the chosen operation.", left=8)
    scale = _scale(shown)
    _strip(drawing, shown, shown.lives, scale)
    return drawing


def close_up(shown: Timeline, state: int, says: str) -> Drawing:
    """One state, the neighbourhood of what the violation is about; whole where that is small."""
    window = _window(shown)
    drawing = Drawing(STRIP, says, left=8)
    lives = [life for life in shown.at(state) if life.low < window[1] and life.high > window[0]]
    _strip(drawing, shown, lives, Scale([window]))
    return drawing


def _window(shown: Timeline) -> tuple[int, int]:
    """Addresses around the named blocks that hold a few neighbours on each side."""
    broken = shown.broken or shown.last
    near = [life for life in shown.lives if life.seen(broken) or life.seen(broken - 1)]
    if not near:
        return 0, 1
    marked = [life for life in near if life.name in shown.named]
    if not marked:
        marked = [max(near, key=lambda life: (life.kind == LIVE, life.born))]
    low, high = min(life.low for life in marked), max(life.high for life in marked)
    wide = max(high - low, 64)
    below = sorted((life.low for life in near if life.low < low), reverse=True)[:_MANY]
    above = sorted(life.high for life in near if life.high > high)[:_MANY]
    low = max([low - wide, *below[-1:]]) if below else low
    high = min([high + wide, *above[-1:]]) if above else high
    return low, max(high, low + 1)


def _strip(drawing: Drawing, shown: Timeline, lives: Sequence[Life], scale: Scale) -> None:
    y, tall = 20.0, 30.0
    for life in sorted(lives, key=_depth):
        boxes = [_part(shown, life, part, scale, y, tall) for part in _parts(life)]
        drawing.boxes += boxes
        if life.name is not None and not any(box.label for box in boxes):
            _name_above(drawing, shown, life, scale)
    _below(drawing, scale, y + tall)


def _parts(life: Life) -> Sequence[tuple[int, int, str]]:
    return life.parts or ((life.low, life.high, life.kind),)


def _across(scale: Scale, low: int, high: int) -> tuple[float, float]:
    """Place and width of addresses in a strip."""
    start, length = scale.span(low, high)
    return 8 + start * (WIDTH - 16), length * (WIDTH - 16)


def _part(
    shown: Timeline, life: Life, part: tuple[int, int, str], scale: Scale, y: float, tall: float
) -> Box:
    low, high, what = part
    x, width = _across(scale, low, high)
    style, title, label = style_of(shown, life), title_of(shown, life), ""
    if life.kind == LIVE:
        style = f"{style} {what}"
    if what in (HEADER, SLACK):
        title = f"{what} of p{life.name}: {high - low} bytes"
    else:
        label = _label(life, width)
    return Box(x, y, max(width, 0.8), tall, style, title, label, life.born, life.died)


def _name_above(drawing: Drawing, shown: Timeline, life: Life, scale: Scale) -> None:
    """The name of a block whose payload has no room for it; beside those that are there already."""
    x, width = _across(scale, life.low, life.high)
    text = f"p{life.name}"
    needed = _LETTER * len(text)
    if "named" not in style_of(shown, life) and width < needed:
        return
    x = min(max(x + width / 2 - needed / 2, 0), WIDTH - needed)
    for box in drawing.boxes:
        together = box.born < life.died and life.born < box.died
        if box.style == "over" and together and box.x - needed < x < box.x + box.width:
            x = box.x + box.width + 4
    drawing.boxes.append(Box(x, 5, needed, 14, "over", "", text, life.born, life.died))


def _below(drawing: Drawing, scale: Scale, y: float) -> None:
    """Addresses under a strip."""
    reached = 0.0
    for run in scale.runs:
        x, end = 8 + run.start * (WIDTH - 16), 8 + run.end * (WIDTH - 16)
        if run.is_break:
            drawing.words.append(Word((x + end) / 2, y + 8, "\N{MIDLINE HORIZONTAL ELLIPSIS}"))
            continue
        drawing.lines.append(Line(((x, y + 5), (end, y + 5)), "axis"))
        for address, place, anchor in ((run.low, x, "start"), (run.high, end, "end")):
            text = place_text(address)
            left = place if anchor == "start" else place - _LETTER * len(text)
            if left >= reached:
                drawing.words.append(Word(place, y + 18, text, anchor))
                reached = left + _LETTER * len(text) + 10


def _label(life: Life, width: float) -> str:
    """As much of `p3 128` as there is room for."""
    if life.kind != LIVE:
        size = f"{life.kind} {life.high - life.low}" if life.kind == FREE else ""
        return size if width > _LETTER * len(size) + 6 else ""
    for text in (f"p{life.name} \N{MIDDLE DOT} {life.size}", f"p{life.name}"):
        if width > _LETTER * len(text) + 6:
            return text
    return ""


def bytes_text(count: int) -> str:
    """A number of bytes in a few letters: 512 B, 64 KiB."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} B"
