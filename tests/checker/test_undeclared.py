"""What a manifest does not declare is a reason of its own, and comes with the lines that would mend it."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from roadworthy.checker import Verdict, parse_manifest
from roadworthy.checker.declare import DECLARABLE, Unlock, declared, manifest_lines, unlocks
from roadworthy.checker.manifest.target import for_target
from roadworthy.checker.needs import Need, unmet
from roadworthy.checker.verdict import Result
from roadworthy.checklist import assertion

_PROBES = Path(__file__).parents[2] / "src" / "roadworthy" / "checker"
_START = '[start]\ncommand = ["node", "server.js"]\n'
_KEYS = sorted(need.key for need in Need if need.key)


def _lines(keys: list[str], text: str = _START) -> str:
    """Return what is to be pasted for some keys."""
    steps = [Unlock((key,), ("ERR-1",)) for key in keys]
    return "\n".join(manifest_lines(steps, parse_manifest(text)))


def test_every_need_has_a_key_or_is_there_unless_denied() -> None:
    """Compression alone is never missing for want of a line."""
    assert [need for need in Need if not need.key] == [Need.COMPRESSION]
    assert set(_KEYS) <= set(DECLARABLE)


@pytest.mark.parametrize("key", sorted({*DECLARABLE} - {"start.command"}))
def test_a_key_has_lines_that_the_manifest_accepts(key: str) -> None:
    """Pasted below a manifest, the lines of one key declare it."""
    pasted = parse_manifest(_START + _lines([key]))
    assert not declared(key, parse_manifest(_START))
    assert declared(key, pasted)


@pytest.mark.parametrize("need", [need for need in Need if need.key and need is not Need.COMMAND])
def test_a_need_is_met_by_its_lines(need: Need) -> None:
    """What a probe needs is there once the lines of its key are."""
    assert unmet((need,), parse_manifest(_START)) is not None
    assert unmet((need,), parse_manifest(_START + _lines([need.key]))) is None


def test_a_url_is_replaced_by_a_command() -> None:
    """In the manifest of a running service the command stands in place of the URL, with its line."""
    text = '[start]\nurl = "http://127.0.0.1:8000"\n'
    lines = _lines(["start.command"], text)
    assert "in [start], line 1 instead of url" in lines
    command = next(line.removeprefix("# ") for line in lines.splitlines() if "command =" in line)
    assert parse_manifest(f"[start]\n{command}\n").startable


def test_a_command_that_a_url_replaces_is_not_asked_for() -> None:
    """With a URL on the command line, the manifest's command is there: leave the URL out."""
    manifest = for_target(["http://127.0.0.1:8000"], parse_manifest(_START))
    lines = "\n".join(manifest_lines([Unlock(("start.command",), ("SHUT-1",))], manifest))
    assert "run the check without the URL" in lines
    assert "command =" not in lines


def test_all_lines_can_be_pasted_together() -> None:
    """The block as a whole is TOML: a table is opened once, whatever the order of its keys."""
    keys = [*reversed(DECLARABLE)]
    pasted = parse_manifest(_START + _lines(keys))
    assert [key for key in keys if not declared(key, pasted)] == []


def test_routes_are_pasted_below_the_routes_that_are_there() -> None:
    """A manifest with a table of routes takes another below it, with the path of those it has."""
    text = f'{_START}[routes]\nlist = {{ path = "/v1/books?page=1" }}\n[logs]\nformat = "text"\n'
    lines = _lines(["routes.create", "routes.read"], text)
    routes = parse_manifest(text + lines).routes.by_role
    assert (routes["create"].path, routes["read"].path) == ("/v1/books", "/v1/books/{id}")


def test_a_table_that_is_there_is_named_with_its_line() -> None:
    """TOML does not open a table twice: its keys are comments that name the place, and the rest parses."""
    text = f'{_START}[health]\nlive = "/up"\n'
    lines = _lines(["health.ready", "metrics.path"], text)
    assert "# in [health], line 3:" in lines
    assert '# ready = "/readyz"' in lines
    assert parse_manifest(text + lines).metrics.path == "/metrics"


def test_a_known_kind_of_store_is_kept() -> None:
    """Of a store whose kind is declared, the variable alone is missing."""
    text = f'{_START}[database]\nkind = "sqlite"\n'
    assert "kind =" not in _lines(["database.env"], text)


def _result(identifier: str, *undeclared: str) -> Result:
    entry = assertion(identifier)
    return Result(
        id=identifier,
        item=entry.item,
        verdict=Verdict.INCONCLUSIVE,
        severity=entry.severity,
        undeclared=undeclared,
    )


def test_what_unlocks_most_comes_first() -> None:
    """Steps are by what a key is worth; keys that help only together are one step; the sum is everything."""
    results = [
        *(_result(f"VAL-{number}", "routes.create") for number in range(5)),
        *(_result(f"CTL-{number}", "routes.create", "routes.read") for number in range(1, 4)),
        *(_result(f"MET-{number}", "metrics.path") for number in range(1, 5)),
        _result("TXN-1", "routes.child_create", "routes.transfers"),
        _result("HLT-1"),
    ]
    found = unlocks(results)
    assert [(step.keys, len(step.assertions)) for step in found] == [
        (("routes.create",), 5),
        (("metrics.path",), 4),
        (("routes.read",), 3),
        (("routes.child_create", "routes.transfers"), 1),
    ]


def test_a_waived_result_asks_for_nothing() -> None:
    """A decision to live without a proof is no reason to ask for lines."""
    manifest = parse_manifest(f'{_START}[[waivers]]\nid = "VAL-1"\nreason = "no writes"\n')
    result = replace(_result("VAL-1", "routes.create"), waived=manifest.waivers[0])
    assert unlocks([result]) == ()


@pytest.mark.parametrize(
    ("need", "declared"),
    [
        (Need.STORE, '[database]\nkind = "none"'),
        (Need.METRICS, "[metrics]\npush = true"),
        (Need.RATE_LIMIT, "[rate_limit]\noff = true"),
        (Need.CORS_ORIGINS, '[cors]\npolicy = "none"'),
        (Need.COMPRESSION, 'compression = "upstream"'),
        (Need.SECRETS, "[env]\nsecret = []"),
        (Need.REQUIRED_ENV, "[env]\nrequired = []"),
        (Need.WORKERS, '[workers]\nenv = ""'),
    ],
)
def test_what_a_service_declares_to_do_without_is_not_applicable(need: Need, declared: str) -> None:
    """Written down it is a decision, for the report to repeat; left out it is a question."""
    found = need.missing(parse_manifest(f"{declared}\n{_START}"))
    assert found is not None
    assert found[0] is Verdict.NOT_APPLICABLE
    assert f"the manifest declares {need.key.partition('.')[0] or 'compression'}" in found[1]


@pytest.mark.parametrize("order", [(Need.CREATE, Need.STORE), (Need.STORE, Need.CREATE)])
def test_what_is_denied_decides_before_what_is_missing(order: tuple[Need, ...]) -> None:
    """A service that declares to have no store is not asked for a route to try it with."""
    found = unmet(order, parse_manifest(f'{_START}[database]\nkind = "none"\n'))
    assert found is not None
    assert (found.verdict, found.undeclared) == (Verdict.NOT_APPLICABLE, ())


def test_all_missing_keys_are_named() -> None:
    """A probe with two unmet needs names both, so that the first line alone is not promised to help."""
    found = unmet((Need.CREATE, Need.READ), parse_manifest(_START))
    assert found is not None
    assert found.undeclared == ("routes.create", "routes.read")


_SAID = re.compile(r"\b(?:routes|health|metrics|env|database|rate_limit|cors|workers|listen)\.[a-z_]+\b")
_ENDS = {"inconclusive", "control", "ControlFailed"}
# Words about keys that are declared already, or that a window of the limit depends on.
_NOT_MISSING = ("the valid body of", "is answered", "has no JSON object", "see RTL-3", "would help")


def _reasons() -> list[tuple[str, str, bool]]:
    """Return each reason in the source that names a key: its place, its text, and whether it says so."""
    found: list[tuple[str, str, bool]] = []
    for file in sorted((*_PROBES.glob("probes/**/*.py"), *_PROBES.glob("bench/*.py"))):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            text = "".join(
                str(part.value)
                for part in ast.walk(node.args[0])
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )
            if name not in _ENDS or not _SAID.search(text) or any(words in text for words in _NOT_MISSING):
                continue
            says = any(word.arg == "undeclared" for word in node.keywords)
            says = says or (name == "ControlFailed" and len(node.args) > 1)
            found.append((f"{file.name}:{node.lineno}", text, says))
    return found


def test_every_reason_that_names_a_key_declares_it_missing() -> None:
    """A probe that ends for want of a key hands the key over, so that it is not read as a failure."""
    found = _reasons()
    assert len(found) > 10
    assert [(place, text) for place, text, says in found if not says] == []
