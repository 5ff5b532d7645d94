"""Probes of ``graceful-shutdown`` (SHUT).

The signal goes to the started process only, as a container runtime sends it. One stop under traffic is
watched from all sides (:func:`watched_stop`), and most assertions are read from what was seen there.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from ...bench import Bench, Created
from ...http.fields import is_closing
from ...http.request import build_request
from ...http.wire import Answer, Ending
from ...manifest.routes import Route
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...service.target import Target
from ...verdict import Lines, Verdict
from ..shared.together import end
from .watched_stop import (
    IN_FLIGHT,
    SIGNAL_AFTER,
    Stop,
    flight,
    in_flight_control,
    same,
    slow_route,
    watched_stop,
)

__all__ = ("PROBES",)

# Kubernetes' default terminationGracePeriodSeconds is 30; after the last response 10 s are plenty.
_AFTER_LAST = 10.0
# Less than this fits into the kernels' buffers, and is delivered whatever becomes of the process.
_BEYOND_BUFFERS = 8 << 20


@probe("SHUT-1", phase=Phase.SHUTDOWN, needs=(Need.COMMAND, Need.SLOW), samples=IN_FLIGHT, seconds=180)
async def _in_flight_survives(bench: Bench) -> Verdict:
    """Sends SIGTERM with eight slow requests in flight; five stops, or one in the quick profile."""
    stops = [await bench.shared(watched_stop)]
    if bench.full:
        stops += await asyncio.gather(_short_stop(bench), _short_stop(bench))
        stops += await asyncio.gather(_short_stop(bench), _short_stop(bench))
    for stop in stops:
        in_flight_control(bench, stop)
        bench.sample(len(stop.in_flight))
        if stop.dropped:
            got = f"{len(stop.dropped)} of {len(stop.in_flight)}: {stop.dropped[0]}"
            return bench.fail(
                "requests in flight at SIGTERM were not answered",
                f"{stop.plain.status}, complete, as without the signal",
                got,
                stop.dropped[0],
                evidence=(stop.timeline(), Lines("the last lines of output", stop.lines)),
            )
    bench.show(stops[0].timeline())
    return bench.verdict()


async def _short_stop(bench: Bench) -> Stop:
    """Stop a service with requests in flight and nothing else."""
    own = bench.beside()
    async with own.launch(draining=True) as target:
        plain = await own.call(slow_route(bench))
        flying = [asyncio.create_task(own.call(slow_route(bench), seconds=30)) for _ in range(IN_FLIGHT)]
        await asyncio.sleep(SIGNAL_AFTER)
        stop = Stop(target.process.signal(), plain)
        stop.in_flight = list(await asyncio.gather(*flying))
        return stop


@probe("SHUT-2", phase=Phase.SHUTDOWN, needs=(Need.COMMAND,), samples=1, seconds=120)
async def _a_large_response_is_not_cut(bench: Bench) -> Verdict:
    """Reads a streamed or a very large response across SIGTERM, and looks at how it ends."""
    async with bench.launch(draining=True) as target:
        route, whole = await _lasting(bench)
        if route is None or whole is None:
            return bench.inconclusive(
                "needs an answer that is still being made at the signal: routes.stream of more than "
                f"half a second, or routes.large of {_BEYOND_BUFFERS >> 20} MiB",
                undeclared=("routes.stream",),
            )
        bench.control(f"undisturbed it is complete ({whole})", whole.ok)
        streamed = route.role == "stream"
        # With a Content-Length a part of it is not complete; without one, only its size tells.
        counted = streamed or whole.framing == "length"
        steady = counted or len((await bench.call(route, seconds=60)).body) == len(whole.body)
        connection = await bench.connect(
            receive_buffer=None if streamed else 8192,
            bytes_per_second=None if streamed else len(whole.body) // 3,
        )
        async with connection:
            request, data = build_request(
                target.address, route.method, route.path, bench.headers(route.headers)
            )
            await connection.send(data)
            await connection.wait_bytes(1, 10)
            reading = asyncio.create_task(connection.answer(request, 60))
            await asyncio.sleep(min(SIGNAL_AFTER, whole.seconds / 2))
            bench.control("it was being sent at the signal", not reading.done())
            target.process.signal()
            answer = await reading
        bench.sample()
        if not answer.complete:
            got = f"{answer.ending} after {len(answer.body)} of {len(whole.body)} bytes"
            return bench.fail(
                "a response was cut short by SIGTERM", f"complete ({whole.framing})", got, answer
            )
        # A stream may end early, as long as the client can tell; a document may not.
        if not steady:
            bench.missed(f"all of {route}", "two answers in a row had different sizes, undisturbed")
        elif not streamed and len(answer.body) != len(whole.body):
            got = f"{len(answer.body)} of {len(whole.body)} bytes, and an end as if it were whole"
            return bench.fail("a response was cut short but looks complete", "all of it", got, answer)
    return bench.verdict()


async def _lasting(bench: Bench) -> tuple[Route | None, Answer | None]:
    """Return a route whose response is still being made some time after it began, and that response."""
    for role in ("stream", "large"):
        route = bench.manifest.routes.by_role.get(role)
        if route is not None:
            whole = await bench.call(route, seconds=60)
            if len(whole.body) >= _BEYOND_BUFFERS or (role == "stream" and whole.seconds > 0.5):
                return route, whole
    return None, None


@probe("SHUT-3", phase=Phase.SHUTDOWN, needs=(Need.COMMAND,), seconds=180)
async def _it_ends_in_time(bench: Bench) -> Verdict:
    """Measures from the signal, and from the last response, to the exit, with an idle connection open."""
    stop = await bench.shared(watched_stop)
    in_flight_control(bench, stop)
    bench.sample()
    grace = bench.manifest.start.grace
    if stop.exit is None:
        return bench.fail(
            "the process does not end", f"within {grace:g} s", "it still runs", evidence=(stop.timeline(),)
        )
    after = stop.exit.at - stop.last_response
    delay = bench.manifest.check.shutdown.drain_delay or bench.manifest.shutdown.drain_delay or 0.0
    if after > bench.patience(max(_AFTER_LAST, delay + 5.0)):
        got = f"{after:.1f} s"
        return bench.fail(
            "the process lingers after its last response",
            f"within {_AFTER_LAST:g} s",
            got,
            evidence=(stop.timeline(),),
        )
    bench.note(
        f"ended {stop.exit.at - stop.signalled:.1f} s after the signal, "
        f"{max(after, 0):.1f} s after the last response"
    )
    return bench.verdict()


@probe("SHUT-4", phase=Phase.SHUTDOWN, needs=(Need.COMMAND,), seconds=180)
async def _the_exit_status_is_clean(bench: Bench) -> Verdict:
    """Reads the exit status of a stop; the signal itself counts as clean when nothing was dropped."""
    stop = await bench.shared(watched_stop)
    in_flight_control(bench, stop)
    bench.sample()
    if stop.exit is None:
        return bench.inconclusive("the process did not end")
    strict = bench.manifest.shutdown.strict_exit
    raised = stop.exit.signal == signal.SIGTERM or stop.exit.status == 128 + signal.SIGTERM
    if stop.exit.status == 0:
        return bench.verdict()
    if raised and not strict and not stop.dropped:
        bench.note(f"ended with {stop.exit}, raised again after a clean drain")
        return bench.verdict()
    expected = "status 0" if strict else "status 0, or SIGTERM raised again after a drain"
    return bench.fail("the exit status is not clean", expected, str(stop.exit), evidence=(stop.timeline(),))


@probe("SHUT-5", phase=Phase.SHUTDOWN, needs=(Need.COMMAND, Need.SLOW), samples=3, seconds=180)
async def _new_connections_are_served_or_refused(bench: Bench) -> Verdict:
    """Dials every 50 ms from the signal to the exit: answered or refused is fine, silence is not."""
    stop = await bench.shared(watched_stop)
    in_flight_control(bench, stop)
    bench.sample(len(stop.polls))
    bad = {Ending.SILENT, Ending.STALLED, Ending.TRUNCATED, Ending.GARBAGE}
    silent = [poll.answer for poll in stop.polls if poll.answer.ending in bad]
    # One connection may meet the very moment in which the listener closes: a race in the kernel.
    reset = [poll.answer for poll in stop.polls if poll.answer.ending in {Ending.RESET, Ending.EOF}]
    lost = silent or (reset if len(reset) > 1 else [])
    if lost:
        report = bench.fail if bench.manifest.shutdown.style == "lame-duck" else bench.warn
        return report(
            "new connections were accepted and left without an answer",
            "an answer, or a refused connection",
            f"{len(lost)} of {len(stop.polls)}: {lost[0]}",
            lost[0],
            evidence=(stop.timeline(),),
        )
    return bench.verdict()


@probe(
    "SHUT-6",
    phase=Phase.SHUTDOWN,
    needs=(Need.COMMAND, Need.SLOW, Need.READY, Need.LIVE),
    samples=2,
    seconds=180,
)
async def _readiness_turns_first(bench: Bench) -> Verdict:
    """Watches readiness and liveness from the signal to the exit."""
    stop = await bench.shared(watched_stop)
    in_flight_control(bench, stop)
    health = bench.manifest.health
    ready = [poll for poll in stop.polls if poll.path == health.ready and poll.answer.status]
    live = [poll for poll in stop.polls if poll.path == health.live and poll.answer.status]
    bench.sample(len(ready) + len(live))
    if not ready:
        if bench.manifest.shutdown.style == "lame-duck":
            got = "connections are refused at once"
            return bench.fail(
                "connections are refused before readiness has turned",
                "non-2xx while it still serves",
                got,
                evidence=(stop.timeline(),),
            )
        return bench.not_applicable(
            "connections are refused at once, so the turn cannot be seen; the orchestrator needs a pause "
            "before the signal"
        )
    late = [poll for poll in ready if poll.answer.ok and poll.at - stop.signalled > bench.patience(1.0)]
    turned = any(not poll.answer.ok for poll in ready)
    if late or not turned:
        shown = (late or ready)[-1]
        got = f"{shown.answer.status} {shown.at - stop.signalled:.1f} s after the signal"
        bench.fail(
            "readiness stays positive",
            "non-2xx within 1 s of the signal",
            got,
            shown.answer,
            evidence=(stop.timeline(),),
        )
    dead = [poll for poll in live if not poll.answer.ok]
    if dead:
        got = f"{dead[0].answer.status} {dead[0].at - stop.signalled:.1f} s after the signal"
        bench.fail(
            "liveness turns negative while the service drains", "2xx until the exit", got, dead[0].answer
        )
    return bench.verdict()


@probe("SHUT-7", phase=Phase.SHUTDOWN, needs=(Need.COMMAND, Need.SLOW), samples=2, seconds=180)
async def _connections_are_told_to_end(bench: Bench) -> Verdict:
    """Reads Connection on responses after the signal, and waits for the idle connection to end."""
    stop = await bench.shared(watched_stop)
    in_flight_control(bench, stop)
    finished = [answer for answer in stop.in_flight if answer.complete]
    bench.sample(len(finished))
    kept = [answer for answer in finished if not is_closing(answer)]
    if kept:
        bench.fail(
            "responses after SIGTERM keep their connection", "Connection: close", f"{len(kept)} do", kept[0]
        )
    delay = bench.manifest.check.shutdown.drain_delay or bench.manifest.shutdown.drain_delay or 0.0
    soon = bench.patience(delay + 1.0)
    if stop.idle_over is None or stop.idle_over - stop.signalled > soon:
        when = "until the exit" if stop.idle_over is None else f"{stop.idle_over - stop.signalled:.1f} s"
        # A process that ends as soon as it has answered needs not close what idles before that.
        answered = max((answer.ended for answer in finished), default=stop.signalled)
        with_exit = (
            stop.exit is not None
            and stop.idle_over is not None
            and abs(stop.exit.at - stop.idle_over) < 0.05
            and stop.exit.at - answered <= soon
        )
        if kept or not with_exit:
            expected = f"within {delay + 1:g} s of the signal"
            bench.fail("an idle connection is kept open", expected, when, evidence=(stop.timeline(),))
    return bench.verdict()


@probe("SHUT-8", phase=Phase.SHUTDOWN, needs=(Need.COMMAND,), seconds=180)
async def _nothing_is_left(bench: Bench) -> Verdict:
    """Looks for processes of the session and for the listener two seconds after the exit."""
    stop = await bench.shared(watched_stop)
    in_flight_control(bench, stop)
    bench.sample()
    if stop.exit is None:
        return bench.inconclusive("the process did not end")
    if stop.left:
        bench.fail(
            "processes are left behind",
            "none of the session",
            ", ".join(stop.left),
            replay=stop.command,
            evidence=(stop.timeline(),),
        )
        bench.note(
            "a wrapper that does not pass the signal on (npm start, sh -c) needs exec, or the plain command"
        )
    if not stop.port_free:
        bench.fail("the port stays open", "it can be bound again", "something listens", replay=stop.command)
    return bench.verdict()


@probe(
    "SHUT-9",
    phase=Phase.SHUTDOWN,
    needs=(Need.COMMAND, Need.CREATE, Need.READ, Need.STORE),
    samples=2,
    seconds=120,
)
async def _no_write_is_lost(bench: Bench) -> Verdict:
    """Writes across SIGTERM, starts again on the same store, and reads back what was acknowledged."""
    async with bench.launch(draining=True) as first:
        acknowledged: list[Created] = [await bench.create()]
        refused: list[Answer] = []
        writers = [asyncio.create_task(_write(bench, first, acknowledged, refused)) for _ in range(4)]
        await asyncio.sleep(SIGNAL_AFTER)
        before = len(acknowledged)
        first.process.signal()
        await first.process.wait_end(bench.patience(bench.manifest.start.grace))
        await end(writers)
        async with bench.launch(same_store_as=first):
            bench.control(f"{before} writes were acknowledged before the signal", before > 0)
            bench.note(f"{len(acknowledged) - before} writes were acknowledged after the signal")
            # The last ones are those that may be lost; all of them would take long.
            for created in [*acknowledged[:5], *acknowledged[-200:]]:
                answer = await bench.get(created.path)
                bench.sample()
                if not answer.ok:
                    return bench.fail(
                        "an acknowledged write is gone after the restart",
                        "what was answered 2xx can be read",
                        str(answer),
                        created.answer,
                        answer,
                    )
    return bench.verdict()


async def _write(bench: Bench, target: Target, acknowledged: list[Created], refused: list[Answer]) -> None:
    while target.process.alive:
        try:
            acknowledged.append(await bench.create(target=target, patient=False, seconds=5))
        except Exception:
            # Refused, or cut off: then nothing was promised.
            await asyncio.sleep(0.02)


@probe("SHUT-10", phase=Phase.SHUTDOWN, needs=(Need.COMMAND,), samples=3, seconds=120)
async def _other_signals_and_the_last_record(bench: Bench) -> Verdict:
    """Stops with SIGINT, and with SIGTERM twice, a request in flight; then reads the end of the log."""

    async def twice(target: Target) -> None:
        target.process.signal()
        await asyncio.sleep(0.15)
        target.process.signal()

    async def interrupt(target: Target) -> None:
        target.process.signal(signal.SIGINT)

    await asyncio.gather(_stop_by(bench, "SIGINT", interrupt), _stop_by(bench, "a second SIGTERM", twice))
    return bench.verdict()


async def _stop_by(bench: Bench, name: str, stop_it: Callable[[Target], Awaitable[None]]) -> None:
    own = bench.beside()
    async with own.launch(draining=True) as target:
        flown = await flight(own)
        plain = flown.plain if flown else await own.get(bench.manifest.health.live or "/")
        bench.control(f"the service answers before the signal ({plain})", plain.complete)
        flying = asyncio.ensure_future(flown.send()) if flown else None
        await asyncio.sleep(SIGNAL_AFTER)
        since = bench.now()
        await stop_it(target)
        if flown and flying:
            answer = await flying
            title = f"{name} cuts off what is in flight"
            bench.expect(same(answer, plain), title, str(plain), str(answer), answer)
        ended = await target.process.wait_end(bench.patience(bench.manifest.start.grace))
        bench.expect(ended is not None, f"{name} does not end the process", "an exit", "it still runs")
        await target.process.wait_silence(1.0)
        lines = [line.text for line in target.process.lines if line.at >= since]
        last = Lines("written after the signal", tuple(line[:300] for line in lines[-8:]))
        about = any(
            word in line.lower() for line in lines for word in ("shut", "stop", "exit", "terminat", "drain")
        )
        bench.expect(
            about, "the end is not recorded", "a last record about the shutdown", "none", evidence=(last,)
        )


PROBES: tuple[Probe, ...] = (
    _in_flight_survives,
    _a_large_response_is_not_cut,
    _it_ends_in_time,
    _the_exit_status_is_clean,
    _new_connections_are_served_or_refused,
    _readiness_turns_first,
    _connections_are_told_to_end,
    _nothing_is_left,
    _no_write_is_lost,
    _other_signals_and_the_last_record,
)
