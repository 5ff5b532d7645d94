"""A strict reader of what Prometheus scrapes: its samples, its families, and every breach of the format.

The rules are those of Prometheus' "Exposition formats" (text 0.0.4, 1.0.0) and of OpenMetrics 1.0; where the
two differ, the media type selects one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

__all__ = ("Exposition", "Family", "Sample", "Samples", "Value", "read_exposition", "total")

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_META_NAME = rf'({_NAME}|"(?:[^"\\]|\\.)+")'
_META = re.compile(rf"#[ \t]+(HELP|TYPE|UNIT)[ \t]+{_META_NAME}(?:[ \t]+(.*?)[ \t]*)?")
_OPEN_META = re.compile(rf"# (HELP|TYPE|UNIT) {_META_NAME} (.*)")
"""Between two words stands one blank in OpenMetrics, and any number of blanks and tabs in the text format."""
_HEAD = re.compile(_NAME)
_BLANKS = re.compile(r"[ \t]*")
# What a text in quotes is made of, up to the next escape or its end.
_PLAIN = re.compile(r'[^"\\]+')
_NUMBER = re.compile(
    r"[+-]?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?|inf(?:inity)?)|[+-]?nan", re.I | re.ASCII
)
_OPEN_VALUE = re.compile(r" (\S+)(?: (\S+))?(?: # (\{.*))?")
_TIME, _OPEN_TIME = (
    re.compile(r"-?\d+", re.ASCII),
    re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.I | re.ASCII),
)
_LONGEST_EXEMPLAR = 128
"""Characters of the names and values of an exemplar's labels (OpenMetrics 1.0, "Exemplars")."""
_TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}
_OPEN_TYPES = {"counter", "gauge", "histogram", "summary", "unknown", "info", "stateset", "gaugehistogram"}
_SUFFIXES = {
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "summary": ("_sum", "_count", "_created"),
    "counter": ("_total", "_created"),
    "info": ("_info",),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """Name and labels of one series, the labels in order."""

    name: str
    labels: tuple[tuple[str, str], ...]

    def label(self, *names: str) -> str:
        """Return the value of the first of these labels that it has, or nothing."""
        known = dict(self.labels)
        return next((known[name] for name in names if name in known), "")


Samples: TypeAlias = Mapping[Sample, float]


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a series on one line.

    Parameters:
        line: its number in the text, from 1.
    """

    sample: Sample
    value: float
    line: int


@dataclass(slots=True)
class Family:
    """The samples of one name, with its HELP, TYPE and UNIT."""

    name: str
    type: str = ""
    help: str | None = None
    unit: str | None = None
    values: list[Value] = field(default_factory=list[Value])


@dataclass(slots=True)
class Exposition:
    """What was read.

    Parameters:
        samples: the value of each series, in the order of the text; the last where it is repeated.
        families: the samples of each name with its HELP, TYPE and UNIT, to be judged.
        problems: what is wrong: the number of a line and words. Such a line has no sample.
        is_open_metrics: whether it is in the stricter format.
    """

    samples: dict[Sample, float] = field(default_factory=dict[Sample, float])
    families: dict[str, Family] = field(default_factory=dict[str, Family])
    problems: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    is_open_metrics: bool = False

    @property
    def is_scraped(self) -> bool:
        """Whether Prometheus reads it whole in spite of the problems.

        Its parser of the text format takes HELP and TYPE as they come, and samples in any order.
        """
        return not self.is_open_metrics and all(_TOLERATED.search(text) for _, text in self.problems)


_TOLERATED = re.compile(r"^a second (?:HELP|TYPE) of |is not in one group|comes after its samples$")


class _Malformed(Exception):
    """A line that cannot be read."""


def read_exposition(data: bytes, media_type: str = "text/plain") -> Exposition:
    """Read a scrape and note every breach of the format; the lines that keep to it are read all the same.

    Parameters:
        media_type: that of the answer; OpenMetrics is read by its own rules.
    """
    reader = _Reader("openmetrics" in media_type)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        reader.wrong(data[: error.start].count(b"\n") + 1, "is not UTF-8")
        text = data.decode("utf-8", "replace")
    lines = text.split("\n")
    if lines[-1]:
        reader.wrong(len(lines), "the last line does not end with a line feed")
    else:
        lines.pop()
    for number, line in enumerate(lines, 1):
        reader.line(number, line)
    reader.end(len(lines))
    return reader.found


def total(samples: Samples, name: str, **labels: str) -> float:
    """Add up the series of a name that have these labels; a value may be a pattern such as ``5..``."""
    return sum(
        value
        for sample, value in samples.items()
        if sample.name == name
        and all(re.fullmatch(pattern, sample.label(label)) for label, pattern in labels.items())
    )


class _Reader:
    def __init__(self, openmetrics: bool) -> None:
        self.found = Exposition(is_open_metrics=openmetrics)
        self._open = openmetrics
        self._current = ""
        self._finished: set[str] = set()
        self._seen: dict[Sample, int] = {}
        self._ended = False

    def wrong(self, number: int, text: str) -> None:
        self.found.problems.append((number, text))

    def line(self, number: int, line: str) -> None:
        if self._ended:
            self.wrong(number, "comes after # EOF")
        elif line == "# EOF" and self._open:
            self._ended = True
        elif (line if self._open else line.lstrip(" \t")).startswith("#"):
            self._meta(number, line if self._open else line.strip(" \t"))
        elif line.strip(" \t"):
            try:
                self._sample(number, line)
            except _Malformed as problem:
                self.wrong(number, str(problem))
        elif self._open:
            self.wrong(number, "is empty, which OpenMetrics does not allow")

    def end(self, last: int) -> None:
        if self._open and not self._ended:
            self.wrong(last, "OpenMetrics must end with # EOF")
        for family in self.found.families.values():
            for number, text in _shape(family):
                self.wrong(number, text)
        self.found.problems.sort()

    def _family(self, number: int, name: str) -> Family:
        if name != self._current:
            if self._current:
                self._finished.add(self._current)
            if name in self._finished:
                self.wrong(number, f"{name} is not in one group: other names stand in between")
            self._current = name
        return self.found.families.setdefault(name, Family(name))

    def _meta(self, number: int, line: str) -> None:
        match = (_OPEN_META if self._open else _META).fullmatch(line)
        if match is None:
            if self._open or re.match(r"#[ \t]+(HELP|TYPE)\b", line):
                self.wrong(number, "is a comment that cannot be read")
            return
        kind, name, text = match[1], match[2].strip('"'), match[3] or ""
        if kind == "UNIT" and not self._open:
            return
        family = self._family(number, name)
        if family.values:
            self.wrong(number, f"{kind} of {name} comes after its samples")
        if kind == "TYPE":
            if family.type:
                self.wrong(number, f"a second TYPE of {name}")
            if text not in (_OPEN_TYPES if self._open else _TYPES):
                self.wrong(number, f"TYPE of {name} is unknown")
            family.type = text
        elif kind == "HELP":
            if family.help is not None:
                self.wrong(number, f"a second HELP of {name}")
            family.help = text
        else:
            family.unit = text

    def _sample(self, number: int, line: str) -> None:
        name, labels, rest = _series(line if self._open else line.strip(" \t"), is_loose=not self._open)
        if self._open and re.search(r",\}$", line[: len(line) - len(rest)]):
            self.wrong(number, "has a comma behind its last label, which OpenMetrics does not allow")
        words, exemplar = self._words(rest, bool(labels))
        if not _NUMBER.fullmatch(words[0]):
            raise _Malformed(f"the value of {name} is no number")
        if len(words) == 2 and not (_OPEN_TIME if self._open else _TIME).fullmatch(words[1]):
            raise _Malformed(f"the timestamp of {name} is invalid")
        if exemplar:
            self._exemplar(number, name, exemplar)
        sample = Sample(name, tuple(sorted(labels)))
        if len(dict(labels)) < len(labels):
            self.wrong(number, f"{name} has a label twice")
        before = self._seen.setdefault(sample, number)
        if before != number:
            self.wrong(number, f"repeats the series of line {before}")
        value = self.found.samples[sample] = float(words[0])
        self._family(number, self._base(name)).values.append(Value(sample, value, number))

    def _words(self, rest: str, has_labels: bool) -> tuple[list[str], str]:
        """Return the value and the time, if there is one, and the exemplar behind them."""
        if self._open:
            match = _OPEN_VALUE.fullmatch(rest)
            words = [word for word in match.groups()[:2] if word] if match else []
            exemplar = (match[3] or "") if match else ""
        else:
            words, exemplar = rest.split(), ""
        # A brace ends the name as a blank does.
        if not 1 <= len(words) <= 2 or not (rest.startswith((" ", "\t")) or has_labels):
            raise _Malformed("has no value, or more than a value and a time")
        return words, exemplar

    def _exemplar(self, number: int, name: str, text: str) -> None:
        """Read labels, a value and perhaps a time behind a sample (OpenMetrics 1.0, "ABNF": exemplar)."""
        try:
            labels, at = _labels(text, 1, is_loose=False)
        except _Malformed as problem:
            self.wrong(number, f"the exemplar of {name} cannot be read: {problem}")
            return
        words = text[at:].split(" ")[1:]
        good = 1 <= len(words) <= 2 and _NUMBER.fullmatch(words[0]) and text[at : at + 1] == " "
        if not good or (len(words) == 2 and not _OPEN_TIME.fullmatch(words[1])):
            self.wrong(number, f"the exemplar of {name} has no value, or more than a value and a time")
        if sum(len(key) + len(value) for key, value in labels if key) > _LONGEST_EXEMPLAR:
            self.wrong(number, f"the exemplar of {name} has more than {_LONGEST_EXEMPLAR} characters")

    def _base(self, name: str) -> str:
        """Return the family that a sample's name belongs to."""
        families = self.found.families
        if name in families:
            return name
        for kind, suffixes in _SUFFIXES.items():
            for suffix in suffixes:
                base = name.removesuffix(suffix)
                if base != name and base in families and families[base].type == kind:
                    return base
        return name


def _series(line: str, *, is_loose: bool) -> tuple[str, list[tuple[str, str]], str]:
    """Take the name and the labels off a line; return what is behind them.

    Parameters:
        is_loose: blanks may stand between any two parts.
    """
    match = _HEAD.match(line)
    name, at = (match[0], match.end()) if match else ("", 0)
    brace = _BLANKS.match(line, at) if is_loose else None
    brace_at = brace.end() if brace else at
    if not line.startswith("{", brace_at):
        if not name:
            raise _Malformed("does not begin with a name")
        return name, [], line[at:]
    labels, at = _labels(line, brace_at + 1, is_loose=is_loose)
    # Names with any characters stand in quotes among the labels (text 1.0.0, OpenMetrics 2).
    quoted = next((value for key, value in labels if not key), "")
    if not (name or quoted):
        raise _Malformed("does not begin with a name")
    return name or quoted, [pair for pair in labels if pair[0]], line[at:]


def _labels(line: str, at: int, *, is_loose: bool) -> tuple[list[tuple[str, str]], int]:
    """Read labels up to their closing brace; a quoted name of the series itself has an empty key."""

    def blanks(place: int) -> int:
        match = _BLANKS.match(line, place) if is_loose else None
        return match.end() if match else place

    labels: list[tuple[str, str]] = []
    at = blanks(at)
    while not line.startswith("}", at):
        is_quoted = line.startswith('"', at)
        if is_quoted:
            key, at = _quoted(line, at)
        else:
            found = _LABEL_NAME.match(line, at)
            if found is None:
                raise _Malformed("a label has an invalid name")
            key, at = found[0], found.end()
        at = blanks(at)
        if line.startswith("=", at):
            at = blanks(at + 1)
            if not line.startswith('"', at):
                raise _Malformed("a label has no quoted value")
            value, at = _quoted(line, at)
            labels.append((key, value))
        elif is_quoted:
            labels.append(("", key))
        else:
            raise _Malformed("a label has no quoted value")
        at = blanks(at)
        if line.startswith(",", at):
            at = blanks(at + 1)
        elif not line.startswith("}", at):
            raise _Malformed("labels are not separated by commas")
    return labels, at + 1


def _quoted(line: str, at: int) -> tuple[str, int]:
    r"""Read a text in quotes, with ``\\``, ``\"`` and ``\n`` in it; return it and where it ends."""
    found: list[str] = []
    at += 1
    while at < len(line):
        plain = _PLAIN.match(line, at)
        if plain is not None:
            found.append(plain[0])
            at = plain.end()
            continue
        char = line[at]
        if char == '"':
            return "".join(found), at + 1
        escaped = line[at + 1 : at + 2]
        if escaped not in {"\\", '"', "n"}:
            raise _Malformed("a label has an unknown escape")
        found.append("\n" if escaped == "n" else escaped)
        at += 2
    raise _Malformed("a quoted text has no end")


def _shape(family: Family) -> Iterator[tuple[int, str]]:
    """Yield what is wrong with the samples of a family as a whole."""
    if family.type == "counter":
        for value in family.values:
            if value.value < 0 or math.isnan(value.value):
                yield value.line, f"the counter {family.name} is not a number from 0 on"
    if family.type in {"histogram", "summary"}:
        groups: dict[tuple[tuple[str, str], ...], list[Value]] = {}
        own = "le" if family.type == "histogram" else "quantile"
        for value in family.values:
            key = tuple(pair for pair in value.sample.labels if pair[0] != own)
            groups.setdefault(key, []).append(value)
        for values in groups.values():
            yield from _distribution(family, values)


def _distribution(family: Family, values: list[Value]) -> Iterator[tuple[int, str]]:
    line = values[0].line
    counts = [value.value for value in values if value.sample.name == f"{family.name}_count"]
    if not counts or not any(value.sample.name == f"{family.name}_sum" for value in values):
        yield line, f"the {family.type} {family.name} lacks _sum or _count"
    if family.type != "histogram":
        return
    buckets = [value for value in values if value.sample.name == f"{family.name}_bucket"]
    bounds = [_bound(value) for value in buckets]
    if any(bound is None for bound in bounds):
        yield line, f"a bucket of {family.name} has no le that is a number"
        return
    known = [bound for bound in bounds if bound is not None]
    if math.inf not in known:
        yield line, f'the histogram {family.name} has no bucket le="+Inf"'
    elif counts and buckets[known.index(math.inf)].value != counts[0]:
        yield line, f"the bucket +Inf of {family.name} is not its _count"
    if known != sorted(known):
        yield line, f"the buckets of {family.name} are not in order"
    elif any(one.value > other.value for one, other in pairwise(buckets)):
        yield line, f"the buckets of {family.name} are not cumulative"


def _bound(value: Value) -> float | None:
    text = value.sample.label("le")
    return float(text) if _NUMBER.fullmatch(text) else None
