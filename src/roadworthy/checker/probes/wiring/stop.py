"""Probes of ``wiring`` (WIR): how the parts stop."""

from __future__ import annotations

import asyncio
import re

from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...service.process import Line
from ...verdict import Lines, Verdict

__all__ = ("PROBES",)

_OPENED = re.compile(r"\b([a-z][\w-]*) (?:opened|started|connected)\b")
_CLOSED = re.compile(r"\b([a-z][\w-]*) (?:closed|stopped|disconnected)\b")


@probe(
    "WIR-2",
    phase=Phase.SHUTDOWN,
    needs=(Need.COMMAND, Need.CREATE),
    quick=False,
    seconds=120,
)
async def _parts_stop_in_order(bench: Bench) -> Verdict:
    """Stops the service under writes and reads: no part may be gone that a request still needs."""
    async with bench.launch(draining=True) as target:
        route = bench.manifest.routes.by_role["create"]
        good = await bench.call(route)
        bench.control("the service works before", good.ok)
        answers: list[Answer] = []
        gone = asyncio.Event()

        async def go_on() -> None:
            while not gone.is_set():
                answer = await bench.call(route, seconds=10, patient=False)
                answers.append(answer)
                if not answer.status:
                    # The listener is closed; later connections show nothing new.
                    await asyncio.sleep(0.05)

        tasks = [asyncio.create_task(go_on()) for _ in range(3)]
        slow = bench.manifest.routes.slow
        held = asyncio.create_task(bench.call(slow, seconds=30)) if slow is not None else None
        await bench.until(lambda: bench.call(route), lambda _: len(answers) >= 6, 10)
        signalled = target.process.signal()
        ended = await target.process.wait_end(bench.patience(bench.manifest.start.grace + 10))
        gone.set()
        await asyncio.gather(*tasks)
        await target.process.wait_silence(1.0)
        late = [answer for answer in answers if answer.complete and answer.ended > signalled]
        bench.control("the service ends", ended)
        bench.sample(len(late))
        if not late:
            bench.missed("requests of the last seconds", "none was answered after the signal")
        broken = [answer for answer in late if answer.status >= 500 and answer.status != 503]
        if broken:
            title = "requests of the last seconds meet parts that are gone"
            bench.fail(title, "a success, or 503", f"{len(broken)}: {broken[0]}", broken[0])
        if held is not None:
            answer = await held
            title = "a request that was in flight is not answered"
            bench.expect(answer.ok, title, "2xx", str(answer), answer)
        _judge_records(bench, target.process.lines, signalled)
    return bench.verdict()


def _judge_records(bench: Bench, lines: list[Line], signalled: float) -> None:
    """Judge the records of the stop: its beginning, its end, and the order in which parts close."""
    paths = {route.path.partition("?")[0].partition("{")[0] for route in bench.manifest.routes}
    steps = [
        line
        for line in lines
        if line.at >= signalled and not any(path and path in line.text for path in paths)
    ]
    shown = Lines("records of the stop", tuple(line.text[:300] for line in steps[:30]))
    requests = [line.at for line in lines if line.at >= signalled and line not in steps]
    last = max(requests, default=signalled)
    bench.sample()
    if len(steps) < 2 or steps[0].at > last or steps[-1].at < last:
        got = f"{len(steps)} records between and after the last requests"
        title = "the steps of the stop leave no records"
        bench.fail(title, "one when it begins and one when it is over", got, evidence=(shown,))
    opened = _parts(_OPENED, [line.text for line in lines if line.at < signalled])
    closed = _parts(_CLOSED, [line.text for line in steps])
    both = [part for part in opened if part in closed]
    if len(both) < 2:
        bench.note(
            "the records name no two parts that were opened and closed, so their order was not compared"
        )
        return
    order = [part for part in closed if part in both]
    bench.expect(
        order == both[::-1],
        "the parts do not stop in the opposite order of their start",
        ", ".join(both[::-1]),
        ", ".join(order),
        evidence=(shown,),
    )


def _parts(pattern: re.Pattern[str], texts: list[str]) -> list[str]:
    return list(dict.fromkeys(name for text in texts for name in pattern.findall(text.lower())))


PROBES: tuple[Probe, ...] = (_parts_stop_in_order,)
