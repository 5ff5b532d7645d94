"""The report as JUnit XML: a suite per item, a case per assertion, also where it passes.

What is red here is what decides the exit code. An assertion that is required and stayed without proof is an
``error`` and not ``skipped``, because skipped looks green; what does not decide is ``skipped`` with the word
for it. There is no published standard; the members are those that Jenkins, GitLab and pytest agree on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ..events import Run
from ..verdict import ExitCode, Result, Verdict, required
from ._causes import PLACES, by_cause
from ._plain import as_text
from .json import document

__all__ = ("write",)

# XML 1.0 §2.2: these cannot stand in a document, escaped or not; a body from the wire may hold them.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(run: Run, path: Path) -> None:
    """Write the report."""
    data = document(run)
    root = ElementTree.Element("testsuites", name="roadworthy check", time=f"{run.seconds:.3f}")
    results = {result.id: result for result in run.results}
    cases: dict[str, list[dict[str, Any]]] = {}
    for entry in data["assertions"]:
        cases.setdefault(entry["item"], []).append(entry)
    for item, entries in cases.items():
        suite = ElementTree.SubElement(root, "testsuite", name=item, timestamp=run.began)
        _properties(suite, data)
        for entry in entries:
            _case(suite, entry, results[entry["id"]], run)
        _count(suite)
    _count(root)
    tree = ElementTree.ElementTree(root)
    ElementTree.indent(tree)
    tree.write(path, "utf-8", xml_declaration=True)


def _properties(suite: ElementTree.Element, data: dict[str, Any]) -> None:
    facts = {
        "target": data["run"]["target"],
        "profile": data["run"]["profile"],
        "strict": data["run"]["strict"],
        "run": data["run"]["id"],
        "version": data["tool"]["version"],
        "manifest.sha256": data["manifest"]["sha256"] or "",
        **data["run"]["addresses"],
    }
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", name=name, value=_clean(str(value)))


def _case(suite: ElementTree.Element, entry: dict[str, Any], result: Result, run: Run) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=f"roadworthy.{entry['item']}",
        name=f"{entry['id']} {_clean(entry['title'])}",
        time=f"{entry['cost']['seconds']:.3f}",
    )
    kind, message = _outcome(result, run)
    causes = by_cause([result])
    found = [(entry["findings"][result.findings.index(cause.finding)], cause) for cause in causes]
    text = _clean("\n\n".join(as_text(entry, finding, cause.places(PLACES)) for finding, cause in found))
    if kind:
        element = ElementTree.SubElement(case, kind, message=_clean(message))
        if kind != "skipped":
            element.set("type", f"{entry['severity']} {entry['verdict']}")
            element.text = text or _clean(result.reason)
            return
    if text:
        ElementTree.SubElement(case, "system-out").text = text


def _outcome(result: Result, run: Run) -> tuple[str, str]:
    """Return the element for a case's outcome, empty for a pass, and its message."""
    decides = required(result, run.strict)
    titles = "; ".join(dict.fromkeys(cause.title for cause in by_cause([result])))
    if result.waived:
        return "skipped", f"waived: {result.waived.reason}"
    match result.verdict:
        case Verdict.PASS:
            return "", ""
        case Verdict.FAIL if decides:
            return "failure", titles
        case Verdict.WARN if decides and run.strict:
            return "failure", titles
        case Verdict.FAIL | Verdict.WARN:
            word = "" if decides else f" ({result.severity.value}, does not decide)"
            return "skipped", f"{result.verdict}{word}: {titles}"
        case Verdict.ERROR:
            return "error", result.reason
        case Verdict.INCONCLUSIVE if decides and run.exit_code is not ExitCode.OK:
            return "error", f"inconclusive: {result.reason}"
        case _:
            return "skipped", f"{result.verdict}: {result.reason}"


def _count(element: ElementTree.Element) -> None:
    element.set("tests", str(sum(1 for _ in element.iter("testcase"))))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(1 for _ in element.iter(kind))))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
