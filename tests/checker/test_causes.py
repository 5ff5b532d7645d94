"""One fault is one block of a report, however many places it was seen in, with the fix for the stack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadworthy.checker import Verdict, parse_manifest
from roadworthy.checker.report import html, junit, terminal
from roadworthy.checker.report import json as json_report
from roadworthy.checker.report._causes import by_cause, capped, numbered
from roadworthy.checker.report._stack import fix_for, stack_of
from roadworthy.checker.verdict import Finding, Result, Waiver, WireExchange
from roadworthy.checklist import ITEMS, PATTERNS, Severity, assertion
from roadworthy.checklist.fixes import STACKS

from .sample_run import sample_run


def finding(title: str, expected: str = "as it should be", got: str = "not so", **more: Any) -> Finding:
    """Return a finding."""
    known = {"verdict": Verdict.FAIL, "severity": Severity.HIGH}
    return Finding(title=title, expected=expected, got=got, **{**known, **more})


def result(identifier: str, *findings: Finding, **more: Any) -> Result:
    """Return a failing result."""
    entry = assertion(identifier)
    known = {"verdict": Verdict.FAIL, "severity": entry.severity}
    return Result(id=identifier, item=entry.item, findings=findings, **{**known, **more})


def names(count: int) -> list[Finding]:
    """Return what an exporter without help texts gives: a finding for each family."""
    return [
        finding(f"node_part{each} has no help text", "as the conventions have it", f"node_part{each}")
        for each in range(count)
    ]


_ORIGINS = [
    finding(
        f"an origin that is not trusted may act as the user ({kind})",
        f"no grant for {origin}",
        f"Access-Control-Allow-Origin: {origin}",
        route=f"GET {path}",
    )
    for kind, origin in (("another site", "https://evil.example"), ("null", "null"))
    for path in ("/a", "/b")
]


@pytest.mark.parametrize(
    ("results", "titles"),
    [
        ([result("MET-3", *names(68))], ["… has no help text"]),
        ([result("COR-1", *_ORIGINS)], ["an origin that is not trusted may act as the user"]),
        (
            [result("HDR-1", finding("a field is missing")), result("HDR-3", finding("a field is missing"))],
            ["a field is missing"],
        ),
        (
            [
                result("HDR-1", finding("a field is missing", "one")),
                result("HDR-3", finding("a field is missing")),
            ],
            ["a field is missing", "a field is missing"],
        ),
        (
            [result("VAL-1", *(finding(f"{what} is accepted", "4xx") for what in ("null", "a text", "NaN")))],
            ["… is accepted"],
        ),
        (
            [
                result(
                    "VAL-1", finding("null is accepted", "4xx"), finding("null makes the service fail", "4xx")
                )
            ],
            ["null is accepted", "null makes the service fail"],
        ),
        (
            [result("VAL-1", finding("null is accepted")), result("VAL-2", finding("a text is accepted"))],
            ["null is accepted", "a text is accepted"],
        ),
        (
            [
                result(
                    "HDR-3",
                    finding("a page can be framed"),
                    finding("data can be framed", severity=Severity.LOW),
                )
            ],
            ["a page can be framed", "data can be framed"],
        ),
    ],
    ids=[
        *("names", "cases", "assertions", "expectations"),
        *("inputs", "consequences", "inputs elsewhere", "severities"),
    ],
)
def test_the_same_fault_is_one_cause(results: list[Result], titles: list[str]) -> None:
    """Names, cases, routes and assertions make no cause of their own; another expectation does."""
    causes = by_cause(results)
    assert [cause.title for cause in causes] == titles
    assert sum(len(cause.seen) for cause in causes) == sum(len(each.findings) for each in results)


def test_places_are_named_and_counted() -> None:
    """The first few places stand there, and the number of the others."""
    (cause,) = by_cause([result("MET-3", *names(68))])
    assert cause.places(3) == ("node_part0", "node_part1", "node_part2", "and 65 more")
    (cause,) = by_cause([result("COR-1", *_ORIGINS)])
    assert cause.places(2) == ("GET /a (another site)", "GET /b (another site)", "and 2 more")
    (cause,) = by_cause(
        [result("HDR-1", finding("x", route="GET /")), result("HDR-3", finding("x", route="GET /"))]
    )
    assert (cause.route, cause.places(3)) == ("GET /", ("HDR-1", "HDR-3"))
    (cause,) = by_cause([result("HDR-1", finding("x", route="GET /"))])
    assert cause.places(3) == ()


def test_the_worst_comes_first() -> None:
    """Failures before warnings, severe before mild, what is waived at the end; so within a cause too."""
    waiver = Waiver(id="CMP-3", reason="the proxy compresses")
    mild = finding("mild", severity=Severity.LOW)
    results = [
        result("ERR-1", mild, finding("warned", verdict=Verdict.WARN, severity=Severity.CRITICAL)),
        result("CMP-3", finding("waived", severity=Severity.CRITICAL), waived=waiver),
        result("VAL-1", finding("bad", severity=Severity.CRITICAL)),
        result("HDR-1", finding("mild", severity=Severity.MEDIUM)),
    ]
    causes = by_cause(results)
    assert [cause.title for cause in causes] == ["bad", "mild", "warned", "waived"]
    assert (causes[1].result.id, causes[1].ids) == ("HDR-1", ("HDR-1", "ERR-1"))


def test_an_assertion_has_three_blocks_at_most() -> None:
    """Further causes of the same assertion stand by their titles below its third block."""
    results = [result("ERR-6", *(finding(f"method {each} fails thus{each}") for each in "abcde"))]
    found = list(capped(by_cause(results)))
    assert [len(more) for _, more in found] == [0, 0, 2]


def test_ids_are_joined_to_ranges() -> None:
    """Neighbours are a range, and families stay apart."""
    assert numbered(("VAL-0", "VAL-1", "VAL-2", "VAL-9", "MET-1")) == "VAL-0 to 2, VAL-9, MET-1"


def test_reports_show_a_block_and_json_keeps_all(tmp_path: Path) -> None:
    """68 findings of one exporter are one block for people, and 68 findings for programs."""
    run = replace(sample_run(), results=(result("MET-3", *names(68)),))
    for writer, name in ((terminal, "text"), (html, "html"), (junit, "xml")):
        writer.write(run, tmp_path / name)
        text = (tmp_path / name).read_text("utf-8")
        assert "and 65 more" in text or (name == "html" and "and 56 more" in text), name
        assert text.count("has no help text") <= 4, name
    assert len(json_report.document(run)["assertions"][0]["findings"]) == 68


@pytest.mark.parametrize(
    ("command", "head", "stack"),
    [
        (["node", "server.js"], "X-Powered-By: Express", "express"),
        (["node", "server.js"], "Server: nginx", ""),
        (["node", "dist/main.js"], "X-Powered-By: Express", "nestjs"),
        (["npx", "fastify", "start", "app.js"], "", "fastify"),
        (["python", "manage.py", "runserver"], "", "django"),
        (["gunicorn", "shop.wsgi:application"], "", "django"),
        (["./serve"], "server: WSGIServer/0.2 CPython/3.12", "django"),
        (["uvicorn", "main:app"], "", "fastapi"),
        (["roadworthy", "run", "main:app"], "", "fastapi"),
        (["./start.sh"], "server: uvicorn", "fastapi"),
        (["go", "run", "."], "", "go"),
        (["mvn", "spring-boot:run"], "", "spring-boot"),
        (["java", "-jar", "app.jar"], "", ""),
        (["python", "-m", "http.server"], "Server: SimpleHTTP/0.6 Python/3.11", ""),
    ],
)
def test_the_stack_is_what_command_and_fields_show(command: list[str], head: str, stack: str) -> None:
    """A command or a field that one framework alone has names the stack; nothing is guessed."""
    text = f"[start]\ncommand = {command}\n".replace("'", '"')
    wire = WireExchange("GET / HTTP/1.1", f"HTTP/1.1 200 OK\n{head}\n\nServer: Express", "curl", 0.1)
    results = (result("HDR-1", finding("x", evidence=(wire,))),)
    run = replace(sample_run(), manifest=parse_manifest(text), results=results)
    assert stack_of(run) == stack


@pytest.mark.parametrize("stack", ["", *STACKS])
def test_every_item_has_a_fix_for_every_stack(stack: str) -> None:
    """Each item has one for each stack and for an unknown one; code patterns have none."""
    for item in ITEMS:
        found = fix_for(item.id, stack)
        assert found is not None
        assert found[0] == STACKS.get(stack, "any stack")
        assert found[1].snippet
    assert {fix_for(pattern.id, stack) for pattern in PATTERNS} == {None}


def test_a_fix_stands_once_for_each_item(tmp_path: Path) -> None:
    """The second block of an item refers to the first; a waived finding needs no fix."""
    waiver = Waiver(id="COR-1", reason="meant so")
    results = (
        result("HDR-1", finding("one")),
        result("HDR-3", finding("two")),
        result("COR-1", finding("three"), waived=waiver),
    )
    manifest = parse_manifest('[start]\ncommand = ["go", "run", "."]\n')
    terminal.write(replace(sample_run(), manifest=manifest, results=results), tmp_path / "out.txt")
    text = (tmp_path / "out.txt").read_text("utf-8")
    assert text.count("fix       Go (net/http):") == 1
    assert text.count("fix       see HDR-1") == 1
    assert text.count("        fix  ") == 2


def test_a_block_begins_with_a_thing() -> None:
    """Where nothing but the end is common to the titles, the first of them is the heading."""
    accepted = (finding(f"{what} is accepted", "4xx") for what in ("null", "a text", "NaN"))
    (cause,) = by_cause([result("VAL-1", *accepted)])
    assert cause.heading == "null is accepted"
    assert cause.places(2) == ("null", "a text", "and 1 more")
