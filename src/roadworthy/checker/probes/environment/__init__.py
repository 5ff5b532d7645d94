"""Probes of ``environment`` (ENV): what the service makes of its variables when it starts."""

from __future__ import annotations

from ....checklist import Dimension
from ...bench import Bench
from ...errors import StartFailed
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...service.process import free_port
from ...verdict import Verdict
from . import defaults, secrets
from .starts import (
    BAD_LEVEL,
    BAD_PORT,
    WRONG_PASSWORD,
    Outcome,
    bad_store_starts,
    passwords_are_not_asked_for,
    start_with,
    usual_start,
)

__all__ = ("PROBES",)

_ABSENT: dict[str, str | None] = {"missing": None, "empty": "", "blank": " "}
_MORE_LINES = 2
"""Lines by which two starts at one level may differ, such as a warning about the letters."""


@probe("ENV-1", phase=Phase.START, needs=(Need.COMMAND, Need.PORT_ENV), samples=2, seconds=90)
async def _the_port_is_obeyed(bench: Bench) -> Verdict:
    """Starts the production command twice on ports of its own and reads the sockets of its processes."""
    for _ in range(2):
        async with bench.launch(production=True, wait=False) as target:
            wanted = {target.address.port, *target.ports.values()}
            deadline = bench.now() + bench.patience(bench.manifest.ready.timeout)
            try:
                await target.wait_ready(deadline - bench.now())
            except StartFailed as failed:
                ports = {port for _, port in target.process.listening()}
                bench.control("the service starts and listens somewhere", ports)
                if target.address.port in ports:
                    why = f"it listens on {target.address.port} as it was told, and is not ready: {failed}"
                    return bench.inconclusive(why)
                got = f"it listens on {', '.join(map(str, sorted(ports)))}: {str(failed).partition('.')[0]}"
                return bench.fail("the port is not obeyed", f"{target.address.port}", got)
            listening = target.process.listening()
            answer = await bench.get(bench.manifest.health.live or "/")
            bench.control(f"it answers on the port it was given ({answer})", answer.complete)
            bench.sample()
            if extra := sorted({port for _, port in listening} - wanted):
                names = ", ".join((bench.manifest.listen.port_env, *bench.manifest.listen.ports))
                got = ", ".join(f"{host}:{port}" for host, port in sorted(listening) if port in extra)
                return bench.fail("something else listens", f"the ports of {names} only", f"also {got}")
    return bench.verdict()


@probe(
    "ENV-2",
    phase=Phase.START,
    needs=(Need.COMMAND, Need.PORT_ENV),
    quick=False,
    samples=2,
    seconds=120,
    varies=(Dimension.ENVIRONMENT,),
)
async def _a_bad_port_is_refused(bench: Bench) -> Verdict:
    """Starts with abc, 70000, -1, a number and letters, and nothing: it ends and names the variable."""
    name = bench.manifest.listen.port_env
    await usual_start(bench)
    # What a lenient reader makes of the last is a port that is free, so that nothing else refuses it.
    bad = {value: value for value in (BAD_PORT, "70000", "-1", "")} | {
        "a number and letters": f"{free_port()}abc"
    }
    for what, value in (bad if bench.full else dict(list(bad.items())[:2])).items():
        outcome = await start_with(bench, {name: value})
        bench.sample()
        _judge_refusal(bench, f"{name}={what}", name, outcome, mild=not value)
    return bench.verdict()


def _judge_refusal(bench: Bench, what: str, name: str, outcome: Outcome, *, mild: bool = False) -> None:
    """A start has to be given up, with a status that is not 0, and with the variable's name.

    Parameters:
        mild: many take an empty or blank value for none, or as it is, which is a matter of taste as long as
            it serves.
    """
    report = bench.warn if mild and (outcome.ports or outcome.refused) else bench.fail
    expected = f"a non-zero exit status, and {name} in the message"
    if not outcome.refused:
        does = "the start goes on" if outcome.ended is None else "the service exits with status 0"
        report(f"{does} with {what}", expected, str(outcome), evidence=outcome.shown())
    elif name not in outcome.output:
        report(
            f"the message about {what} does not name it",
            expected,
            "another message",
            evidence=outcome.shown(),
        )


@probe("ENV-3", phase=Phase.START, needs=(Need.COMMAND,), seconds=180, varies=(Dimension.ENVIRONMENT,))
async def _missing_variables_are_named(bench: Bench) -> Verdict:
    """Starts without each required variable, with each empty or blank, and without all of them."""
    required = bench.manifest.env.required
    if not required:
        return await _nothing_is_required(bench)
    await usual_start(bench)
    for name in required:
        for how, value in _ABSENT.items() if bench.full else list(_ABSENT.items())[:2]:
            outcome = await start_with(bench, {name: value})
            bench.sample()
            _judge_refusal(bench, f"{name} {how}", name, outcome, mild=how == "blank")
    if len(required) > 1:
        outcome = await start_with(bench, dict.fromkeys(required))
        named = [name for name in required if name in outcome.output]
        bench.note(f"with all of them missing, {len(named)} of {len(required)} are named at once")
    return bench.verdict()


async def _nothing_is_required(bench: Bench) -> Verdict:
    """Nothing is declared: what starts with an almost empty environment requires nothing."""
    manifest = bench.manifest
    keep = {manifest.listen.port_env, *manifest.listen.ports, manifest.database.env}
    without = {name: None for name in (*manifest.env.set, *manifest.check.env) if name not in keep}
    given = ", ".join(sorted(filter(None, keep))) or "nothing"
    try:
        async with bench.launch(env=without, clean=True, production=True):
            return bench.not_applicable(f"no variable is required: it starts with {given} alone")
    except StartFailed as failed:
        return bench.inconclusive(
            f"env.required is not declared, and with {given} alone the service does not start: {failed}",
            undeclared=("env.required",),
        )


@probe("ENV-4", phase=Phase.START, needs=(Need.COMMAND, Need.STORE), samples=2, quick=False, seconds=150)
async def _a_bad_store_is_noticed(bench: Bench) -> Verdict:
    """Starts with URLs of no store: it has to end or stay not ready, and write nothing elsewhere."""
    await usual_start(bench)
    for what, outcome in (await bad_store_starts(bench)).items():
        accepts = outcome.created is not None and outcome.created.ok
        unnoticed = what == WRONG_PASSWORD and (accepts or outcome.ready)
        if unnoticed and (why := await passwords_are_not_asked_for(bench)):
            bench.missed(f"a start with {what}", why)
            continue
        bench.sample()
        expected = "a non-zero exit status, or readiness that stays negative"
        if accepts and outcome.created is not None:
            got = f"routes.create was answered {outcome.created.status}"
            title = f"with {what} a write is answered with a success"
            bench.fail(title, expected, got, outcome.created, evidence=outcome.shown())
        elif outcome.ready and bench.manifest.health.ready:
            bench.fail(f"with {what} the service is ready", expected, str(outcome), evidence=outcome.shown())
        elif outcome.ended is not None and not outcome.refused:
            bench.fail(f"with {what} it exits with status 0", expected, str(outcome))
        elif not outcome.output.strip():
            bench.warn(f"with {what} nothing is reported", "a record of the cause", "no output")
    return bench.verdict()


@probe(
    "ENV-5",
    phase=Phase.START,
    needs=(Need.COMMAND, Need.LOG_LEVEL),
    samples=3,
    quick=False,
    seconds=90,
    varies=(Dimension.ENVIRONMENT,),
)
async def _the_log_level_is_a_level(bench: Bench) -> Verdict:
    """Starts at two levels and counts lines, in the other letters, and with a level that there is not."""
    name = bench.manifest.env.log_level
    capitals = bench.manifest.env.set.get(name, "").isupper()
    counts: dict[str, int] = {}
    for level in ("debug", "error"):
        counts[level] = await _lines_at(bench, level.upper() if capitals else level)
        bench.sample()
        if level == "debug":
            bench.control(f"at debug a start and five requests leave {counts[level]} lines", counts[level])
    bench.expect(
        counts["error"] < counts["debug"],
        f"{name} changes nothing",
        f"fewer than {counts['debug']} lines at error",
        f"{counts['error']} lines",
    )
    await _judge_letters(bench, "error" if capitals else "ERROR", counts)
    outcome = await start_with(bench, {name: BAD_LEVEL})
    bench.sample()
    if outcome.refused or outcome.ready:
        if name not in outcome.output:
            bench.fail(
                f"{name}={BAD_LEVEL} is not reported by name",
                f"a refusal or a warning that names {name}",
                f"{outcome}, without a word about it",
                evidence=outcome.shown(),
            )
    else:
        bench.fail(
            f"{name}={BAD_LEVEL} neither stops the start nor lets it go on", "one of them", str(outcome)
        )
    return bench.verdict()


async def _lines_at(bench: Bench, level: str) -> int:
    """Return how many lines a start and five requests leave at a level.

    Raises:
        StartFailed: it does not start with it.
    """
    route = bench.manifest.routes.by_role.get("list")
    async with bench.launch(env={bench.manifest.env.log_level: level}) as target:
        for _ in range(5):
            await bench.get(route.path if route else bench.manifest.health.live or "/")
        # At the level error nothing is expected, and there is nothing to wait for.
        await target.process.wait_line(lambda _: False, bench.patience(0.5))
        return len(target.process.lines)


async def _judge_letters(bench: Bench, level: str, counts: dict[str, int]) -> None:
    """A level in the other letters is refused, or it is that level."""
    name = bench.manifest.env.log_level
    try:
        found = await _lines_at(bench, level)
    except StartFailed:
        return
    bench.expect(
        found < counts["debug"] and found <= counts["error"] + _MORE_LINES,
        f"{name}={level} is taken for another level",
        f"as many lines as in the other letters ({counts['error']}), or a refusal",
        f"{found} lines",
    )


PROBES: tuple[Probe, ...] = (
    _the_port_is_obeyed,
    _a_bad_port_is_refused,
    _missing_variables_are_named,
    _a_bad_store_is_noticed,
    _the_log_level_is_a_level,
    *secrets.PROBES,
    *defaults.PROBES,
)
