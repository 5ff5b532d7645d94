"""Each payload through nginx and haproxy: what the proxy forwards is what the app sees, and no more."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from .bench import Bench
from .case import Case, Seen, holds_if
from .payloads import AMBIGUOUS, TARGETS, TOKEN
from .proxies import ProxyKind, in_front_of
from .wire import ask, exchange, side_by_side

__all__ = ("CASES",)

_SETTLE_SECONDS = 1.0


@dataclass
class _Found:
    """What a round of payloads left in the records.

    Parameters:
        payloads: how many were sent.
        reached: those whose marker was reached.
        more: those of which the app saw more requests than the proxy forwarded.
        crossed: those after which another client did not get its own answer.
    """

    payloads: int = 0
    reached: list[str] = field(default_factory=list[str])
    more: list[str] = field(default_factory=list[str])
    crossed: list[str] = field(default_factory=list[str])


def _round(bench: Bench, kind: ProxyKind) -> _Found:
    known: _Found | None = bench.known.get(kind)
    if known is None:
        known = bench.known[kind] = _send_all(bench, kind, {**AMBIGUOUS, **TARGETS})
    return known


def _send_all(bench: Bench, kind: ProxyKind, payloads: Mapping[str, bytes]) -> _Found:
    found = _Found(len(payloads))
    tokens = {name: b"t%07d" % number for number, name in enumerate(payloads)}
    with (
        bench.folder() as folder,
        bench.started() as service,
        in_front_of(service.port, kind, folder) as proxy,
    ):

        def send(name: str) -> None:
            token = tokens[name]
            with contextlib.suppress(OSError):
                exchange(proxy.port, payloads[name].replace(TOKEN, token), patience=1.0)
            path = f"/echo/next-{token.decode()}"
            answer = ask(proxy.port, path, seconds=8.0)
            # A server that closes a kept connection while the proxy sends on it gives 502: no mix-up.
            if answer.status not in (200, 502, 503, 504) or (
                answer.status == 200 and not _own(answer.body, path)
            ):
                found.crossed.append(name)

        side_by_side(send, payloads)
        time.sleep(_SETTLE_SECONDS)  # both records are written when a request ends
        seen, forwarded = service.journal(), proxy.forwarded()
    for name, token in tokens.items():
        word = token.decode()
        in_app = [line for line in seen if word in line and f"next-{word}" not in line]
        if any(line.startswith("MARKER") for line in in_app):
            found.reached.append(name)
        saw = sum(line.startswith("saw") for line in in_app)
        passed = sum(word in line and f"next-{word}" not in line for line in forwarded)
        if saw > passed:
            found.more.append(f"{name} ({passed} forwarded, {saw} seen)")
    return found


def _own(body: bytes, path: str) -> bool:
    try:
        return bool(json.loads(body)["path"] == path)
    except (ValueError, KeyError):
        return False


def _same_number(kind: ProxyKind, bench: Bench) -> Seen:
    found = _round(bench, kind)
    return holds_if(found.more + [f"after {name}: a wrong answer" for name in found.crossed],
                    f"0 of {found.payloads} differ")  # fmt: skip


def _never_reached(kind: ProxyKind, bench: Bench) -> Seen:
    found = _round(bench, kind)
    reached = "; ".join(found.reached[:4])
    return Seen(
        not found.reached,
        f"reached {len(found.reached)} times by {found.payloads} payloads"
        + (f": {reached}" if reached else ""),
    )


_KINDS: tuple[ProxyKind, ...] = ("nginx", "haproxy")
CASES: tuple[Case, ...] = tuple(
    case
    for kind in _KINDS
    for case in (
        Case(
            f"H2 {kind}", "proxied",
            f"{len(AMBIGUOUS)} ambiguous requests and {len(TARGETS)} spellings of a denied path through "
            f"{kind}, each followed by a request of another client",
            "the app never sees more requests than the proxy forwards; the other client gets its own answer",
            partial(_same_number, kind), seconds=240,
        ),
        Case(
            f"H3 {kind}", "proxied",
            f"the same; `/admin` is denied by {kind} and stands in each payload as body, as bytes behind, "
            "or in another spelling",
            "the route of `/admin` is reached 0 times",
            partial(_never_reached, kind), seconds=240,
        ),
    )
)  # fmt: skip
