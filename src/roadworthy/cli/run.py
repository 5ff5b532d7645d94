"""``roadworthy run main:app``: the layer around the app, served by this process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ._messages import UsageError, refuse
from ._verdict import judge

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from ..layer import Layer
    from ..server.process.folder import Folder
    from ..server.process.run import Addresses
    from ..settings import Problem, Settings

__all__ = ("layered", "run")


_LEAST_DESCRIPTORS = 32
"""A service with one connection comes up with 20, measured; the rest is for the app's own."""


class _StoppedError(BaseException):
    """Raised by SIGTERM until the server handles it; no Exception, so that importing an app lets it by."""


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:APP", show_default=False, help="The ASGI app, or a function that makes it."
        ),
    ],
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Address to listen on (127.0.0.1 by default).", show_default=False
        ),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(metavar="N", help="Port; 0 takes any free one (8000 by default).", show_default=False),
    ] = None,
    ops_port: Annotated[
        str | None,
        typer.Option(
            metavar="N|off",
            help="Port for metrics and health details; 0 for any free one, off for none (9464 by default).",
            show_default=False,
        ),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="production, development or test (production by default).",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N", help="Worker processes (1 by default).", show_default=False)
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="debug, info, warning, error, critical (info by default).",
            show_default=False,
        ),
    ] = None,
    log_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="json or console (by default console on a terminal in development).",
            show_default=False,
        ),
    ] = None,
    drain_delay: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="Time from SIGTERM to closing the listener (5 by default).",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="Time for requests in flight after that (20 by default).",
            show_default=False,
        ),
    ] = None,
    uds: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Listen on a Unix socket instead.", show_default=False),
    ] = None,
    root_path: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX", help="Prefix that a proxy in front cuts off (/api).", show_default=False
        ),
    ] = None,
    tls_cert: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Certificate chain (PEM); the listener speaks https.", show_default=False
        ),
    ] = None,
    tls_key: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Its private key (PEM).", show_default=False),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: restart when a source file changes.")
    ] = False,
) -> None:
    """Put the production layer around an ASGI app and serve it.

    A flag overrides the environment; `roadworthy config` shows every setting. SIGTERM drains: readiness
    fails, requests are still served, then the listener closes and requests in flight finish. SIGHUP reloads
    the code of several workers without losing a request.
    """
    import signal

    if sys.platform == "win32":
        refuse(
            "run needs Linux or another Unix: draining and workers are made of signals and passed sockets. "
            "On Windows use WSL or a container."
        )
    signal.signal(signal.SIGTERM, _stop)
    flags = {
        "host": host, "port": port, "ops_port": ops_port, "env": env, "workers": workers,
        "log_level": log_level, "log_format": log_format, "drain_delay": drain_delay, "grace": grace,
        "uds": uds, "root_path": root_path, "tls_cert": tls_cert, "tls_key": tls_key,
    }  # fmt: skip
    try:
        code = _run(target, {name: value for name, value in flags.items() if value is not None}, reload)
    except (KeyboardInterrupt, _StoppedError):
        code = 0
    raise typer.Exit(code)


def _stop(number: int, frame: FrameType | None) -> None:
    raise _StoppedError


def _run(target: str, flags: dict[str, str], reload: bool) -> int:
    from ..server.process.folder import Folder
    from ..server.process.listeners import ServeError
    from ..server.process.run import serve
    from ..settings import SettingsError, set_flags

    set_flags(flags)
    try:
        folder = Folder.current()
        _check_descriptors()
        known = _known_settings()
        if reload or (known is not None and known.workers > 1):
            return _supervise(target, flags, folder, reload)
        if known is not None:
            _record(known, f"importing {target}", target)
        app = layered(target)
        if app.settings.workers > 1:
            return _supervise(target, flags, folder, reload)
        _record(app.settings, f"preparing {target}", target)
        return serve(app, app.settings, target, _banner(target, app.settings))
    except (UsageError, ServeError, SettingsError) as error:
        refuse(error)


def _check_descriptors() -> None:
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit < _LEAST_DESCRIPTORS:
        raise UsageError(
            f"this process may have {limit} descriptors open, and a service needs {_LEAST_DESCRIPTORS} and "
            "one more for each connection. Raise the limit: ulimit -n 1024, or LimitNOFILE= in systemd."
        )


def _known_settings() -> Settings | None:
    """Return the settings that are known without the app: for several workers this process imports none."""
    from ..settings import SettingsError, load_settings

    try:
        return load_settings()
    except SettingsError:
        return None  # the app may know more settings; if it does not, importing it reports this again


def _record(settings: Settings, message: str, target: str) -> None:
    """Write one record and leave logging as it was, for the app may configure it while it is imported."""
    import logging

    from ..layer.logging import configure

    routed = configure(settings)
    try:
        logging.getLogger("roadworthy.server").info(message, extra={"app": target})
    finally:
        routed.restore()


def _supervise(target: str, flags: dict[str, str], folder: Folder, reload: bool) -> int:
    from ..server.workers.supervisor import Errand, Supervisor

    command = [folder.interpreter(), "-m", "roadworthy.cli.worker"]
    return Supervisor(
        Errand(command, target, flags, folder, reload), lambda settings: _banner(target, settings)
    ).run()


def layered(target: str, *, first: bool = True) -> Layer:
    """Import the app and put the layer around it, unless it has one.

    Parameters:
        target: ``module:attribute`` of the app.
        first: it is imported to find out whether it can be served; False once that is known.

    Raises:
        UsageError: there is no such app, or it cannot be served.
        SettingsError: settings are wrong.
    """
    from ..layer import Layer, roadworthy
    from ..layer.local.group import FolderError
    from ..settings import SettingsError
    from ._application import load_application

    found = load_application(target)
    app = found if isinstance(found, Layer) else roadworthy(found)
    problems: list[Problem] = []
    if first:
        try:
            judge(app.settings)
        except SettingsError as error:
            problems += error.problems
    try:
        # Binds the per-route rules, so that one that covers no route is reported before a port is opened.
        _ = app.operations
    except SettingsError as error:
        problems += error.problems
    except ValueError as error:
        if not problems:
            raise UsageError(f"{target}: {error}") from None
    except FolderError as error:
        if not problems:
            raise UsageError(error) from None
    if problems:
        raise SettingsError(dict.fromkeys(problems))
    return app


def _banner(target: str, settings: Settings) -> Callable[[Addresses], None] | None:
    """Return what shows a person where the service is; None leaves it to a record."""
    if settings.env != "development" or not sys.stderr.isatty():
        return None
    from ._banner import show_banner

    return lambda addresses: show_banner(addresses, target, settings)
