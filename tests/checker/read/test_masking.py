"""Secrets that were planted or given do not leave the checker, in whatever form they come back."""

from __future__ import annotations

import asyncio
import base64
import html as markup
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.checker import Options, Run, parse_manifest, run_check
from roadworthy.checker.errors import StartFailed
from roadworthy.checker.read.masking import Masker
from roadworthy.checker.report import html, junit, sarif, terminal
from roadworthy.checker.report import json as json_report
from tests.zoo.harness import manifest_for, running_store

# The same few examples each time: this is run often, on busy machines.
few = settings(max_examples=50, deadline=None, derandomize=True, database=None)

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a URL": lambda value: quote(value, safe=""),
    "in a form": quote_plus,
    "in a URL, in small letters": lambda value: re.sub(
        "%..", lambda match: match[0].lower(), quote(value, safe="")
    ),
    "in JSON": lambda value: json.dumps(value)[1:-1],
    "in JSON with all of Unicode": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "in HTML": markup.escape,
    "in Python's repr": lambda value: repr(value)[1:-1],
}


@pytest.mark.parametrize("form", FORMS)
@few
@given(secret=st.text(min_size=6, max_size=60))
def test_no_form_of_a_secret_passes(form: str, secret: str) -> None:
    """A secret is found and replaced as it is, in URLs, forms, JSON, HTML and repr."""
    masker = Masker()
    masker.add("X", secret)
    told = f"<{FORMS[form](secret)}>"
    assert masker.find(told) == ["[secret: X]"]
    assert FORMS[form](secret) not in masker.text(told).replace("[secret: X]", "")


@few
@given(user=st.text("abcdefgh", max_size=9), behind=st.text("xyz", max_size=3))
def test_base64_hides_nothing(user: str, behind: str) -> None:
    """Base64 is seen through wherever the secret stands in it, as behind the user's name in Basic."""
    masker = Masker()
    canary = masker.canary("Authorization")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        told = encode(f"{user}:{canary}{behind}".encode()).decode()
        assert masker.find(told) == ["[canary: Authorization]"]
        assert canary.encode() not in base64.b64decode(masker.text(told).partition("[")[0] + "====")


@few
@given(at=st.integers(6, 34), tail=st.sampled_from(["", "…", "… (900 bytes)"]))
def test_an_excerpt_leaves_nothing_behind(at: int, tail: str) -> None:
    """The beginning of a secret that an excerpt cut off is replaced too."""
    masker = Masker()
    canary = masker.canary("a body")
    assert masker.text(f"password={canary[:at]}{tail}") == f"password=[canary: a body]{tail}"


def test_a_long_beginning_is_taken_out_whole() -> None:
    """Twelve characters of a secret are enough to find it, and what follows of it goes with them."""
    masker = Masker()
    canary = masker.canary("a path")
    assert masker.text(f"/{canary[:20]}/x/{canary[:15]}?") == "/[canary: a path]/x/[canary: a path]?"


def test_short_values_are_no_secrets() -> None:
    """A value of five characters would be found in words, so it is left alone."""
    masker = Masker()
    masker.add("PASSWORD", "tests")
    assert masker.text("tests pass") == "tests pass"


def test_longer_secrets_go_first() -> None:
    """A secret that begins with another one is replaced as a whole."""
    masker = Masker()
    masker.add("SHORT", "abcdefgh")
    masker.add("LONG", "abcdefghij")
    assert masker.text("abcdefghij abcdefgh.") == "[secret: LONG] [secret: SHORT]."


def test_the_password_of_a_url() -> None:
    """The password of a URL is a secret as it stands there and decoded; a URL that is none has none."""
    masker = Masker()
    masker.add_url("DATABASE_URL", "postgres://ada:p%40ssword1@db/x")
    masker.add_url("OTHER_URL", "http://[not-an-address")
    masker.add_url("PLAIN_URL", "sqlite:///data.db")
    assert masker.text("p%40ssword1 p@ssword1") == "[secret: DATABASE_URL] [secret: DATABASE_URL]"


@dataclass(frozen=True)
class _Told:
    text: str
    more: tuple[object, ...]


def test_everything_inside_is_masked() -> None:
    """Dataclasses, tuples, lists, keys and values of mappings: no text keeps the secret."""
    masker = Masker()
    canary = masker.canary("x")
    told = _Told(canary, ([canary, 1], {canary: {"a": canary}}, _Told(canary, ())))
    assert canary not in repr(masker.mask(told))
    assert masker.mask(told).more[1] == {"[canary: x]": {"a": "[canary: x]"}}


def _reports(run: Run, folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for report in (html, junit, sarif, terminal, json_report):
        name = report.__name__.rpartition(".")[2]
        report.write(run, folder / name)
        found[name] = (folder / name).read_text()
    return found


def test_no_report_shows_a_secret(tmp_path: Path) -> None:
    """What a service lets out is told by its place in every report, and shown in none."""
    faults = "log-5-authorization,log-5-query,log-5-body,log-5-dsn,env-6-log"

    async def check() -> Run:
        async with running_store() as store:
            manifest = manifest_for(store, faults)
            known.extend((manifest.env.set["ITEMS_KEY"], manifest.database.url.split(":")[2].split("@")[0]))
            return await run_check(
                manifest, Options(only=("LOG-5",), second_try=False, calibrated=False, allow_writes=True)
            )

    known: list[str] = []
    run = asyncio.run(check())
    assert [result.verdict.value for result in run.results] == ["fail"]
    for name, text in _reports(run, tmp_path).items():
        assert "a secret is in the log" in text, name
        if name in {"html", "json", "sarif"}:  # the others name the first places of one cause
            assert "the query" in text, name
            assert "secret: ITEMS_KEY" in text, name
        # What is planted begins so, and has 32 hexadecimal digits behind it.
        assert re.findall(r"rwc[0-9a-f]{3}", text) == [], name
        assert [value for value in known if value in text] == [], name


def test_a_failed_start_shows_no_secret() -> None:
    """The last output of a service that does not start is told without the secrets in it."""
    weak = (('ITEMS_KEY = "{password}-{password}"', 'ITEMS_KEY = "hunter2-hunter2"'),)

    async def check() -> None:
        async with running_store() as store:
            await run_check(manifest_for(store, "env-6-repeats", weak))

    with pytest.raises(StartFailed) as failed:
        asyncio.run(check())
    assert "ITEMS_KEY is weak: [secret: ITEMS_KEY]" in str(failed.value)


def test_a_secret_in_the_manifest_is_known() -> None:
    """A variable that the manifest calls secret is one from the first event on."""
    start = '[start]\ncommand = ["no-such-s3cr3t-of-the-manifest"]\n'
    env = '[env]\nsecret = ["KEY"]\n[env.set]\nKEY = "s3cr3t-of-the-manifest"\n'
    with pytest.raises(StartFailed) as failed:
        asyncio.run(run_check(parse_manifest(start + env)))
    assert "no-such-[secret: KEY]" in str(failed.value)
