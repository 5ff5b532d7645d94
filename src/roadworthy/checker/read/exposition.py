"""Samples out of the text that Prometheus scrapes; enough to compare scrapes, too little to judge a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ("Sample", "Samples", "read_samples", "total")

# Braces may stand in label values, and once more in an exemplar behind the value.
_SAMPLE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*+)(?:\{((?:[^\"}]++|\"(?:[^\"\\]++|\\.)*+\")*+)\})?"
    r"\s++(\S++)(?:\s++[^\s#]++)?\s*+(?:#.*)?"
)
_LABEL = re.compile(r'(?<![a-zA-Z0-9_])([a-zA-Z_][a-zA-Z0-9_]*+)="((?:[^"\\]++|\\.)*+)"')
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Sample:
    """Name and labels of one series."""

    name: str
    labels: tuple[tuple[str, str], ...]

    def label(self, *names: str) -> str:
        """Return the value of the first of these labels that it has, or nothing."""
        known = dict(self.labels)
        return next((known[name] for name in names if name in known), "")


Samples: TypeAlias = Mapping[Sample, float]


def read_samples(text: str) -> dict[Sample, float]:
    """Return the value of each series; lines that are none are passed over."""
    found: dict[Sample, float] = {}
    for line in text.split("\n"):
        if line.startswith("#"):
            continue
        match = _SAMPLE.fullmatch(line.strip())
        if match is None:
            continue
        labels = sorted(
            (key, _ESCAPE.sub(_unescaped, value)) for key, value in _LABEL.findall(match[2] or "")
        )
        try:
            found[Sample(match[1], tuple(labels))] = float(match[3])
        except ValueError:
            continue
    return found


def total(samples: Samples, name: str, **labels: str) -> float:
    """Add up the series of a name that have these labels; a value may be a pattern such as ``5..``."""
    return sum(
        value
        for sample, value in samples.items()
        if sample.name == name
        and all(re.fullmatch(pattern, sample.label(label)) for label, pattern in labels.items())
    )


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
