"""Each of the guide's examples is built and started, and has an answer to give."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from roadworthy.checker.custody import Custody
from roadworthy.checker.errors import PortTaken
from roadworthy.checker.http.wire import Answer, exchange
from roadworthy.checker.manifest.read import load_manifest
from roadworthy.checker.read.masking import Masker
from roadworthy.checker.service.target import Launch, launch

from .stacks import FOLDER, STACKS, USERS

pytestmark = pytest.mark.proof

_TOOLS = {"express": "npm", "nestjs": "npm", "fastify": "npm", "go": "go", "spring-boot": "mvn"}


@pytest.mark.parametrize("stack", STACKS)
def test_it_starts_and_answers(
    stack: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The example is started as its manifest says, and its users' route answers with a user."""
    if not shutil.which(_TOOLS.get(stack, "python3")):
        pytest.skip(f"{_TOOLS[stack]} is not installed")
    subprocess.run([FOLDER / "build", stack], check=True, timeout=900)
    manifest = load_manifest(FOLDER / stack / "roadworthy.toml")

    async def ask() -> tuple[float, Answer]:
        custody = Custody(manifest, tmp_path, "0")
        await custody.prepare()
        assert custody.writes, custody.why
        target = await launch(manifest, Launch(), tmp_path, Masker(), custody)
        try:
            return target.ready_after, await exchange(target.address, "GET", USERS[stack], seconds=10)
        finally:
            await target.close()
            await custody.close()

    try:
        seconds, answer = asyncio.run(ask())
    except PortTaken as taken:
        if manifest.listen.port is None:
            raise
        pytest.skip(str(taken))
    record_property("ready after", f"{seconds:.1f} s")
    assert answer.status == 200
    assert json.loads(answer.body) == {"id": 1, "name": "Ada Lovelace", "email": "ada@example.org"}
