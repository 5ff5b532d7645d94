"""What a manifest may say, and how its mistakes are told."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pytest

from roadworthy.checker import Manifest, ManifestError, parse_manifest
from roadworthy.checker.bench.bodies import fresh
from roadworthy.checker.manifest.model import ManifestFile
from roadworthy.checker.manifest.target import for_target
from roadworthy.settings.rules import CHECKED


def test_everything_may_be_left_out() -> None:
    """An empty manifest is one: every section is optional."""
    manifest = parse_manifest("")
    assert (manifest.startable, manifest.listen.host, manifest.logs.format) == (False, "127.0.0.1", "json")


def test_units() -> None:
    """Times and sizes have units, numbers are seconds and bytes."""
    text = (
        '[limits]\nbody = "1MiB"\nrequest_timeout = "500ms"\n[rate_limit]\nwindow = 60\n[start]\ngrace = "2m"'
    )
    manifest = parse_manifest(text)
    assert manifest.limits.body == 1 << 20
    assert manifest.limits.request_timeout == 0.5
    assert (manifest.rate_limit.window, manifest.start.grace) == (60.0, 120.0)


@pytest.mark.parametrize("time", ["2min", "2m", "2 MIN", "120s", "120", "120000ms", 120, 120.0])
def test_times_are_written_as_in_the_settings(time: str | float) -> None:
    """Every spelling of a duration that a setting takes is taken here too."""
    assert parse_manifest(f"[start]\ngrace = {time!r}".replace("'", '"')).start.grace == 120.0


@pytest.mark.parametrize("size", ["1mib", "1MiB", "1 MIB", "1024kib", "1048576b", "1048576", 1048576])
def test_sizes_are_written_as_in_the_settings(size: str | int) -> None:
    """Every spelling of a size that a setting takes is taken here too."""
    assert parse_manifest(f"[limits]\nbody = {size!r}".replace("'", '"')).limits.body == 1 << 20


@pytest.mark.parametrize(
    ("text", "policy"),
    [("", ""), ('origins = ["https://a.example"]', "origins"), ('policy = "public"', "public")],
)
def test_a_list_of_origins_is_a_policy(text: str, policy: str) -> None:
    """Origins need no policy beside them: COR-10 looks for grants that nobody declared."""
    assert parse_manifest(f"[cors]\n{text}").cors.policy == policy


def test_every_mistake_is_told_with_its_line() -> None:
    """All mistakes come at once, in the order of the file, each with a way out."""
    text = """
[start]
comand = ["a"]
grace = "soon"
[routes]
read = { path = "items" }
[cors]
policy = "public"
origins = ["https://a.example"]
[metrics]
port_env = "OPS"
[[waivers]]
id = "CMP-3"
expires = "tomorrow"
"""
    with pytest.raises(ManifestError) as error:
        parse_manifest(text)
    lines = [int(line.split(":")[1]) for line in str(error.value).splitlines()]
    assert lines == sorted(lines)
    for words in (
        "roadworthy.toml:3: start.comand: unknown key; did you mean command?",
        "roadworthy.toml:4: start.grace: must be a time",
        "roadworthy.toml:6: routes.read.path: must begin with /",
        "cors.policy: public and a list of origins exclude each other",
        "waivers.0.reason: is required",
        "waivers.0.expires: must be a date",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[routes]\nread = { path = "/x" }', "has to have {id}"),
        ('[routes]\ncreate = { path = "/x", id = "7" }', "where the new id stands"),
        ('[routes]\nread = { path = "/x/{id}", id = true }', "or an id"),
        ('[start]\ncommand = ["a"]\nurl = "http://127.0.0.1:1"', "exclude each other"),
        ('[start]\nurl = "https://127.0.0.1:1"', "plain HTTP"),
        ('[ready]\nstatus = "2xx"', "a range of them"),
        ("[check]\nenv = 3", "must be a table"),
        ("waivers = 3", "array of tables"),
        ("[start]\ncwd = 3", "must be a quoted string, not a number"),
        ("[start]\nshell = 'yes'", "must be true or false, not a str"),
        ("[start]\ncommand = 'a b'", "must be an array of strings"),
        ("[start]\ncommand = ['a', 3]", "must be a quoted string, not a number"),
        ("start = 3", r"must be a table, \[start\]"),
        ("[listen]\nport = 0", "must be a whole number from 1 up"),
        ("[listen]\nport = true", "must be a whole number from 1 up"),
        ("[workers]\ntest = 1.5", "must be a whole number from 2 up"),
        ("[limits]\nbody = '1 potato'", "must be a size"),
        ("[limits]\nrequest_timeout = -1", "must be a time"),
        ("[logs]\nformat = 'jsn'", "'jsn' is not one of json, logfmt, text; did you mean json?"),
        ("[rate_limit]\nroute = 'lst'", "unknown role 'lst'; did you mean list?"),
        ("[routes]\nraed = { path = '/x' }", "unknown role 'raed'; did you mean read?"),
        ("[routes]\nlist = { path = '/x', pth = '/y' }", "unknown key; did you mean path?"),
        ("[routes]\nlist = { path = '/x', role = 'read' }", "the name of the table is the role"),
        ("[routes]\nlist = {}", "routes.list.path: is required"),
        ("[check]\nrate_limit = { requets = 3 }", "did you mean requests?"),
        ("[env]\nset = { A = ['x'] }", "must be a quoted string, not an array"),
        ("[[waivers]]\nreason = 'x'", "waivers.0.id: is required"),
        ("[[waivers]]\nid = 'CMP-3'\nreason = 'x'\nline = 3", "unknown key"),
        ("folder = '/x'", "folder: unknown key"),
        ("[metrics]\nport_env = 'OPS'", "OPS is not one of listen.ports"),
        ("= 3", "this is not TOML"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    """What cannot work is refused in words that say what would."""
    with pytest.raises(ManifestError, match=message):
        parse_manifest(text)


def test_no_mistake_hides_another() -> None:
    """A contradiction between two values is reported beside the wrong type of a third in the same table."""
    with pytest.raises(ManifestError) as error:
        parse_manifest(
            '[cors]\npolicy = "none"\norigins = ["a"]\ncredentials = 3\nx = 1\n[start]\ngrace = "z"'
        )
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == [
        "cors.policy",
        "cors.credentials",
        "cors.x",
        "start.grace",
    ]


def test_ids_that_are_always_there() -> None:
    """A service without a route that creates declares the id of what is there; it may be a number."""
    manifest = parse_manifest(
        '[routes]\nread = { path = "/users/{id}", id = 1 }\ncreate = { path = "/users" }'
    )
    assert manifest.routes.read is not None
    assert manifest.routes.create is not None
    assert (manifest.routes.read.literal, manifest.routes.create.literal) == ("1", "")


def test_bodies_are_new_each_time() -> None:
    """``{unique}`` and ``{number}`` become something new; a text that is only ``{number}`` a number."""
    body = {"id": "{number}", "name": "a {unique}", "tags": ["{number}-x", 3, None]}
    first, second = fresh(body, "u1"), fresh(body, "u2")
    assert isinstance(first["id"], int)
    assert 0 < first["id"] < 2**31
    assert first["id"] != second["id"]
    assert (first["name"], first["tags"]) == ("a u1", [f"{first['id']}-x", 3, None])
    assert body["id"] == "{number}"


def test_lines() -> None:
    """A finding is shown at the line of its section, or of the nearest around it."""
    manifest = parse_manifest("version = 1\n[health]\nlive = '/livez'\n[routes.read]\npath = '/a/{id}'\n")
    lines = [manifest.line(path) for path in ("health.live", "health.ready", "routes.read.id", "cors")]
    assert lines == [3, 2, 4, 0]


def test_targets() -> None:
    """The words of the command line are a URL, an app, or a command."""
    empty = Manifest()
    assert for_target(["http://localhost:8000/"], empty).start.url == "http://localhost:8000"
    app = for_target(["main:app"], empty)
    assert app.start.command == (sys.executable, "-m", "roadworthy", "run", "main:app")
    assert (app.listen.port_env, app.listen.ports) == ("PORT", ("OPS_PORT",))
    assert for_target(["node", "server.js"], empty).start.command == ("node", "server.js")
    with pytest.raises(ManifestError, match="not this machine"):
        for_target(["http://example.com:80"], empty)
    with pytest.raises(ManifestError, match="nothing to check"):
        for_target([], empty)


def test_manifests_of_the_examples_are_right() -> None:
    """Every manifest in the repository is one that is understood."""
    files = sorted((Path(__file__).parents[3] / "examples").glob("*/**/roadworthy.toml"))
    files = [file for file in files if "node_modules" not in file.parts]
    assert len(files) >= 8
    for file in files:
        parse_manifest(file.read_text("utf-8"), file.name, file.parent)


def test_rules_of_routes_are_left_to_the_service() -> None:
    """One file has both: neither reader refuses, or judges, what belongs to the other."""
    text = '[start]\ncommand = ["x"]\n\n[rules."POST /upload"]\nno_such_field = "1GiB"\n'
    assert parse_manifest(text).start.command == ("x",)
    known = {one.name for one in fields(ManifestFile)}
    assert known == CHECKED | {"rules"}


@pytest.mark.parametrize(
    ("text", "movable"),
    [
        ('[start]\ncommand = ["x"]\n[listen]\nport_env = "PORT"\n', True),
        ('[start]\ncommand = ["x", "--port={port}"]\n', True),
        ('[start]\ncommand = ["x"]\n[listen]\nport = 8000\n', False),
        ('[start]\nurl = "http://127.0.0.1:8000"\n[listen]\nport_env = "PORT"\n', False),
    ],
)
def test_who_can_have_several_processes(text: str, movable: bool) -> None:
    """A service that runs already is one process, so that what counts its requests has it to itself."""
    assert parse_manifest(text).movable is movable
