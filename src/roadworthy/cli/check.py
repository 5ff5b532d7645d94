"""``roadworthy check``: start a backend, drive it, and say item by item what is proved."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ._inherited import stay_deaf
from ._messages import refuse

if TYPE_CHECKING:
    from ..checker import Manifest, Options, Run

__all__ = ("FORMATS", "check")

_MANIFEST = Path("roadworthy.toml")
FORMATS = ("json", "text", "junit", "sarif", "html")

_HELP = """Start a backend in any language, drive it with traffic, faults and signals, and report findings.

TARGET is `main:app` (served by `roadworthy run`), a command after `--` (as in `roadworthy check -- node
server.js`), or a URL on this machine. Without one, roadworthy.toml names what to start.

Exit codes: 0 no required assertion failed, 1 findings, 2 wrong usage or manifest, 3 the service did not
start or ended during the check, 4 too many required assertions stayed without proof, 70 the checker broke,
130 interrupted (the reports have the findings so far).

`check init` writes roadworthy.toml; without the file each check infers the same again. `check list` lists
the assertions, `check waive` accepts a finding.
"""


class _Group(TyperGroup):
    """Takes every first word that is no subcommand as the target of a check."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the command that is meant when none is named."""
        if not args or args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


check = typer.Typer(cls=_Group, add_completion=False, help="Prove the production checklist on any backend.")


@check.callback()
def _find_neighbours() -> None:
    # Started as .venv/bin/roadworthy, servers of the same environment are meant and not on the path.
    os.environ["PATH"] = os.pathsep.join(
        (os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent))
    )


@check.command(name="run", help=_HELP, hidden=True, context_settings={"help_option_names": ["-h", "--help"]})
def _run(
    target: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET]", show_default=False, help="main:app, a URL, or a command after --"),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="IDS", help="Assertions, families or items: RTL,SHUT-3.", show_default=False),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            metavar="quick|full",
            help="full: everything. quick: no load, no faults, no waiting, one worker, no series of starts; "
            "the report lists what was left out. Both take as many samples.",
        ),
    ] = "full",
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The manifest (./roadworthy.toml by default).", show_default=False),
    ] = None,
    report: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT=FILE", help=f"Also write a report: {', '.join(FORMATS)}.", show_default=False
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Require medium assertions as well, and fail on warnings.")
    ] = False,
    allow_inconclusive: Annotated[
        int, typer.Option(metavar="N", help="How many required assertions may stay without proof.")
    ] = 0,
    allow_writes: Annotated[
        bool,
        typer.Option(
            "--allow-writes",
            help="Write where the check can have no store of its own: in a service that runs already, in a "
            "store that the manifest does not declare. What it created is deleted through routes.delete.",
        ),
    ] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="List the assertions that would be tried, and exit.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the phases and what the manifest lacks; start nothing.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the notes of passed assertions too.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show only what is wrong, and the last line.")
    ] = False,
) -> None:
    """Check a service."""
    from ..checker import ManifestError, Options, Profile
    from ..checker.manifest.target import for_target
    from ..checker.manifest.variables import with_kind
    from ..checker.registry import choose
    from ..server.process.folder import Folder
    from ..server.process.listeners import ServeError

    if profile not in set(Profile):
        refuse(f"--profile {profile} is neither quick nor full")
    options = Options(
        only=tuple(only or ()),
        profile=Profile(profile),
        strict=strict,
        allow_inconclusive=allow_inconclusive,
        allow_writes=allow_writes,
    )
    try:
        Folder.current()
        choose(options.only)
        writers = [_writer(text) for text in report or ()]
        written = _declared(manifest)
        if listing:
            _list(options.only)
            return
        declared = with_kind(for_target(target or (), written))
    except (ManifestError, ServeError) as error:
        refuse(error)
    if dry_run:
        _show_plan(declared, options)
        return
    done = _checked(declared, options, verbose=verbose, quiet=quiet)
    for write, path in writers:
        write(done, path)
    raise typer.Exit(int(done.exit_code))


@check.command(name="init")
def _init(
    target: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET]", show_default=False, help="main:app, a URL, or a command after --"),
    ] = None,
    manifest: Annotated[Path, typer.Option(metavar="FILE", help="Where to write it.")] = _MANIFEST,
    force: Annotated[bool, typer.Option("--force", help="Replace a manifest that is there.")] = False,
) -> None:
    """Write roadworthy.toml from what can be seen of the service, each line with its evidence."""
    import asyncio

    from ..checker import ExitCode, Manifest, ManifestError, StartFailed
    from ..checker.manifest.infer import infer
    from ..checker.manifest.target import for_target
    from ..checker.manifest.write import manifest_text

    if manifest.exists() and not force:
        refuse(f"{manifest} is there already; --force replaces it")
    try:
        declared = for_target(target or (), _declared(None) if not force else Manifest())
        text = manifest_text(asyncio.run(infer(declared)))
    except ManifestError as error:
        refuse(error)
    except StartFailed as error:
        print(f"roadworthy: {error}", file=sys.stderr)
        raise typer.Exit(int(ExitCode.UNREACHABLE)) from None
    _write(manifest, text)
    print(f"{manifest} is written; read it, fill in what it asks for, and commit it. Then: roadworthy check")


@check.command(name="list")
def _list_command(
    only: Annotated[
        list[str] | None, typer.Argument(metavar="[IDS]", show_default=False, help="Families, items or ids.")
    ] = None,
) -> None:
    """List the assertions with their severity."""
    from ..checker import ManifestError

    try:
        _list(tuple(only or ()))
    except ManifestError as error:
        refuse(error)


@check.command(name="waive")
def _waive(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="An assertion (CMP-3) or a family (CMP).")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why this is acceptable.")],
    route: Annotated[str, typer.Option(metavar="GLOB", help="Only on these paths.", show_default=False)] = "",
    expires: Annotated[
        str, typer.Option(metavar="DATE", help="Counts again from this day on.", show_default=False)
    ] = "",
    owner: Annotated[str, typer.Option(metavar="NAME", help="Who decided.", show_default=False)] = "",
    manifest: Annotated[Path, typer.Option(metavar="FILE")] = _MANIFEST,
) -> None:
    """Accept a finding: it stays visible in every report and no longer fails the check."""
    import json
    from datetime import UTC, datetime

    from ..checker import ManifestError, parse_manifest

    values = {"id": identifier.upper(), "reason": reason, "route": route, "expires": expires, "owner": owner}
    # A text of JSON is one of TOML too.
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items() if value]
    before = manifest.read_text("utf-8") if manifest.exists() else "version = 1\n"
    text = f"{before.rstrip()}\n\n[[waivers]]\n" + "\n".join(lines) + "\n"
    try:
        added = parse_manifest(text, manifest.name).waivers[-1]
    except ManifestError as error:
        refuse(error)
    if added.expires and added.expires <= datetime.now(UTC).date().isoformat():
        refuse(f"--expires {added.expires} has come already, so the waiver would cover nothing")
    _write(manifest, text)
    print(f"{added.id} is waived in {manifest}{f' until {added.expires}' if added.expires else ''}")


def _write(manifest: Path, text: str) -> None:
    try:
        manifest.write_text(text, "utf-8")
    except OSError as error:
        refuse(f"{manifest} cannot be written ({error.strerror})")


def _declared(file: Path | None) -> Manifest:
    from ..checker import Manifest, load_manifest

    path = file or _MANIFEST
    if file is None and not path.exists():
        return Manifest()
    return load_manifest(path)


def _writer(text: str) -> tuple[Any, Path]:
    """Return the writer of a format and the path of ``json=report.json``."""
    from ..checker import ManifestError
    from ..checker.report import html, json, junit, sarif, terminal

    name, equals, path = text.partition("=")
    if not equals or name not in FORMATS or not path:
        raise ManifestError(f"--report {text} is not FORMAT=FILE; the formats are {', '.join(FORMATS)}")
    if not Path(path).parent.is_dir():
        raise ManifestError(f"--report {text}: there is no folder {Path(path).parent}")
    if Path(path).is_dir() or not os.access(path if Path(path).exists() else Path(path).parent, os.W_OK):
        # Known before the check begins: afterwards its findings would be lost.
        raise ManifestError(f"--report {text}: {path} cannot be written")
    writers = {"html": html, "json": json, "junit": junit, "sarif": sarif, "text": terminal}
    return writers[name].write, Path(path)


def _checked(manifest: Manifest, options: Options, *, verbose: bool, quiet: bool) -> Run:
    """Run the check; what cannot go on ends the process with its exit code."""
    import asyncio
    import signal

    from rich.console import Console

    from ..checker import ExitCode, ManifestError, StartFailed, run_check
    from ..checker.events import Notice
    from ..checker.manifest.infer import infer
    from ..checker.report.terminal import Terminal

    # What this process ignores (nohup, a shell's &), the service is to hear: the check is about how it ends.
    stay_deaf(*(one for one in (signal.SIGHUP, signal.SIGINT) if signal.getsignal(one) == signal.SIG_IGN))
    terminal = Terminal(Console(highlight=False), verbose=verbose, quiet=quiet)

    async def interruptible() -> Run:
        task = asyncio.current_task()
        assert task is not None
        # The default of SIGTERM would end the checker and leave the service behind.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        known = manifest
        if not manifest.file:
            known = (await infer(manifest)).manifest
            places = ", ".join(known.inferred) or "nothing"
            terminal(Notice(f"there is no {_MANIFEST}; inferred: {places} (roadworthy check init writes it)"))
        return await run_check(known, options, terminal)

    try:
        return asyncio.run(interruptible())
    except ManifestError as error:
        refuse(error)
    except StartFailed as error:
        terminal.close()
        print(f"roadworthy: {error}", file=sys.stderr)
        raise typer.Exit(int(ExitCode.UNREACHABLE)) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        terminal.close()
        print("roadworthy: interrupted before anything was found; nothing is left running", file=sys.stderr)
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    except Exception as error:
        terminal.close()
        print(f"roadworthy: the checker broke: {type(error).__name__}: {error}", file=sys.stderr)
        raise typer.Exit(int(ExitCode.INTERNAL)) from None


def _list(only: Sequence[str]) -> None:
    from ..checker.registry import choose, probe_of

    for entry in choose(only):
        found = probe_of(entry.id)
        quick = "" if found is None or found.quick else " (full profile only)"
        print(f"{entry.id:<8} {entry.severity.value:<9} {entry.title}{quick if found else ' (no probe yet)'}")


def _show_plan(manifest: Manifest, options: Options) -> None:
    from ..checker.needs import unmet
    from ..checker.phases import PHASES, Phase, Profile
    from ..checker.registry import choose, probe_of

    probes = [found for entry in choose(options.only) if (found := probe_of(entry.id)) is not None]
    for phase in Phase:
        mine = [found for found in probes if found.phase is phase]
        if mine:
            print(f"{PHASES[phase].title}: {PHASES[phase].why}")
        for found in mine:
            missing = unmet(found.needs, manifest)
            note = f"{missing.verdict}: {missing.reason}" if missing else ""
            if not missing and not found.quick and options.profile is Profile.QUICK:
                note = "inconclusive: left out by --profile quick"
            print(f"  {found.assertion.id:<8} {found.assertion.title}{f'  [{note}]' if note else ''}")
