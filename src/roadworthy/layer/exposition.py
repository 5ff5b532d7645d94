"""Numbers as text for Prometheus: text format 0.0.4 and OpenMetrics 1.0.

Sources: prometheus.io "Exposition formats" (text 0.0.4); OpenMetrics 1.0 (github.com/prometheus/OpenMetrics).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Protocol, cast

from prometheus_client import Metric, exposition
from prometheus_client.openmetrics import exposition as openmetrics_exposition

__all__ = ("OPENMETRICS", "TEXT", "Page", "Series", "wants_openmetrics")

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

Series = tuple[Mapping[str, str], float]

_SUFFIXES = ("", "_total", "_created", "_bucket", "_sum", "_count", "_info")
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

_logger = logging.getLogger("roadworthy.metrics")


class _Collector(Protocol):
    def collect(self) -> Iterable[Metric]: ...


class _One:
    """A registry of a single family, which is all that prometheus_client's encoders ask for."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


# Prometheus sends 250 bytes. A server may ignore the field (RFC 9110 §12.1).
_LONGEST_ACCEPT = 1024

_Encode = Callable[[_Collector], bytes]


def wants_openmetrics(accept: bytes) -> bool:
    """Return whether the client prefers OpenMetrics 1.0 over plain text (RFC 9110 §12.5.1)."""
    if len(accept) > _LONGEST_ACCEPT:
        return False
    best = {"openmetrics": 0.0, "text": 0.0}
    for entry in accept.decode("latin-1").lower().split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        given = {
            name.strip(): value.strip(' "') for name, _, value in (one.partition("=") for one in parameters)
        }
        try:
            quality = float(given.get("q", "1"))
        except ValueError:
            continue
        if media == "application/openmetrics-text" and given.get("version", "1.0.0") == "1.0.0":
            best["openmetrics"] = max(best["openmetrics"], quality)
        elif media in ("text/plain", "text/*"):
            best["text"] = max(best["text"], quality)
    return best["openmetrics"] > 0 and best["openmetrics"] >= best["text"]


class Page:
    """One scrape being written.

    Parameters:
        openmetrics: write OpenMetrics 1.0, not text 0.0.4.
    """

    def __init__(self, openmetrics: bool) -> None:
        self._openmetrics = openmetrics
        self._parts: list[str] = []
        self._taken: set[str] = set()
        # prometheus_client types its encoders with its registry class; any collector does.
        module = openmetrics_exposition if openmetrics else exposition
        self._encode = cast("_Encode", vars(module)["generate_latest"])

    def counter(self, name: str, help_text: str, series: Iterable[Series]) -> None:
        """Write a counter; ``name`` ends in ``_total``."""
        self._head(name.removesuffix("_total") if self._openmetrics else name, help_text, "counter")
        self._samples(name, series)

    def gauge(self, name: str, help_text: str, series: Iterable[Series]) -> None:
        """Write a gauge."""
        self._head(name, help_text, "gauge")
        self._samples(name, series)

    def summary(
        self, name: str, help_text: str, series: Iterable[tuple[Mapping[str, str], float, float]]
    ) -> None:
        """Write a summary without quantiles, from labels, count and sum."""
        self._head(name, help_text, "summary")
        for labels, count, total in series:
            text = _labels(labels)
            self._parts.append(f"{name}_count{text} {count!r}\n{name}_sum{text} {total!r}\n")

    def histogram(
        self,
        name: str,
        help_text: str,
        bounds: Iterable[float],
        series: Iterable[tuple[Mapping[str, str], list[float], float]],
    ) -> None:
        """Write a histogram from labels, counts by bucket (one more than ``bounds``) and sum."""
        self._head(name, help_text, "histogram")
        limits = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        for labels, buckets, total in series:
            text = _labels(labels)
            inner = text[1:-1] + "," if text else ""
            count = 0.0
            for limit, count in zip(limits, accumulate(buckets), strict=True):
                self._parts.append(f'{name}_bucket{{{inner}le="{limit}"}} {count!r}\n')
            self._parts.append(f"{name}_count{text} {count!r}\n{name}_sum{text} {total!r}\n")

    def family(self, family: Metric, *, silent: bool = False) -> None:
        """Write a family of prometheus_client, unless one of its names is on the page already.

        A second family of one name makes the whole scrape invalid; the first one stays. ``silent`` leaves out
        the warning where that is expected.
        """
        names = {family.name + suffix for suffix in _SUFFIXES} | {sample.name for sample in family.samples}
        if not names.isdisjoint(self._taken):
            if not silent:
                _logger.warning("metric %s is left out of the scrape: its name is taken", family.name)
            return
        try:
            text = self._encode(_One(family)).decode()
        except Exception as error:
            _logger.warning("metric %s is left out of the scrape: %s", family.name, type(error).__name__)
            return
        self._taken |= names
        self._parts.append(text.removesuffix("# EOF\n"))

    def bytes(self) -> bytes:
        """Return the finished page."""
        return ("".join(self._parts) + ("# EOF\n" if self._openmetrics else "")).encode("utf-8", "replace")

    def _head(self, name: str, help_text: str, kind: str) -> None:
        self._taken.update(name + suffix for suffix in _SUFFIXES)
        self._parts.append(f"# HELP {name} {help_text.translate(_ESCAPES)}\n# TYPE {name} {kind}\n")

    def _samples(self, name: str, series: Iterable[Series]) -> None:
        self._parts.extend(f"{name}{_labels(labels)} {value!r}\n" for labels, value in series)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()) + "}"
