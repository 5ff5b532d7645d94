"""What the reports say, read back as their readers would."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from rich.console import Console

from roadworthy.checker import ExitCode, Run, Verdict
from roadworthy.checker.declare import unlocks
from roadworthy.checker.events import Notice, ProbeFinished, RunFinished
from roadworthy.checker.report import html, junit, sarif, terminal
from roadworthy.checker.report import json as json_report
from roadworthy.checker.verdict import Result, judge_item
from roadworthy.checklist import ASSERTIONS, Severity

from .sample_run import HOSTILE, sample_run


def test_json_keeps_its_schema(tmp_path: Path) -> None:
    """The report of every kind of result and evidence is valid against the published schema."""
    run = sample_run()
    text = json.dumps(json_report.document(run))
    jsonschema.validate(json.loads(text), json.loads(json_report.SCHEMA.read_text()))


def cases(path: Path) -> dict[str, ElementTree.Element]:
    """Return the cases of a JUnit file by the id of their assertion."""
    found = ElementTree.parse(path).getroot().iter("testcase")
    return {case.attrib["name"].partition(" ")[0]: case for case in found}


def test_junit_has_a_case_for_every_assertion(tmp_path: Path) -> None:
    """Red is what decides, what is waived or does not decide is skipped, and passes are cases too."""
    junit.write(sample_run(), tmp_path / "out.xml")
    found = cases(tmp_path / "out.xml")
    kinds = {name: [child.tag for child in case] for name, case in found.items()}
    assert kinds == {
        "ERR-1": [],
        "ERR-6": ["skipped", "system-out"],
        "CMP-3": ["skipped", "system-out"],
        "SHUT-1": ["failure"],
        "SHUT-4": ["skipped"],
        "RTL-2": ["error"],
        "MET-1": [],
        "ENV-1": ["error"],
    }
    assert found["CMP-3"][0].get("message") == "waived: the gateway compresses"
    assert found["SHUT-1"].get("classname") == "roadworthy.graceful-shutdown"
    text = found["SHUT-1"][0].text or ""
    assert "expected  200, complete" in text
    assert "replay    curl" in text
    assert "\\x1b[31m" in text
    root = ElementTree.parse(tmp_path / "out.xml").getroot()
    counts = [root.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["8", "1", "2", "3"]


def test_junit_is_green_when_the_check_is(tmp_path: Path) -> None:
    """What may stay without proof (--allow-inconclusive) is skipped, so that both say the same."""
    junit.write(sample_run(exit_code=ExitCode.OK), tmp_path / "out.xml")
    assert [child.tag for child in cases(tmp_path / "out.xml")["RTL-2"]] == ["skipped"]


def sarif_of(folder: Path) -> dict[str, Any]:
    """Return the only run of a SARIF file."""
    sarif.write(sample_run(folder), folder / "out.sarif")
    log = json.loads((folder / "out.sarif").read_text("utf-8"))
    assert log["version"] == "2.1.0"
    assert "2.1.0" in log["$schema"]
    (run,) = log["runs"]
    found: dict[str, Any] = run
    return found


def test_sarif_declares_every_rule(tmp_path: Path) -> None:
    """Each assertion is a rule with the members that code hosts show."""
    rules = sarif_of(tmp_path)["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [entry.id for entry in ASSERTIONS]
    for rule in rules:
        assert 0 < len(rule["shortDescription"]["text"]) <= 1024
        assert 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in {"error", "warning", "note"}
        assert 0 < float(rule["properties"].get("security-severity", "1")) <= 10


def test_sarif_points_at_the_manifest(tmp_path: Path) -> None:
    """A result has a place in the repository and never a URL (CodesWhat/drydock#404), and a fingerprint."""
    (tmp_path / ".git").mkdir()
    folder = tmp_path / "services" / "a b"
    folder.mkdir(parents=True)
    run = sarif_of(folder)
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "services/a%20b/roadworthy.toml"
        assert place["region"]["startLine"] >= 1
        assert result["message"]["text"]
        assert re.fullmatch(r"[0-9a-f]{32}:\d", result["partialFingerprints"]["primaryLocationLineHash"])
    lines = {
        each["ruleId"]: each["locations"][0]["physicalLocation"]["region"]["startLine"]
        for each in run["results"]
    }
    assert lines["SHUT-1"] == 4
    prints = [each["partialFingerprints"]["primaryLocationLineHash"] for each in run["results"]]
    assert len(prints) == len(set(prints)) == 4


def test_sarif_shows_what_is_waived_and_what_is_open(tmp_path: Path) -> None:
    """A waived finding is suppressed with its reason; what stayed without proof is told and is no alert."""
    run = sarif_of(tmp_path)
    waived = {each["ruleId"]: each.get("suppressions") for each in run["results"]}
    assert waived["CMP-3"] == [
        {"kind": "external", "status": "underReview", "justification": "the gateway compresses"}
    ]
    assert waived["SHUT-1"] is None
    levels = {each["ruleId"]: each["level"] for each in run["results"]}
    assert levels == {"ERR-6": "note", "CMP-3": "error", "SHUT-1": "error"}
    notes = [each["message"]["text"] for each in run["invocations"][0]["toolExecutionNotifications"]]
    assert any(text.startswith("RTL-2 inconclusive: no limit") for text in notes)


class Page(HTMLParser):
    """Collects what a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element, and every address in it."""
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in {"src", "href", "srcset", "action"}
        ]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Every element ends where it has to."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.texts.append(data)


def test_the_page_is_safe_and_whole(tmp_path: Path) -> None:
    """No script, no address outside, no markup from the wire; every element is closed."""
    html.write(sample_run(), tmp_path / "out.html")
    text = (tmp_path / "out.html").read_text("utf-8")
    found = Page(text)
    assert found.open == []
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(found.tags)
    assert all(address.startswith("#") for address in found.addresses)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in unescape(text)
    assert "<script>" not in text
    for char in ("\x00", "\x1b", "\u202e"):
        assert char not in text
    # The hostile text is there, to be read.
    assert "</pre><script>alert(1)</script>&" in "".join(found.texts)


def test_the_page_tells_the_counts_first(tmp_path: Path) -> None:
    """Counts, then items, findings, what is without proof, everything, waivers: in this order."""
    html.write(sample_run(), tmp_path / "out.html")
    text = " ".join("".join(Page((tmp_path / "out.html").read_text("utf-8")).texts).split())
    order = [
        "Proved 2 of 6 items",
        "Exit code 1",
        "Items",
        "Findings",
        "a request in flight was dropped",
        "Waived: the gateway compresses",
        "Without proof",
        "RTL-2",
        "Everything that was tried",
        "Waivers to look at",
        "covers nothing any more",
        "expired on 2025-01-01",
    ]
    at = -1
    for words in order:
        at = text.find(words, at + 1)
        assert at >= 0, words


def test_a_timeline_is_drawn(tmp_path: Path) -> None:
    """A shutdown is a drawing: lanes, bars and marks; twenty equal answers are one bar."""
    html.write(sample_run(), tmp_path / "out.html")
    text = (tmp_path / "out.html").read_text("utf-8")
    drawing = text[text.index("<svg") : text.index("</svg>")]
    assert drawing.count('class="lane"') == 3
    assert drawing.count("<circle") == 5
    assert "503 (20 times)" in text
    assert "http_requests_total" in text


def test_the_sample_is_hostile() -> None:
    """The text that the other tests rely on has what can break a report."""
    assert {"<", "&", "\x00", "\x1b", "\u202e", "\ud800", '"'} <= set(HOSTILE)


def test_the_text_is_what_the_terminal_shows(tmp_path: Path) -> None:
    """The file has the findings, the items and the waivers, whatever a service wrote."""
    terminal.write(sample_run(), tmp_path / "out.txt")
    text = (tmp_path / "out.txt").read_text("utf-8")
    assert "FAIL   SHUT-1" in text
    assert "the gateway compresses" in text
    assert "\\ud800" in text


def test_live_lines_leave_out_what_was_not_tried() -> None:
    """What has no declaration to be tried on is told at the end only, unless everything is asked for."""
    run = sample_run()
    (open_end,) = [result for result in run.results if result.id == "RTL-2"]
    for verbose, requests, told in ((False, 0, False), (False, 5, True), (True, 0, True)):
        text = io.StringIO()
        listener = terminal.Terminal(Console(file=text, width=200), verbose=verbose)
        listener(ProbeFinished(replace(open_end, requests=requests)))
        assert ("RTL-2" in text.getvalue()) is told


_URL = re.compile(r"\bURL=http://127\.0\.0\.1:8000\b")
_KINDS: dict[str, tuple[Verdict, dict[str, Any]]] = {
    "inconclusive": (Verdict.INCONCLUSIVE, {}),
    "n/a": (Verdict.NOT_APPLICABLE, {}),
    "error": (Verdict.ERROR, {"unreachable": True}),
    "left out": (Verdict.INCONCLUSIVE, {"left_out": True}),
    "flaky": (Verdict.INCONCLUSIVE, {"flaky": True}),
    "not declared": (Verdict.INCONCLUSIVE, {"undeclared": ("routes.create",)}),
    "n/a, not declared": (Verdict.NOT_APPLICABLE, {"undeclared": ("routes.create",)}),
}
_WRITERS = {"text": terminal, "html": html, "json": json_report, "junit": junit, "sarif": sarif}


def run_of(kind: str) -> Run:
    """Return a run with two results of one kind, for the same reason."""
    verdict, more = _KINDS[kind]
    results = tuple(
        Result(
            id=name,
            item="request-validation",
            verdict=verdict,
            severity=Severity.HIGH,
            reason="the reason why",
            **more,
        )
        for name in ("VAL-1", "VAL-2")
    )
    return replace(
        sample_run(),
        results=results,
        items=(judge_item("request-validation", results, False),),
        undeclared=unlocks(results),
    )


def written(run: Run, report: str, folder: Path) -> str:
    """Return a report as text, of a page what it shows."""
    path = folder / "report"
    _WRITERS[report].write(run, path)
    text = path.read_text("utf-8")
    return "".join(Page(text).texts) if report == "html" else text


@pytest.mark.parametrize("report", _WRITERS)
@pytest.mark.parametrize("kind", _KINDS)
def test_every_report_has_the_reason_of_every_kind(kind: str, report: str, tmp_path: Path) -> None:
    """A reason is in each report; people read it once, or the line to declare in its place."""
    run = run_of(kind)
    text = written(run, report, tmp_path)
    declares = "not declared" in kind
    # A code host is told of what stayed open, and nothing of what does not apply.
    shown = not (report == "sarif" and kind.startswith("n/a")) and not (report == "text" and declares)
    assert ("the reason why" in text) is shown
    if report == "text":
        assert text.count("the reason why") == (0 if declares else 1)
        assert text.count("VAL-1 to 2") == (0 if declares else 1)
    if report in {"text", "html", "json"}:
        assert ("[routes.create]" in text) is declares
    if report in {"text", "html"}:
        assert ("2 more can be tried. Declare routes.create to try 2 more" in text) is declares
        assert text.count("not declared:") == (1 if declares and report == "text" else 0)


@pytest.mark.parametrize("kind", _KINDS)
def test_the_verdict_does_not_depend_on_the_line(kind: str, tmp_path: Path) -> None:
    """What is not declared keeps its verdict for programs, and is counted apart for people."""
    run = run_of(kind)
    document = json_report.document(run)
    jsonschema.validate(document, json.loads(json_report.SCHEMA.read_text()))
    assert {entry["verdict"] for entry in document["assertions"]} == {str(_KINDS[kind][0])}
    words = {"n/a, not declared": "not declared", "not declared": "not declared", "left out": "left out"}
    word = words.get(kind, str(_KINDS[kind][0]))
    assert f"2 assertions: 2 {word}" in written(run, "text", tmp_path)


@pytest.mark.parametrize("report", _WRITERS)
def test_the_address_is_told_once(report: str, tmp_path: Path) -> None:
    """Commands name ``$URL``, and each report once what it was."""
    text = written(sample_run(), report, tmp_path)
    count = len(_URL.findall(text)) if report in {"text", "html"} else text.count('http://127.0.0.1:8000"')
    assert count == (len(sample_run().items) if report == "junit" else 1)
    if report in {"text", "html"}:
        assert text.count("PORT=8000 node server.js") == 1


def shown(run: Run, **options: bool) -> str:
    """Return what a terminal without colours shows at the end of a run."""
    text = io.StringIO()
    terminal.Terminal(Console(file=text, width=200), **options)(RunFinished(run))
    return text.getvalue()


def test_quiet_shows_what_is_wrong_and_the_last_line() -> None:
    """Findings and errors stay, as does the sum; what is open, notes and items do not."""
    loud, quiet = shown(sample_run()), shown(sample_run(), quiet=True)
    for words in ("FAIL   SHUT-1", "the service was gone", "proved 2 of 6 items"):
        assert words in loud
        assert words in quiet
    for words in ("RTL-2", "graceful-shutdown", "covers nothing any more"):
        assert words in loud
        assert words not in quiet
    assert quiet.rstrip().splitlines()[-1].startswith("proved")


def test_quiet_says_nothing_while_it_runs() -> None:
    """Neither verdicts nor notices are shown as they come."""
    text = io.StringIO()
    listener = terminal.Terminal(Console(file=text, width=200), quiet=True)
    for result in sample_run().results:
        listener(ProbeFinished(result))
    listener(Notice("it was started again"))
    assert text.getvalue() == ""
