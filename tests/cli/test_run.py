"""`roadworthy run`: what it takes, and what it says when it cannot."""

from __future__ import annotations

import importlib
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roadworthy.cli._application import load_application
from roadworthy.cli._messages import UsageError
from tests.patience import DEADLINE, until
from tests.server.drain import port_of
from tests.server.service import command, environment, get, running

ASGI = "async def app(scope, receive, send): ...\n"
CANARY = "Canary-7f3a91-must-not-appear"


def refused(place: Path, target: str, source: str = "", **env: str) -> str:
    """Return what a start says that is refused with exit code 2."""
    if source:
        (place / "main.py").write_text(source)
    done = command("run", target, "--port", "0", "--ops-port", "off", cwd=place, env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "/cli/" not in done.stderr
    return done.stderr


def test_windows_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Where there are no signals and no passed sockets the command says so, and imports nothing of Unix."""
    code = (
        "import sys\n"
        "for name in ('fcntl', 'grp', 'pwd', 'resource', 'termios', 'uvloop'): sys.modules[name] = None\n"
        "from roadworthy.cli.run import run\n"
        "sys.platform = 'win32'\n"
        "run('main:app')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("roadworthy: run needs Linux or another Unix")
    assert "WSL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write main.py, load an app from it in this process, and return why that is refused."""

    def load(target: str, source: str) -> str:
        (tmp_path / "main.py").write_text(source)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.delitem(sys.modules, "main", raising=False)
        importlib.invalidate_caches()
        try:
            with pytest.raises(UsageError) as caught:
                load_application(target)
        finally:
            sys.modules.pop("main", None)
        return str(caught.value)

    return load


def test_a_refusal_is_one_text_on_standard_error_and_exit_code_two(tmp_path: Path) -> None:
    """What cannot be loaded ends the command with 2, one text and no traceback of ours."""
    assert refused(tmp_path, "main:ap", ASGI) == (
        "roadworthy: module main has no attribute ap; did you mean app?\n"
    )


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("main", "write main:app"),
        ("main.py", "write main:app"),
        ("main.py:app", "write main:app"),
        ("shop/main.py:app", "write shop.main:app"),
        ("main:", "write main:app"),
        ("mian:app", "there is no module mian"),
        ("mian:app", "did you mean main?"),
        ("shop.main:app", "there is no module shop"),
        ("main:ap", "module main has no attribute ap; did you mean app?"),
        ("main:service", "there is main:app"),
    ],
)
def test_a_wrong_import_path_is_explained(
    not_loaded: Callable[[str, str], str], target: str, said: str
) -> None:
    """Form, module and attribute are told apart, each with the nearest match."""
    assert said in not_loaded(target, ASGI)


FULL = """
import functools
import os.path
from dataclasses import field, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route

from roadworthy import Layer, RouteRule, roadworthy, route_rule

api = FastAPI()
router = APIRouter()
app = roadworthy(api)
limits = RouteRule()
joined = os.path.join
later = functools.partial(print, 1)


async def raw(scope, receive, send): ...


async def send_mail(to, subject, body): ...


def compare(left, right, weight): ...


def anything(*args, **kwargs): ...


class Service:
    def __call__(self, a, b, c): ...


service = Service()


def create_app():
    return api
"""


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("main:nope", "module main has no attribute nope; there is main:api, main:app, main:raw"),
        (
            "main:os.path.nope",
            "module main has no attribute os.path.nope; there is main:api, main:app, main:raw",
        ),
        ("main:creat_app", "module main has no attribute creat_app; did you mean create_app?"),
        ("main:sevice", "module main has no attribute sevice; there is main:api, main:app, main:raw"),
        ("main:Depend", "module main has no attribute Depend; there is main:api, main:app, main:raw"),
    ],
)
def test_only_apps_are_offered(not_loaded: Callable[[str, str], str], target: str, said: str) -> None:
    """Imports, helpers, rules and routers of a module are no apps, and are not offered as one."""
    assert not_loaded(target, FULL) == said


def test_a_router_is_offered_where_there_is_nothing_else(not_loaded: Callable[[str, str], str]) -> None:
    """It is an ASGI app, too."""
    source = "from starlette.routing import Router\nsite = Router()"
    assert not_loaded("main:nope", source).endswith("; there is main:site")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("app = 3", "main:app is an object of type int, and not an ASGI app"),
        ("app = None", "main:app is None, and not an ASGI app"),
        ("class app:\n    async def __call__(self, scope, receive, send): ...", "is the class app"),
        ("def app(environ, start_response): ...", "speaks WSGI"),
        (
            "class W:\n    def wsgi_app(self, e, s): ...\n    def __call__(self, e, s): ...\napp = W()",
            "speaks WSGI",
        ),
        (
            "from django.conf import settings\nsettings.configured or settings.configure()\n"
            "from django.core.wsgi import get_wsgi_application\napp = get_wsgi_application()",
            "a Django WSGI application",
        ),
        ("import json as app", "main:app is a module"),
        ("def app(config): ...", "is the function app(config)"),
        ("async def app(): ...", "a factory is a plain function"),
        ("def app(): ...", "returned None"),
        ("def app():\n    return 3", "what main:app() returned is an object of type int"),
        ("def app():\n    return app", "returned another function"),
    ],
)
def test_what_is_no_asgi_app_is_named(not_loaded: Callable[[str, str], str], source: str, said: str) -> None:
    """The message says what the object is instead."""
    assert said in not_loaded("main:app", source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def deep():\n    raise RuntimeError('boom')\ndeep()", "RuntimeError: boom"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("import json\njson.loads('{')", "JSONDecodeError"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(7)", "SystemExit: 7"),
        ("def app():\n    raise RuntimeError('boom')", "calling the factory main:app failed"),
    ],
)
def test_an_import_that_raises_shows_the_service_s_own_frames(
    not_loaded: Callable[[str, str], str], source: str, said: str
) -> None:
    """The traceback begins and ends in the service: no frame of ours, importlib's or a library's."""
    shown = not_loaded("main:app", source)
    assert said in shown
    assert "main.py" in shown
    files = [line.split('"')[1] for line in shown.splitlines() if line.startswith('  File "')]
    assert all(Path(file).name == "main.py" for file in files)


def test_the_app_s_own_settings_leak_nothing(tmp_path: Path) -> None:
    """pydantic/pydantic-settings#256, #530, #937: not even for settings that are none of ours."""
    source = (
        "from pydantic_settings import BaseSettings\n"
        "class Config(BaseSettings):\n    stripe_key: str\n    missing: str\nConfig()"
    )
    shown = refused(tmp_path, "main:app", source, STRIPE_KEY=CANARY)
    assert "missing" in shown
    assert CANARY not in shown


def test_settings_mistakes_are_listed_once(tmp_path: Path) -> None:
    """All of them, by variable or flag, without values and without a traceback."""
    (tmp_path / "main.py").write_text(ASGI)
    done = command(
        "run", "main:app", "--ops-port", "nine", cwd=tmp_path, env={"PORT": "70000", "LOG_LEVEL": "inf"}
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "roadworthy: 3 settings are wrong:"
    for line in ("PORT: expected a whole number", "--ops-port: expected", "LOG_LEVEL: expected one of"):
        assert f"  {line}" in done.stderr
    assert "70000" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("where", ["import", "factory"])
def test_settings_mistakes_of_a_wrapped_app_look_the_same(tmp_path: Path, where: str) -> None:
    """An app that wraps itself makes its settings while it is imported."""
    wrap = "from roadworthy import roadworthy\n" + ASGI.replace("app(", "inner(")
    wrap += "app = roadworthy(inner)" if where == "import" else "def app():\n    return roadworthy(inner)"
    assert refused(tmp_path, "main:app", wrap, LOG_LEVEL="x").startswith(
        "roadworthy: 1 setting is wrong:\n  LOG_LEVEL:"
    )


def test_weak_secrets_stop_production(tmp_path: Path) -> None:
    """A default password in a URL is refused by the variable's name before anything is opened."""
    shown = refused(tmp_path, "main:app", ASGI, DATABASE_URL="postgresql://u:changeme@127.0.0.1/x")
    assert "DATABASE_URL: its password is a well-known default" in shown
    assert "changeme" not in shown


def test_a_rule_that_covers_no_route_stops_the_start(tmp_path: Path) -> None:
    """A limit on a path that does not exist is told by the command, not by a traceback."""
    source = (
        "from fastapi import FastAPI\nfrom roadworthy import RouteRule, roadworthy\n"
        "app = roadworthy(FastAPI(), routes={'/nowhere': RouteRule(rate_limit='1/minute')})"
    )
    shown = refused(tmp_path, "main:app", source)
    assert "/nowhere" in shown
    assert "Traceback" not in shown


HELLO = """
async def hello(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
"""


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (HELLO, "main:hello"),
        (HELLO + "\ndef make(debug=False):\n    return hello", "main:make"),
        (HELLO + "\nclass Box:\n    app = staticmethod(hello)\nbox = Box()", "main:box.app"),
        (HELLO + "\nfrom roadworthy import roadworthy\napp = roadworthy(hello)", "main:app"),
        (
            HELLO + "\nfrom roadworthy import roadworthy\ndef make():\n    return roadworthy(hello)",
            "main:make",
        ),
    ],
)
def test_an_app_a_factory_and_a_wrapped_app_are_served_once_wrapped(
    tmp_path: Path, source: str, target: str
) -> None:
    """Each way to name an app ends in the same service: one layer, so one access record per request."""
    (tmp_path / "main.py").write_text(source)
    flags = ["--port", "0", "--ops-port", "off", "--drain-delay", "0", "--log-format", "json"]
    with running("run", target, *flags, cwd=tmp_path) as process:
        assert get(process.record("listening")["url"], "/x")[1] == b"hello"
        process.process.terminate()
        assert process.exit_code() == 0
        assert sum(record.get("logger") == "roadworthy.access" for record in process.records) == 1


def test_flags_outrank_what_an_app_reads_while_it_is_imported(tmp_path: Path) -> None:
    """`--env` and `--port` reach an app that wrapped itself, over its variables and its own arguments."""
    source = HELLO + "\nfrom roadworthy import roadworthy\napp = roadworthy(hello, port=1, env='test')"
    source += "\nprint(app.settings.env, app.settings.port, flush=True)"
    (tmp_path / "main.py").write_text(source)
    flags = ["--port", "0", "--ops-port", "off", "--env", "development"]
    with running("run", "main:app", *flags, cwd=tmp_path, env={"ROADWORTHY_ENV": "production"}) as process:
        process.record("listening")
        assert "development 0" in process.output.splitlines()


def test_a_person_in_development_gets_a_banner(tmp_path: Path) -> None:
    """On a terminal, and there only, the start is a text for people with both URLs."""
    (tmp_path / "main.py").write_text(HELLO)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "roadworthy", "run", "main:hello", "--env", "development", "--port", "0",
         "--ops-port", "0"],
        cwd=tmp_path, env=environment({"COLUMNS": "100"}), stdout=follower, stderr=follower, stdin=follower,
    )  # fmt: skip
    os.close(follower)
    shown = b""
    try:
        end = time.monotonic() + DEADLINE
        while b"Ctrl-C stops" not in shown and time.monotonic() < end:
            shown += os.read(leader, 65536)
    finally:
        process.kill()
        process.wait(DEADLINE)
        os.close(leader)
    text = shown.decode()
    for part in ("main:hello", "http://127.0.0.1:", "/metrics", "development", "600/minute"):
        assert part in text
    assert '"message"' not in text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_reports_its_steps(tmp_path: Path, workers: str) -> None:
    """While the app is imported an operator sees what is under way, and each step that follows, in order."""
    (tmp_path / "main.py").write_text(
        f"import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)\n{HELLO}"
    )
    flags = ("--port", "0", "--ops-port", "off", "--workers", workers)
    with running("run", "main:hello", *flags, cwd=tmp_path) as process:
        record = process.record("importing main:hello")
        assert (record["level"], record["app"]) == ("info", "main:hello")
        (tmp_path / "go").touch()
        process.record("listening")
        steps = [
            "importing main:hello",
            "preparing main:hello",
            *(["starting 2 workers"] if workers == "2" else []),
        ]
        said = [one["message"] for one in process.records if one["logger"] == "roadworthy.server"]
        assert said[: len(steps)] == steps


def test_the_steps_of_a_start_follow_the_log_level(tmp_path: Path) -> None:
    """At `warning` a start says nothing, and logging is the app's own to configure while it is imported."""
    source = (
        f"import logging\nassert not logging.getLogger().handlers\n{HELLO}\nprint('imported', flush=True)\n"
    )
    (tmp_path / "main.py").write_text(source)
    flags = ("--port", "0", "--ops-port", "off", "--log-level", "warning")
    with running("run", "main:hello", *flags, cwd=tmp_path) as process:
        until(lambda: "imported" in process.output, "the app is imported")
        assert process.output == "imported\n"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_prefix_that_the_proxy_cuts_off(tmp_path: Path, workers: str) -> None:
    """With --root-path links have the prefix, and every path answers as the proxy asks it."""
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    flags = ("--port", "0", "--ops-port", "off", "--root-path", "/api", "--workers", workers)
    with running("run", "main:app", *flags, cwd=tmp_path) as process:
        url = f"http://127.0.0.1:{port_of(process)}"
        until(lambda: get(url, "/readyz")[0] == 200, "the service is ready")
        status, page = get(url, "/docs")
        assert status == 200
        assert b"'/api/openapi.json'" in page
