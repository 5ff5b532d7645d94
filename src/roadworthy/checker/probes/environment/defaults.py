"""Probes of ``environment``: files, debugging, and variables that do nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...bench import Bench
from ...errors import StartFailed
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.leaks import internals
from ...service.process import free_port
from ...verdict import Verdict
from .starts import BAD_LEVEL, BAD_PORT, start_with, usual_start

__all__ = ("PROBES",)

# Variables that switch the debugging of frameworks on or off.
_MODE = re.compile(
    r"(?:^|_)(?:DEBUG|ENV|ENVIRONMENT|MODE|STAGE)$|^(?:SPRING_PROFILES_ACTIVE|ASPNETCORE_ENVIRONMENT|GIN_MODE)$"
)
_CONSOLES = (
    *(
        "/console",
        "/debug",
        "/debug/vars",
        "/debug/pprof/",
        "/__debug__/",
        "/_debug_toolbar/",
        "/actuator/env",
    ),
    *("/actuator/heapdump", "/actuator/beans", "/h2-console", "/rails/info/properties", "/phpinfo.php"),
    *("/_profiler", "/telescope", "/.env", "/server-status", "/graphiql"),
)
_DEBUG_PAGE = re.compile(
    r"You're seeing this error because|DEBUG = True|Werkzeug Debugger|Whoops\\|Symfony Exception|__debugger__"
)
_DOCUMENTS = (".md", ".rst", ".txt", ".adoc")
_MOST_DOCUMENTS = 500


def _mirror(bench: Bench, name: str) -> Path:
    """Return a folder with everything that is in the working folder, and without its ``.env``."""
    real = bench.manifest.folder / bench.manifest.start.cwd
    folder = bench.stage.context.folder / f"mirror-{name}-{bench.unique()}"
    folder.mkdir()
    for entry in os.scandir(real):
        # A link to the file would be the file; a folder's link is enough for programs to find theirs.
        if entry.name != ".env":
            (folder / entry.name).symlink_to(Path(entry.path).resolve())
    return folder


@probe("ENV-8", phase=Phase.START, needs=(Need.COMMAND, Need.PORT_ENV), samples=2, quick=False, seconds=120)
async def _the_environment_wins(bench: Bench) -> Verdict:
    """Starts in a copy of its folder with another port in .env, and in one without it, at another home."""
    name = bench.manifest.listen.port_env
    await usual_start(bench)
    bare = _mirror(bench, "bare")
    try:
        async with bench.launch(production=True, clean=True, cwd=bare) as target:
            answer = await bench.get(bench.manifest.health.live or "/")
            bench.expect(
                answer.complete, "without .env the service does not serve", "2xx", str(answer), answer
            )
            assert target.process.alive
    except StartFailed as failed:
        if not (bench.manifest.folder / bench.manifest.start.cwd / ".env").exists():
            return bench.inconclusive(f"the service does not start in a copy of its folder: {failed}")
        got = str(failed).partition("\n")[0]
        return bench.fail("without .env the service does not start", "the environment is enough", got)
    filled = _mirror(bench, "env")
    other = free_port()
    (filled / ".env").write_text(f"{name}={other}\n")
    async with bench.launch(production=True, clean=True, cwd=filled, wait=False) as target:
        process = target.process
        deadline = bench.now() + bench.patience(bench.manifest.ready.timeout)
        ports: set[int] = set()
        while process.ended is None and bench.now() < deadline and not ports & {target.address.port, other}:
            ports = {port for _, port in process.listening()}
            await process.wait_end(0.05)
        bench.control("the service starts with a .env beside it", ports or process.ended is None)
        bench.expect(
            other not in ports and target.address.port in ports,
            "a .env file wins over the environment",
            f"{name}={target.address.port}, as in the environment",
            f"it listens on {', '.join(map(str, sorted(ports))) or 'nothing'}",
        )
    return bench.verdict()


@probe("ENV-9", phase=Phase.START, needs=(Need.COMMAND,), samples=3, seconds=60)
async def _debugging_is_off(bench: Bench) -> Verdict:
    """Starts without the variables that name a mode, causes errors, and asks for the pages of debuggers."""
    manifest = bench.manifest
    modes = [name for name in manifest.env.set if _MODE.search(name) and name not in manifest.env.required]
    env: dict[str, str | None] = dict.fromkeys(modes)
    try:
        async with bench.launch(env=env, clean=True):
            await _judge_debugging(bench)
    except StartFailed as failed:
        return bench.inconclusive(f"without {', '.join(modes) or 'the mode'} it does not start: {failed}")
    if modes:
        bench.note(f"tried without {', '.join(modes)}")
    return bench.verdict()


async def _judge_debugging(bench: Bench) -> None:
    routes = bench.manifest.routes.by_role
    unknown = await bench.get(f"/{bench.unique()}")
    bench.control(f"an unknown path is no page ({unknown})", unknown.complete and not unknown.ok)
    answers = [unknown, await bench.get(bench.unknown_path())]
    if "fails" in routes:
        answers.append(await bench.call(routes["fails"]))
    else:
        bench.note("no route raises (routes.fails), so only refusals were searched for stacks")
    if "create" in routes:
        create = routes["create"]
        as_json = {**create.headers, "Content-Type": "application/json"}
        answers.append(await bench.request(create.method, create.path, as_json, b'{"a": '))
    for answer in answers:
        bench.sample()
        text = answer.text.replace(answer.request.path, "")
        found = internals(text)
        if _DEBUG_PAGE.search(text):
            found.append("a page of a debugger")
        if found:
            bench.fail(
                "by default errors show debugging details", "nothing internal", ", ".join(found), answer
            )
    for path in _CONSOLES:
        answer = await bench.get(path)
        bench.sample()
        if answer.ok and answer.body != unknown.body:
            bench.fail("a debug page is open", "404", str(answer), answer)


@probe("ENV-10", phase=Phase.START, needs=(Need.COMMAND,), quick=False, seconds=180)
async def _variables_do_something(bench: Bench) -> Verdict:
    """Gives each declared variable a value that cannot be, or looks for its default in the documents."""
    manifest = bench.manifest
    if not manifest.env.optional:
        if "env.optional" in manifest.lines:
            return bench.not_applicable("the manifest declares env.optional = []")
        return bench.inconclusive(
            "needs the variables that the service documents (env.optional)", undeclared=("env.optional",)
        )
    await usual_start(bench)
    known = {manifest.listen.port_env: BAD_PORT, manifest.env.log_level: BAD_LEVEL}
    documents = _documents(bench)
    for name in manifest.env.optional:
        outcome = await start_with(bench, {name: known.get(name, "rw nonsense")})
        bench.sample()
        documented = any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for text in documents)
        if not outcome.refused and name not in outcome.output and not documented:
            bench.fail(
                f"{name} has no visible effect",
                "a bad value is refused or reported, or its default is documented",
                f"{outcome}, and no document has its name",
            )
    return bench.verdict()


def _documents(bench: Bench) -> list[str]:
    """Return the texts of the project's documents and of its example files."""
    found: list[str] = []
    for folder, names, files in os.walk(bench.manifest.folder):
        names[:] = [name for name in names if not name.startswith(".") and name != "node_modules"]
        for file in files:
            if file.endswith(_DOCUMENTS) or "env.example" in file or "env.sample" in file:
                try:
                    found.append((Path(folder) / file).read_text("utf-8", "replace"))
                except OSError:
                    continue
            if len(found) >= _MOST_DOCUMENTS:
                return found
    return found


PROBES: tuple[Probe, ...] = (_the_environment_wins, _debugging_is_off, _variables_do_something)
