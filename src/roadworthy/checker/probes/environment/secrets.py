"""Probes of ``environment``: secrets are not shown, and weak ones are not accepted."""

from __future__ import annotations

import re
from pathlib import Path

from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need, unmet
from ...phases import Phase
from ...probe import Probe, probe
from ...verdict import Lines, Verdict
from .starts import (
    BAD_LEVEL,
    BAD_PORT,
    Outcome,
    bad_store_starts,
    planted,
    secret_names,
    start_with,
    usual_start,
    weak,
)

__all__ = ("PROBES",)

# Where frameworks show their configuration.
_SHOWN = (
    *("/env", "/info", "/config", "/configprops", "/debug", "/debug/vars", "/debug/pprof/cmdline"),
    *("/actuator", "/actuator/env", "/actuator/configprops", "/actuator/info", "/health", "/metrics"),
    *("/status", "/server-info", "/phpinfo.php", "/.env"),
)
_EXAMPLES = (".env.example", ".env.sample", ".env.dist", ".env.template", "env.example", ".env.test")


@probe("ENV-6", phase=Phase.START, needs=(Need.COMMAND,), quick=False, samples=4, seconds=240)
async def _no_secret_is_shown(bench: Bench) -> Verdict:
    """Plants a secret in each variable that is one, and searches output, responses and command lines.

    It does so in a good start at the level debug, and in starts that are refused: for a bad port, a bad
    level, a missing variable, a short secret, and a store whose URL has a password.
    """
    manifest = bench.manifest
    names = secret_names(bench)
    has_url = bool(manifest.database.env) and manifest.database.kind not in {"", "none", "sqlite"}
    if not names and not has_url:
        missing = unmet((Need.SECRETS,), manifest)
        assert missing is not None
        ended = bench.not_applicable if missing.verdict is Verdict.NOT_APPLICABLE else bench.inconclusive
        return ended(missing.reason, undeclared=missing.undeclared)
    if names and not await planted(bench):
        return bench.inconclusive(f"the service does not start with other values in {', '.join(names)}")
    await _judge_running(bench)
    refused: dict[str, Outcome] = {}
    if manifest.listen.port_env:
        refused["a bad port"] = await start_with(bench, {manifest.listen.port_env: BAD_PORT})
    if manifest.env.log_level:
        refused["a bad level"] = await start_with(bench, {manifest.env.log_level: BAD_LEVEL})
    for name in manifest.env.required:
        refused[f"{name} missing"] = await start_with(bench, {name: None})
    for name in names:
        refused[f"a short {name}"] = await start_with(bench, {name: await weak(bench, name)})
    if bench.full and has_url:
        refused |= await bad_store_starts(bench)
    for what, outcome in refused.items():
        bench.sample()
        _judge_text(bench, f"the output of a start with {what}", outcome.output)
    return bench.verdict()


def _judge_text(bench: Bench, where: str, text: str, *answers: Answer) -> None:
    found = [label for label in bench.leaks(text) if label.startswith(("[canary: env: ", "[secret: "))]
    if found:
        lines = tuple(line[:300] for line in text.splitlines() if bench.leaks(line))[:3]
        shown = () if answers else (Lines(where, lines),)
        bench.fail(f"a secret is in {where}", "no trace of it", ", ".join(found), *answers, evidence=shown)


async def _judge_running(bench: Bench) -> None:
    """Search what a running service shows: responses, output, and the list of processes."""
    manifest, routes = bench.manifest, bench.manifest.routes.by_role
    env: dict[str, str | None] = dict(await planted(bench))
    if manifest.env.log_level:
        capitals = manifest.env.set.get(manifest.env.log_level, "").isupper()
        env[manifest.env.log_level] = "DEBUG" if capitals else "debug"
    async with bench.launch(env=env) as target:
        paths = [*_SHOWN, bench.unknown_path(), manifest.health.live, manifest.health.ready, manifest.openapi]
        answers = [await bench.get(path) for path in filter(None, paths)]
        if bench.has(Need.METRICS):
            answers.append(await bench.get(manifest.metrics.path, address=target.metrics_address))
        answers += [await bench.call(routes[role]) for role in ("list", "fails") if role in routes]
        if "create" in routes:
            create = routes["create"]
            as_json = {**create.headers, "Content-Type": "application/json"}
            answers.append(await bench.request(create.method, create.path, as_json, b'{"a": '))
        bench.control("the service answered", sum(answer.complete for answer in answers) > 3)
        for answer in answers:
            head = answer.head.raw.decode("latin-1") if answer.head else ""
            _judge_text(bench, "a response", head + answer.text, answer)
        bench.sample(len(answers))
        _judge_text(bench, "the output at the level debug", target.process.output())
        for one in target.process.tree():
            bench.sample()
            _judge_text(bench, "the list of processes", _command_line(one.pid))


def _command_line(pid: int) -> str:
    """Return what everybody on the machine can read about a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _examples(bench: Bench, name: str) -> list[tuple[str, str]]:
    """Return the values that the project's example files give to a variable, and which file does."""
    found: list[tuple[str, str]] = []
    for file in _EXAMPLES:
        try:
            text = (bench.manifest.folder / file).read_text("utf-8", "replace")
        except OSError:
            continue
        pattern = rf"^\s*(?:export\s+)?{re.escape(name)}\s*=\s*[\"']?([^\"'\n#]+)"
        found += [(file, match.strip()) for match in re.findall(pattern, text, re.M) if match.strip()]
    return found


@probe("ENV-7", phase=Phase.START, needs=(Need.COMMAND, Need.SECRETS), quick=False, samples=3, seconds=180)
async def _weak_secrets_are_refused(bench: Bench) -> Verdict:
    """Starts with "changeme", a short secret, one letter many times, and what the example file has."""
    names = secret_names(bench)
    if not names:
        return bench.not_applicable(
            "the only declared secret is the store's URL, whose password is the store's"
        )
    await usual_start(bench)
    for name in names:
        values = {
            '"changeme"': "changeme",
            "eight characters": await weak(bench, name),
            "one letter forty times": "a" * 40,
        }
        values |= {f"what {file} has": value for file, value in _examples(bench, name)}
        for what, value in values.items():
            outcome = await start_with(bench, {name: value})
            bench.sample()
            if not outcome.refused:
                bench.fail(
                    f"{name} may be {what}",
                    f"a non-zero exit status, and {name} in the message",
                    str(outcome),
                    evidence=outcome.shown(),
                )
            elif name not in outcome.output:
                bench.warn(
                    f"the refusal of a weak {name} does not name it",
                    name,
                    "another message",
                    evidence=outcome.shown(),
                )
    return bench.verdict()


PROBES: tuple[Probe, ...] = (_no_secret_is_shown, _weak_secrets_are_refused)
