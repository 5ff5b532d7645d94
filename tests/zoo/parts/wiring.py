"""How the service is put together, where a fault does it wrongly."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from ..service import Part, Zoo, faulty


class Wiring(Part):
    """Stands last, so that everything else has started."""

    async def start(self, zoo: Zoo) -> None:
        """Bend what the others have put together."""
        if faulty("wir-3-fixed-level"):
            zoo.rank = 20
        if faulty("wir-2-silent"):
            log = zoo.log

            def quiet(level: str, message: str, **fields: Any) -> None:
                if not message.startswith("shutdown") and not message.endswith("closed"):
                    log(level, message, **fields)

            zoo.log = quiet  # type: ignore[method-assign]
        if faulty("wir-4-orphan"):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])  # noqa: ASYNC220
        for name in ("store", "pool"):
            zoo.log("info", f"{name} opened")

    async def stop(self, zoo: Zoo) -> None:
        """Say what is closed, the last one first."""
        for name in ("store", "pool") if faulty("wir-2-order") else ("pool", "store"):
            zoo.log("info", f"{name} closed")
