"""Twelve applications and more of other people answer under `roadworthy run` as they do on uvicorn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from .application import application, names
from .browser import page
from .compare import differences
from .serving import Served, served
from .visitor import Answer, Visitor

pytestmark = pytest.mark.proof

LONGEST_END = 5 + 3 * 3 + 2
"""Seconds: the drain delay, the time of streams, which loops and threads of libraries have too; some more."""


def unknown(running: Served, bare: str) -> list[str]:
    """Return what is an error in the log, though the application's own log under uvicorn does not have it."""
    found = [
        str(one)
        for one in running.records("error", "critical")
        if one["message"].partition("\n")[0] not in bare
        and not (one.get("exception") and one["exception"]["type"].rpartition(".")[2] in bare)
    ]
    lines = [line for line in running.log.splitlines() if not line.startswith("{")]
    if any("Traceback" in line for line in lines) and "Traceback" not in bare:
        found.append("\n".join(lines))
    return found


@pytest.mark.parametrize("name", names())
def test_the_answers_are_the_same(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The same journey has the same answers; nothing is an error in the log, and SIGTERM ends it with 0."""
    described = application(name)
    answers: list[list[Answer]] = []
    ports: list[str] = []
    logs: list[str] = []
    for bare in (True, False):
        with served(name, described, tmp_path / "site", bare=bare) as running:
            visitor = Visitor(running.url)
            with closing(visitor):
                described.journey(visitor)
                # The visitor is still there, with open connections and streams.
                code, seconds = (0, 0.0) if bare else running.stop()
            answers.append(visitor.answers)
            ports.append(running.port)
            logs.append(running.log)
        # Some answers have the folder in them: the other one is served in the same.
        (tmp_path / "site").rename(tmp_path / f"site of {ports[-1]}")
    found = differences(answers[0], answers[1], (ports[0], ports[1]), described.varies)
    assert not found, "\n".join(found)
    assert not unknown(running, logs[0])
    assert code == 0
    assert seconds < LONGEST_END
    record_property("answers", len(answers[1]))
    record_property("seconds_to_the_end", round(seconds, 1))
    if described.settings:
        record_property(
            "settings", " ".join(f"{one}={value}" for one, (value, _) in described.settings.items())
        )


@pytest.mark.parametrize("name", [name for name in names() if application(name).click])
def test_a_browser_shows_it(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """In Chromium a click works, the console has no error that is not its own, and there is a picture."""
    described = application(name)
    assert described.click
    path, button, done = described.click
    errors: list[set[str]] = []
    for bare in (True, False):
        place = tmp_path / str(bare)
        place.mkdir()
        with served(name, described, place / "site", bare=bare) as running, page(place) as tab:
            tab.open(running.url + path)
            tab.wait(button)
            tab.evaluate(f"({button}).click()")
            tab.wait(done)
            picture = tab.screenshot(place / "page.png")
            errors.append({one.replace(running.url, "") for one in tab.errors})
            refused = [one for one in running.records("info", "warning") if one.get("status") in {403, 429}]
    assert errors[1] <= errors[0]
    assert not refused
    # A page that drew nothing is one colour and compresses to next to nothing.
    assert len(picture) > 8_000
    record_property("bytes", len(picture))
