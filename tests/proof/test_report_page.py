"""The reports in front of the programs they are for: a browser, and the schema of SARIF."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from roadworthy.checker.report import html, sarif
from tests.checker.sample_run import sample_run

pytestmark = pytest.mark.proof

ROOT = Path(__file__).parents[2]
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--virtual-time-budget=2000"),
)
# The schema is somebody else's; this package carries a copy and is fetched when the proof is run.
_SCHEMA_PACKAGE = "@microsoft/jest-sarif@1.0.0-beta.0"


@pytest.fixture(scope="module")
def chromium() -> str:
    """Return the browser's command, installed where it is missing."""
    subprocess.run([ROOT / "scripts" / "system-packages", "chromium"], check=True)
    found = shutil.which("chromium")
    assert found
    return found


def browse(chromium: str, folder: Path, page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a browser of its own."""
    profile = folder / f"profile-{len(list(folder.iterdir()))}"
    command = [chromium, *_FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what the page wrote to the console, refusals of its own policy included."""
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(
    chromium: str,
    tmp_path: Path,
    width: int,
    height: int,
    scheme: str,
    record_property: Callable[[str, object], None],
) -> None:
    """The page opens without a word on the console, on a phone and a desktop, in light and dark."""
    page, picture = tmp_path / "report.html", tmp_path / "page.png"
    html.write(sample_run(), page)
    # Everything open, so that nothing is left unlaid.
    page.write_text(page.read_text("utf-8").replace("<details", "<details open"), "utf-8")
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    done = browse(
        chromium, tmp_path, page, f"--window-size={width},{height}", f"--screenshot={picture}", *dark
    )
    assert console(done) == []
    data = picture.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (width, height)
    # A page that drew nothing is one colour and compresses to next to nothing.
    assert len(data) > 10_000
    record_property("bytes", len(data))


def test_a_word_on_the_console_is_seen(chromium: str, tmp_path: Path) -> None:
    """The control: a page that breaks its policy is told on the console, and its script does not run."""
    page = tmp_path / "report.html"
    html.write(sample_run(), page)
    text = page.read_text("utf-8").replace("<main>", '<main><script>document.title = "ran"</script>')
    page.write_text(text, "utf-8")
    done = browse(chromium, tmp_path, page, "--dump-dom")
    assert console(done) != []
    assert "<title>ran" not in done.stdout


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_the_screen(chromium: str, tmp_path: Path, width: int) -> None:
    """On a narrow screen the page does not scroll sideways; what is wide scrolls by itself."""
    page, outer = tmp_path / "report.html", tmp_path / "outer.html"
    html.write(sample_run(), page)
    text = page.read_text("utf-8").replace("<details", "<details open")
    # Headless windows are never narrower than 500 pixels; a frame is. Its document tells its own width.
    script = "<script>onload=()=>parent.postMessage(document.documentElement.scrollWidth,'*')</script>"
    policy = text.index("<meta http-equiv")
    text = text[:policy] + text[text.index(">", policy) + 1 :].replace("</body>", f"{script}</body>")
    page.write_text(text, "utf-8")
    outer.write_text(
        "<script>onmessage=(m)=>{document.title='width '+m.data}</script>"
        f"<iframe src='report.html' style='width:{width}px;height:800px;border:0'></iframe>"
    )
    done = browse(chromium, tmp_path, outer, "--dump-dom")
    assert f"<title>width {width}</title>" in done.stdout, done.stdout[:400]


def test_sarif_keeps_its_schema(tmp_path: Path) -> None:
    """The file is valid against the JSON schema of SARIF 2.1.0."""
    subprocess.run(
        ["npm", "pack", "--silent", _SCHEMA_PACKAGE], cwd=tmp_path, check=True, capture_output=True
    )
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as packed:
        file = packed.extractfile("package/lib/schemas/sarif-2.1.0-rtm.5.json")
        assert file is not None
        schema = json.load(file)
    sarif.write(sample_run(tmp_path), tmp_path / "out.sarif")
    log = json.loads((tmp_path / "out.sarif").read_text("utf-8"))
    jsonschema.validate(log, schema)
    log["runs"][0]["results"][0]["level"] = "terrible"
    assert not jsonschema.Draft7Validator(schema).is_valid(log)
