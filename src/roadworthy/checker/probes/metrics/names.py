"""What names of metrics should look like: the rules of Prometheus' own linter (promlint)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...read.exposition import Exposition, Family

__all__ = ("lint",)

_PREFIXES = (
    *("pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto"),
    *("kilo", "kibi", "mega", "mebi", "giga", "gibi", "tera", "tebi", "peta", "pebi"),
)
_BASES = ("amperes", "bytes", "celsius", "grams", "joules", "kelvins", "meters", "moles", "seconds", "volts")
_OTHER_UNITS = {
    **dict.fromkeys(("minutes", "hours", "days", "weeks"), "seconds"),
    **dict.fromkeys(("percent", "percentage"), "ratio"),
    "bits": "bytes",
    "fahrenheit": "celsius",
}
_UNITS = {f"{prefix}{base}": base for prefix in _PREFIXES for base in _BASES} | _OTHER_UNITS
_ABBREVIATIONS = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
_RUNTIMES = (
    "process_",
    "go_",
    "python_",
    "nodejs_",
    "jvm_",
    "promhttp_",
    "system_",
    "dotnet_",
    "ruby_",
    "php_",
)


def lint(exposition: Exposition) -> Iterator[tuple[str, str, bool]]:
    """Yield a family's name, what is unusual about it, and whether it is the service's own to change."""
    folded: dict[str, str] = {}
    for family in exposition.families.values():
        if not family.values:
            continue
        own = not family.name.startswith(_RUNTIMES)
        for text in _family(family):
            yield family.name, text, own
        other = folded.setdefault(family.name.replace("_", "").lower(), family.name)
        if other != family.name:
            yield family.name, f"differs from {other} by its spelling alone", own


def _family(family: Family) -> Iterator[str]:
    name, words = family.name, family.name.split("_")
    if not family.help:
        yield "has no help text"
    for word in words:
        if word in _UNITS:
            yield f"is in {word}, not in {_UNITS[word]}"
        elif word in _ABBREVIATIONS and word != words[0]:
            yield f"abbreviates a unit ({word})"
    if family.type == "counter" and not name.endswith("_total"):
        yield "is a counter without _total"
    if family.type != "counter" and family.type and name.endswith("_total"):
        yield f"is a {family.type} with _total"
    if family.type in {"counter", "gauge", "histogram", "summary"} and family.type in words:
        yield "has its type in its name"
    if family.type in {"histogram", "summary"} and name.endswith(("_bucket", "_count", "_sum")):
        yield "has an ending that is reserved for its samples"
    if ":" in name:
        yield "has a colon, which is for recording rules"
    if re.search(r"[a-z][A-Z]", name):
        yield "is in camelCase"
    for value in family.values[:1]:
        if family.type not in {"histogram", "gaugehistogram"} and value.sample.label("le"):
            yield "has the label le, which is for histograms"
        if family.type != "summary" and value.sample.label("quantile"):
            yield "has the label quantile, which is for summaries"
