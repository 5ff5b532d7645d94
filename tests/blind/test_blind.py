"""The table of the blind twins, and the good services that they are made of."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from roadworthy.checklist import ASSERTIONS

from ..free_port import free_port
from ..patience import DEADLINE, until
from .catalogue import LANGUAGES, TWINS, manifest_of, prepare
from .page import PAGE, page_of

_HERE = Path(__file__).parent


def test_the_table_is_large_enough_and_its_ids_exist() -> None:
    """There are a hundred twins or more, in four languages, and each breaks an assertion of the catalogue."""
    assert len(TWINS) >= 100
    assert {twin.breaks for twin in TWINS} <= {assertion.id for assertion in ASSERTIONS}
    assert set(Counter(twin.language for twin in TWINS)) == set(LANGUAGES)


def test_each_twin_is_a_switch_of_its_service() -> None:
    """The sources of a language's service ask for the twins of this language, and for no other."""
    for letters, language in LANGUAGES.items():
        sources = [
            file for file in (_HERE / language).iterdir() if file.suffix in {".py", ".mjs", ".go", ".java"}
        ]
        asked = {
            name for file in sources for name in re.findall(rf'"({letters}-[a-z0-9-]+)"', file.read_text())
        }
        assert asked == {twin.name for twin in TWINS if twin.language == letters}


def test_the_page_is_that_of_the_results() -> None:
    """The results know each twin, and the page is written from them."""
    results = json.loads((_HERE / "results.json").read_text())
    assert list(results["twins"]) == [twin.name for twin in TWINS]
    assert PAGE.read_text() == page_of(results)


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_a_good_service_starts_and_answers(language: str, tmp_path: Path) -> None:
    """Each service becomes ready with what its manifest sets."""
    if not all(
        map(shutil.which, {"go": ("go",), "java": ("java", "javac"), "js": ("node",)}.get(language, ()))
    ):
        pytest.skip("the language is not installed")
    place = prepare(language, tmp_path)
    manifest = manifest_of(place)
    port = free_port()
    words = [sys.executable if word == "python" else word for word in manifest.start.command]
    env = dict(os.environ) | dict(manifest.env.set) | {manifest.listen.port_env: str(port)}
    process = subprocess.Popen(words, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:

        def ready() -> bool:
            assert process.poll() is None, "it has ended"
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}{manifest.ready.path}", timeout=5
                ) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False

        until(ready, "the service is ready")
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE)
