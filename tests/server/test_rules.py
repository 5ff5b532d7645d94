"""Rules of single routes in a file: for one process, for several workers, on reload and under uvicorn."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.patience import DEADLINE, until
from tests.server.service import command, running
from tests.servers import serving

SOURCE = """
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
{imports}

async def take(request):
    await request.body()
    return Response(status_code=204)

app = Starlette(routes=[Route(path, take, methods=["POST"]) for path in ("/upload", "/other")])
{layer}
"""
PLAIN = SOURCE.format(imports="", layer="")
WRAPPED = SOURCE.format(imports="from roadworthy import roadworthy", layer="app = roadworthy(app)")
RULE = '[start]\ncommand = ["roadworthy", "run", "main:app"]\n\n[rules."POST /upload"]\nbody_limit = "{}"\n'
FLAGS = ("--port", "0", "--ops-port", "off", "--drain-delay", "0", "--log-format", "json")


def post(url: str, path: str, size: int) -> int:
    """Return the status of a body of ``size`` bytes."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE)
    try:
        connection.request("POST", path, b"a" * size)
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def served(kind: str, folder: Path) -> Generator[str]:
    """Serve the app of this folder and give its URL."""
    if kind == "uvicorn":
        (folder / "main.py").write_text(WRAPPED)
        with serving("uvicorn", "main:app", folder, {"PYTHONPATH": str(folder)}, "/livez") as server:
            yield server.url
        return
    with running("run", "main:app", *FLAGS, "--workers", kind, cwd=folder) as process:
        yield str(process.record("listening")["url"])


@pytest.mark.parametrize("kind", ["1", "2", "uvicorn"])
def test_one_route_is_loosened_and_not_all(kind: str, tmp_path: Path) -> None:
    """An upload of 2 MiB passes where the rule is, and is 413 elsewhere."""
    (tmp_path / "main.py").write_text(PLAIN)
    (tmp_path / "roadworthy.toml").write_text(RULE.format("1GiB"))
    with served(kind, tmp_path) as url:
        for _ in range(4):
            assert post(url, "/upload", 2 << 20) == 204
            assert post(url, "/other", 2 << 20) == 413


def test_a_reload_reads_the_file_again(tmp_path: Path) -> None:
    """SIGHUP brings the changed rule into force; with a mistake in it the old workers serve on."""
    (tmp_path / "main.py").write_text(PLAIN)
    file = tmp_path / "roadworthy.toml"
    file.write_text(RULE.format("10"))
    with running("run", "main:app", *FLAGS, "--workers", "2", cwd=tmp_path) as process:
        url = str(process.record("listening")["url"])
        assert post(url, "/upload", 20) == 413
        file.write_text(RULE.format("none of it"))
        process.signal(signal.SIGHUP)
        until(lambda: "not reloaded" in process.output, "the mistake is reported")
        assert (
            "roadworthy.toml:5: POST /upload body_limit: a size is bytes" in process.output + process.errors
        )
        file.write_text(RULE.format("30"))
        process.signal(signal.SIGHUP)
        until(lambda: post(url, "/upload", 20) == 204, "the new rule is in force")


def test_development_reloads_when_the_file_changes(tmp_path: Path) -> None:
    """`--reload` watches the file as it watches the code."""
    (tmp_path / "main.py").write_text(PLAIN)
    file = tmp_path / "roadworthy.toml"
    file.write_text(RULE.format("10"))
    with running("run", "main:app", *FLAGS, "--reload", cwd=tmp_path) as process:
        url = str(process.record("listening")["url"])
        assert post(url, "/upload", 20) == 413
        file.write_text(RULE.format("30"))
        until(lambda: post(url, "/upload", 20) == 204, "the new rule is in force")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_mistake_stops_the_start_before_a_port_is_opened(workers: str, tmp_path: Path) -> None:
    """Exit code 2 and the list, whoever imports the app."""
    (tmp_path / "main.py").write_text(PLAIN)
    (tmp_path / "roadworthy.toml").write_text('[rules."/uploda"]\nbody_limt = 1\n')
    done = command("run", "main:app", *FLAGS, "--workers", workers, cwd=tmp_path)
    assert done.returncode == 2
    assert (
        "roadworthy.toml:2: /uploda body_limt: a rule has no such field; did you mean body_limit?"
        in done.stderr
    )
    assert (
        "roadworthy.toml:1: the rule '/uploda' covers no route of the app; did you mean '/upload'?"
        in done.stderr
    )


@pytest.mark.parametrize("where", ["file", "code"])
def test_uvicorn_reports_the_mistakes_at_its_start(where: str, tmp_path: Path) -> None:
    """The start fails, and its report has the same list."""
    source = WRAPPED
    if where == "code":
        source = WRAPPED.replace("import roadworthy", "import RouteRule, roadworthy")
        source = source.replace("roadworthy(app)", "roadworthy(app, routes={'/uploda': RouteRule()})")
    else:
        (tmp_path / "roadworthy.toml").write_text('[rules."/uploda"]\n')
    (tmp_path / "main.py").write_text(source)
    with (
        pytest.raises(AssertionError, match=r"the rule '/uploda' covers no route of the app; did you mean"),
        serving("uvicorn", "main:app", tmp_path, {"PYTHONPATH": str(tmp_path)}),
    ):
        pass
