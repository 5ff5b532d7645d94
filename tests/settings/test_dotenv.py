"""The file `.env`: no line that sets something is lost in silence, and no message repeats what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.settings import PREFIX, WELL_KNOWN, SettingsError, load_settings, settings_sources
from roadworthy.settings.dotenv import read_dotenv

SECRET = "Canary7f3a91"


@pytest.fixture(autouse=True)
def clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start in an empty folder and without any variable that settings read."""
    for name in list(os.environ):
        if name.startswith(PREFIX) or name in WELL_KNOWN.values():
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refused(content: str | bytes) -> str:
    """Return what is said about a file."""
    Path(".env").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert SECRET not in str(caught.value)
    return "\n".join(map(str, caught.value.problems))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f'ROADWORTHY_CSP="{SECRET}\nGRACE=7\n', ".env line 1: a quote is not closed"),
        (f"\n\n# why\nROADWORTHY_CSP='{SECRET}\n", ".env line 4: a quote is not closed"),
        (f'ROADWORTHY_CSP="a" {SECRET}\n', ".env line 1: a quote is not closed, or text follows it"),
        (f"X=1\nROADWORTHY_GRACE: {SECRET}\n", ".env line 2: a colon stands where = belongs"),
        (f"X=1\r\nROADWORTHY_GRACE: {SECRET}\r\n", ".env line 2: a colon stands where = belongs"),
        (f"set {SECRET} now\n", ".env line 1: is not of the form NAME=value"),
        ("X=1\nROADWORTHY_GRACE\n", ".env line 2: ROADWORTHY_GRACE has no value"),
        ("export ROADWORTHY_GRACE\n", ".env line 1: ROADWORTHY_GRACE has no value"),
        ("PORT\n", ".env line 1: PORT has no value"),
        (f"PORT=1\nPORT={SECRET}\n", ".env line 2: PORT has another value than in line 1"),
        (
            f'ROADWORTHY_CSP="{SECRET}\nROADWORTHY_RATE_LIMIT=5/minute\nX="\n',
            ".env line 1: a quote is still open in line 2, which sets ROADWORTHY_RATE_LIMIT",
        ),
        ("REDIS_URL=${NOBODY_SET_THIS}\n", ".env line 1: REDIS_URL refers to a variable"),
        ("ROADWORTHY_CSP=${LATER}\nLATER=x\n", ".env line 1: ROADWORTHY_CSP refers to a variable"),
        (b"PORT=1\nX=\xff\n", ".env: is not utf-8 text (line 2)"),
        ("PORT=1\n".encode("utf-16"), ".env: is not utf-8 text (line 1)"),
        ("PORT=1\n".encode("utf-16-le"), ".env: is not utf-8 text (line 1 has a byte 0)"),
    ],
)  # fmt: skip
def test_a_line_that_would_be_lost_is_reported(content: str | bytes, said: str) -> None:
    """Each way to lose a line is a mistake with file, line and remedy, and without what the line holds."""
    assert said in refused(content)


def test_all_lines_are_reported_beside_all_values() -> None:
    """Wrong lines, wrong values and unknown names of one file stand in one list."""
    said = refused('ROADWORTHY_CSP="x\nROADWORTHY_GRACE: 1\nPORT=x\nROADWORTHY_PROT=1\n')
    for part in (
        ".env line 1:",
        ".env line 2:",
        "PORT in .env: expected",
        "ROADWORTHY_PROT: there is no such",
    ):
        assert part in said


@pytest.mark.parametrize(
    "content",
    [
        "PORT=4321\n", "PORT=4321", "export PORT=4321\n", "PORT = 4321\n", "PORT='4321'\n",
        'PORT="4321" # why\n',
        "\ufeffPORT=4321\n", "PORT=4321\r\nX=1\r\n", "# PORT: 1\n\nPORT=4321\n", "PORT=4321\nPORT=4321\n",
        "P=4321\nPORT=${P}\n", "PORT=${NOBODY_SET_THIS:-4321}\n", "PORT=4321\nFOO\nexport BAR\n",
        "PORT=4321\nKEY=\"-----BEGIN\nabc=\n-----END\"\n", "PORT=4321\nFOO=1\nFOO=2\n",
        "PORT=4321\nX=${NOBODY}\n",
    ],
)  # fmt: skip
def test_forms_that_are_understood(content: str) -> None:
    """Quotes, exports, byte order marks, line ends of Windows and lines of other programs keep a value."""
    Path(".env").write_bytes(content.encode())
    settings = load_settings()
    assert (settings.port, settings_sources(settings)["port"]) == (4321, "PORT in .env")


def test_a_name_alone_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's form for a variable that the environment has loses nothing."""
    Path(".env").write_text("PORT\n")
    monkeypatch.setenv("PORT", "4321")
    assert load_settings().port == 4321


def _virtual_environment(path: Path) -> None:
    path.mkdir()
    (path / "pyvenv.cfg").touch()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, None),
        (lambda path: path.mkdir(), "is a folder, where a file was expected"),
        (_virtual_environment, None),
        (lambda path: path.symlink_to("gone"), "is a link to a file that is missing"),
        (lambda path: path.symlink_to(path.name), "cannot be read"),
        (lambda path: path.symlink_to(os.devnull), None),
        (os.mkfifo, "is not a regular file"),
    ],
    ids=["missing", "folder", "virtual environment", "dangling link", "loop", "null device", "pipe"],
)
def test_what_stands_in_the_place_of_the_file(make: Callable[[Path], object], said: str | None) -> None:
    """A file that cannot be read is a mistake; one that is missing, or meant as none, is not."""
    make(Path(".env"))
    if said is None:
        assert load_settings().port == 8000
    else:
        with pytest.raises(SettingsError, match=rf"\.env: {said}"):
            load_settings()


@given(st.text(st.sampled_from("AB=:'\"\\#\n \r${}x-"), max_size=40))
def test_no_assignment_is_lost_in_silence(text: str) -> None:
    """Whatever stands before a line that sets a variable, the variable has a value or the file a mistake."""
    path = Path("any.env")
    path.write_bytes((text + "\nAB=kept\n").encode())
    values, problems = read_dotenv(path, "utf-8", lambda name: name == "AB")
    assert problems or "AB" in values
