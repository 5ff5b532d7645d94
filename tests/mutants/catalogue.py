"""Which mutants there are: for each assertion and dimension a few, under different conditions.

Of the zoo's own service each fault without a condition is a twin, and tried by its matrix; those of the other
languages are mutants themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from roadworthy.checklist import ASSERTIONS, Assertion, Dimension
from tests.zoo.conditions import CONDITIONS
from tests.zoo.harness import PATTERNS, Twin

from .languages import LANGUAGES, Language

__all__ = ("Mutant", "mutants")

_MOST = 3
"""Conditions of one dimension that are tried for one assertion; which ones differs from one to the next."""
_ITEMS = ("/api/items", "/api/items/{id}", "/api/large", "/api/page", "/api/fails", "/api/login")
_USERS = (
    *("/api/users", "/api/users/{id}", "/api/users/{id}/posts", "/api/users/{id}/overview", "/api/fails"),
    *("/api/users/batch", "/api/transfers"),
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A service with one fault that shows only under one condition.

    Parameters:
        dimension: what the condition is about; None for a fault that shows always.
        base: the twin that has the fault always.
        condition: when it shows, ``method=POST``.
    """

    language: Language
    assertion: Assertion
    dimension: Dimension | None
    base: Twin
    condition: str

    @property
    def name(self) -> str:
        """The switch."""
        return f"{self.base.fault}@{self.condition}" if self.condition else self.base.fault


def mutants(reachable: set[tuple[str, str]], language: Language = LANGUAGES["python"]) -> Iterator[Mutant]:
    """Yield the mutants of which the fault can show.

    Parameters:
        reachable: faults, each with a condition under which it can.
    """
    reach = Counter(fault for fault, _ in reachable)
    twins = language.twins
    for number, assertion in enumerate(ASSERTIONS):
        bases = [twin for twin in twins if twin.fails == assertion.id and "," not in twin.fault]
        if language.suffix:
            yield from (Mutant(language, assertion, None, twin, "") for twin in bases)
        most = max((reach[twin.fault] for twin in bases), default=0)
        # A fault that has a condition of its own is none to add another to.
        bases = [twin for twin in bases if 2 * reach[twin.fault] > most]
        for dimension in assertion.depends_on:
            conditions = [one for one in CONDITIONS.get(dimension, {}) if _is_declared(one, assertion)]
            turn, found = number % max(len(conditions), 1), 0
            for condition in conditions[turn:] + conditions[:turn]:
                # Each fault has its turn: a probe may find one under every condition and another under none.
                shift = (turn + found) % max(len(bases), 1)
                possible = (
                    one
                    for one in bases[shift:] + bases[:shift]
                    if (one.fault, condition) in reachable and condition not in _NONE.get(one.fault, ())
                )
                base = next(possible, None)
                if base is not None and found < _MOST:
                    found += 1
                    yield Mutant(language, assertion, dimension, base, condition)


_EMPTY = frozenset({"method=HEAD", "status=204"})
_BODILESS = _EMPTY | {"method=OPTIONS"}
_READS = frozenset({"method=GET", "method=DELETE"})
_REFUSALS = frozenset(
    {"status=4xx", "status=404", "status=405", "status=422", "status=5xx", "route=/api/fails"}
)
_HEALTH = frozenset({"route=/livez", "route=/readyz"})
_UNDECLARED = _HEALTH | {"route=/metrics"}
_QUERY = frozenset({"value=query"})
_NONE: Mapping[str, frozenset[str]] = {
    # A scraper asks for no page, and for no JSON.
    **dict.fromkeys(("MET-1", "MET-2", "MET-3"), frozenset({"accept=html", "accept=json"})),
    # Bodies are read of changes alone, and the manifest declares none with a query.
    **{f"VAL-{number}": _QUERY | _BODILESS | _READS for number in range(11) if number != 9},
    "CTL-4": _BODILESS | _READS | _QUERY,
    "ECL-2": _EMPTY | _QUERY,
    "SVC-1": _QUERY,
    # What reads alone allows GET, and the field is complete that says so.
    "err-2-short-allow": frozenset(
        f"route={path}" for path in ("/api/large", "/api/page", "/api/fails", "/api/users/{id}/overview")
    ),
    # The problem document has the id, too.
    "log-4-none": _REFUSALS,
    # A large text is not small.
    "cmp-1-none": frozenset({"size=small"}),
    "cmp-1-no-close": frozenset({"size=small"}),
    # What these are about is in the body; OPTIONS of an unknown path has one, too.
    **dict.fromkeys(("ERR-3", "HDR-1", "HDR-2"), _EMPTY),
    **dict.fromkeys(("ECL-3", "ECL-4", "HLT-8", "HLT-9", "SVC-4"), _BODILESS),
    # The text of an exception is in no response to HEAD; that there is no response can be seen.
    "err-4-stack": _EMPTY,
    "err-4-message": _EMPTY,
    "err-4-http-error": _EMPTY,
    # What is no response to GET is shown in no frame and is no page. Metrics are read by no browser.
    **dict.fromkeys(("HDR-3", "HDR-4"), _BODILESS | {"route=/metrics"}),
    # Caches keep responses to GET, and to POST if told to (RFC 9111 section 3, RFC 9110 section 9.3.3);
    # what probes and scrapers get is nobody's.
    "HDR-6": _BODILESS | {"method=DELETE", "method=PUT"} | _UNDECLARED,
    "hdr-6-unsaid": frozenset({"method=POST", "route=/api/login", "route=/api/users/batch"}),
    # There it is one class of errors with one code.
    "ECL-1": _BODILESS | {"route=/api/fails"},
    # The check asks for the list before anything is in it, and a list of nothing is right in any case.
    "CTL-6": frozenset({"repeat=first"}),
    # HEAD shows no members, and what is remembered for one request is never old.
    "SVC-2": frozenset({"method=HEAD", "repeat=first"}),
    # Metrics need not be large, and have no validator. Many servers compress nothing for HTTP/1.0.
    "CMP-1": frozenset({"route=/metrics", "version=1.0"}),
    "CMP-7": frozenset({"route=/metrics"}),
    # Large texts become no larger; without Accept-Encoding nothing is coded.
    "CMP-6": frozenset({"encoding=none", "route=/metrics", "route=/api/large", "size=long", "size=large"})
    | _BODILESS,
    # Without an origin there is none to be granted.
    "COR-1": frozenset({"origin=none"}),
    # What these compare neither is nor resembles.
    **dict.fromkeys(
        ("cor-1-ends-with", "cor-1-has-suffix", "cor-1-begins-with", "cor-1-starts-with", "cor-1-has-prefix"),
        frozenset({"origin=null", "origin=second"}),
    ),
    "cor-1-contains": frozenset({"origin=null"}),
    # Without origins of its own the manifest of these has no second one.
    **dict.fromkeys(("COR-2", "COR-10"), frozenset({"origin=second"})),
    # Nothing is deleted there.
    "cor-5-lacks-delete": frozenset(
        f"route={path}" for path in ("/api/items", "/api/large", "/api/page", "/api/fails", "/api/login")
    ),
    # What a page cannot read of a refusal is found by COR-8.
    "COR-3": _REFUSALS,
    # No page is allowed from there, and none asks for these by a script.
    **dict.fromkeys(("COR-5", "COR-7"), frozenset({"origin=null"}) | _UNDECLARED),
    "COR-8": frozenset({"origin=null", "origin=none"}),
    # The paths of routes are known; that an item is missing is told by CTL-3 and ERR-3.
    "ERR-1": _EMPTY | {f"route={path}" for path in (*_ITEMS, *_USERS, "/livez", "/readyz", "/metrics")},
    # OPTIONS is answered by ERR-6, and what these do not have is a 404 there.
    "ERR-2": frozenset({"method=OPTIONS"}) | _UNDECLARED,
    # No request brings about a server error there.
    "ERR-8": frozenset({"route=/api/items", "route=/api/items/{id}"}),
    # These are no probes.
    "HLT-7": frozenset({"method=POST", "method=OPTIONS", "route=/metrics"}),
    # An error is the right level for these, or no level is at stake.
    "LOG-8": frozenset({"status=2xx", "status=5xx", "status=201", "status=204"}),
    # One computation alone is on one processor.
    "CPU-4": frozenset({"parallel=no"}),
}
"""By assertion, or by fault, under which conditions the promise is not broken, or cannot be seen to be."""


def _is_declared(condition: str, assertion: Assertion) -> bool:
    """Return whether the promise is broken under a condition, on a route that the manifest declares."""
    if condition in _NONE.get(assertion.id, ()):
        return False
    kind, _, path = condition.partition("=")
    declared = _USERS if assertion.id.partition("-")[0] in PATTERNS else _ITEMS
    return kind != "route" or path in {*declared, "/livez", "/readyz", "/metrics"}
