"""Values of a manifest that name variables, and the store that they lead to."""

from __future__ import annotations

import pytest

from roadworthy.checker import Manifest, ManifestError, parse_manifest
from roadworthy.checker.manifest.variables import expand, store_url, with_kind

_START = '[start]\ncommand = ["a"]\n'
_POSTGRES = "postgresql://user:word@127.0.0.1/data"
_SQLITE = "sqlite:///./data.db"


@pytest.mark.parametrize(
    ("text", "value", "expanded"),
    [
        ("a${RW_X}c", "b", "abc"),
        ("a${RW_X}c", "", "ac"),
        ("${RW_X:-d}", "b", "b"),
        ("${RW_X:-d}", "", "d"),
        ("${RW_X:-d}", None, "d"),
        ("${RW_X:-}", None, ""),
        ("${RW_X:-sqlite:///./data.db}", None, _SQLITE),
        ("${RW_X:-a}${RW_X:-b}", None, "ab"),
        ("$RW_X ${RW-X} {RW_X}", "b", "$RW_X ${RW-X} {RW_X}"),
    ],
)
def test_variables_are_filled_in(
    text: str, value: str | None, expanded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable stands for its value, and its default stands for one that is not set or empty."""
    monkeypatch.delenv("RW_X", raising=False)
    if value is not None:
        monkeypatch.setenv("RW_X", value)
    assert expand(text) == expanded


def test_a_variable_without_a_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a default, a variable that is not set is a mistake."""
    monkeypatch.delenv("RW_X", raising=False)
    with pytest.raises(ManifestError, match=r"\$\{RW_X\}, which is not set"):
        expand("${RW_X}")
    assert expand("${RW_X}", {"RW_X": "of the service"}) == "of the service"


def _manifest(*lines: str) -> Manifest:
    return parse_manifest("\n".join((_START, *lines)))


_OWN = f'url = "{_POSTGRES}"'
_TAKEN = 'url = "${RW_STORE:-sqlite:///./data.db}"'
_SET = f'[env.set]\nRW_STORE = "{_POSTGRES}"'
_OVERLAY = '[check.env]\nRW_STORE = "redis://127.0.0.1"'


@pytest.mark.parametrize(
    ("lines", "variable", "kind", "url"),
    [
        ((_OWN,), None, "postgres", _POSTGRES),
        ((_OWN,), _SQLITE, "postgres", _POSTGRES),
        ((_TAKEN,), None, "sqlite", _SQLITE),
        ((_TAKEN,), "", "sqlite", _SQLITE),
        ((_TAKEN,), _POSTGRES, "postgres", _POSTGRES),
        ((), "mysql://127.0.0.1/data", "mysql", "mysql://127.0.0.1/data"),
        ((), "mongodb://127.0.0.1:27017/data", "tcp", "mongodb://127.0.0.1:27017/data"),
        ((), "host=127.0.0.1", "", "host=127.0.0.1"),
        ((), None, "", ""),
        ((_SET,), _SQLITE, "postgres", _POSTGRES),
        ((_SET, _OVERLAY), _SQLITE, "redis", "redis://127.0.0.1"),
        (('kind = "tcp"', _OWN), None, "tcp", _POSTGRES),
        (('kind = "none"',), _POSTGRES, "none", _POSTGRES),
    ],
)
def test_the_url_names_the_kind_of_the_store(
    lines: tuple[str, ...], variable: str | None, kind: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The declared URL comes first, then what the service is given, then the checker's own variable."""
    monkeypatch.delenv("RW_STORE", raising=False)
    if variable is not None:
        monkeypatch.setenv("RW_STORE", variable)
    manifest = _manifest("[database]", 'env = "RW_STORE"', *lines)
    assert (with_kind(manifest).database.kind, store_url(manifest)) == (kind, url)


@pytest.mark.parametrize(
    "text",
    [
        f'{_START}[database]\nurl = "{_POSTGRES}"',
        '[start]\nurl = "http://127.0.0.1:80"\n[database]\nenv = "RW_STORE"\nurl = "${RW_STORE}"',
    ],
    ids=["no variable holds it", "the service runs already"],
)
def test_a_store_that_cannot_be_replaced_has_no_kind(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no proxy could be put in front of the store, its URL is not looked at."""
    monkeypatch.delenv("RW_STORE", raising=False)
    assert with_kind(parse_manifest(text)).database.kind == ""
