"""The Caddy examples of docs/server.md, as they stand there, in front of real services."""

from __future__ import annotations

import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from tests.patience import DEADLINE, until

from ..server.drain import APP, ROOT, port_of
from ..server.service import Running, environment, free_port, running

pytestmark = pytest.mark.proof

EXAMPLES = re.findall(
    r"<!-- caddy -->\n```caddyfile\n(.*?)```", (ROOT / "docs" / "server.md").read_text(), re.DOTALL
)
CURL = shutil.which("curl")


@contextmanager
def services(folder: Path, count: int) -> Iterator[list[Running]]:
    """Serve the lifecycle app, behind a proxy on this machine."""
    env = {
        "PYTHONPATH": str(ROOT),
        "ROADWORTHY_TRUSTED_PROXIES": "127.0.0.0/8",
        "ROADWORTHY_RATE_LIMIT": "off",
    }
    flags = ("--port", "0", "--ops-port", "off", "--drain-delay", "4")
    with ExitStack() as stack:
        found: list[Running] = []
        for number in range(count):
            place = folder / str(number)
            place.mkdir()
            found.append(stack.enter_context(running("run", APP, *flags, cwd=place, env=env)))
        yield found


@contextmanager
def caddy(folder: Path, example: str, ports: list[int]) -> Iterator[int]:
    """Run Caddy with an example, on a free port with a certificate of its own; gives the port."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is not installed")
    port = free_port()
    addresses = re.findall(r"[\d.]+:8000", example)
    assert len(addresses) == len(ports)
    for address, upstream in zip(addresses, ports, strict=True):
        example = example.replace(address, f"127.0.0.1:{upstream}")
    # Nobody outside is asked for a certificate, and nothing is written outside of the folder.
    example = example.replace("api.example {", f"localhost:{port} {{\n    bind 127.0.0.1\n    tls internal")
    options = "admin off\nauto_https disable_redirects\nskip_install_trust"
    configuration = folder / "Caddyfile"
    configuration.write_text(f"{{\n{options}\n}}\n{example}")
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "caddy.txt").open("wb") as sink:
        process = subprocess.Popen(
            [program, "run", "--adapter", "caddyfile", "--config", str(configuration)],
            env=environment(home), stdout=sink, stderr=sink,
        )  # fmt: skip
    try:
        until(lambda: ask(port)[0] == 200, "Caddy answers")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)


def ask(port: int, path: str = "/") -> tuple[int, bytes]:
    """Ask over https, whoever has signed; 0 when there is no answer."""
    context = ssl._create_unverified_context()
    connection = HTTPSConnection("localhost", port, timeout=DEADLINE, context=context)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def test_the_documented_configuration_serves(tmp_path: Path) -> None:
    """Requests come through, over HTTP/2 too, and the proxy's forwarding fields are trusted."""
    with services(tmp_path, 1) as [process], caddy(tmp_path, EXAMPLES[0], [port_of(process)]) as port:
        assert {ask(port)[0] for _ in range(20)} == {200}
        if CURL is not None:
            url = f"https://localhost:{port}/"
            version = subprocess.run(
                [CURL, "-sk", "-o", "/dev/null", "-w", "%{http_version}", "--http2", url],
                capture_output=True, text=True, check=True, timeout=DEADLINE,
            ).stdout  # fmt: skip
            assert version == "2"
        assert not [one for one in process.records if "Forwarding fields" in str(one["message"])]


def test_an_instance_that_drains_gets_no_requests(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """With two instances one ends under load, and no request fails: Caddy heeds readiness."""
    with services(tmp_path, 2) as both, caddy(tmp_path, EXAMPLES[1], [*map(port_of, both)]) as port:
        # Both have been asked for their health, and get requests.
        until(lambda: len({ask(port)[1] for _ in range(10)}) == 2, "both answer")
        both[0].signal(signal.SIGTERM)
        statuses: list[int] = []
        while both[0].process.poll() is None:
            statuses.append(ask(port)[0])
        assert both[0].exit_code() == 0
        assert len(statuses) > 20
        assert set(statuses) == {200}
    record_property("requests_during_the_drain", len(statuses))
