"""The operations app answers those who run the service, and nobody else's page."""

import json
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from roadworthy.errors import MethodNotAllowedError, UnauthorizedError
from roadworthy.layer.exchange import Reply
from roadworthy.layer.health_check import HealthCheck
from roadworthy.layer.metrics import Metrics
from roadworthy.layer.operations import OperationsApp, PublicMetrics
from roadworthy.settings import Settings
from roadworthy.types import Message, Scope
from tests.layer.conftest import make_exchange

pytestmark = pytest.mark.anyio
TOKEN = "a-token-of-forty-characters-for-scrapers"


def settings(**values: Any) -> Settings:
    """Make settings without a file."""
    return Settings(_env_file=None, **values)


@pytest.fixture
def health() -> HealthCheck:
    """Give health that is about to serve."""
    return HealthCheck(settings())


def operations(health: HealthCheck, **values: Any) -> OperationsApp:
    """Make the app on real items."""
    made = settings(**values)
    return OperationsApp(made, health, Metrics(made, registry=CollectorRegistry()))


async def ask(
    app: Any, path: str, method: str = "GET", headers: dict[str, Any] | None = None
) -> httpx.Response:
    """Send one request over httpx."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:9464") as client:
        return await client.request(method, path, headers=headers)


class TestPages:
    async def test_metrics(self, health: HealthCheck) -> None:
        """A scrape is a valid page in the format that was asked for."""
        app = operations(health)
        response = await ask(app, "/metrics")
        assert response.status_code == 200
        assert list(text_string_to_metric_families(response.text))
        response = await ask(app, "/metrics", headers={"accept": "application/openmetrics-text"})
        assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")

    async def test_probes_and_details(self, health: HealthCheck) -> None:
        """Probes say what they say in public; the details stand here only."""
        app = operations(health)
        health.add("database", health.start)
        assert (await ask(app, "/livez")).status_code == 200
        assert (await ask(app, "/readyz")).status_code == 503
        assert (await ask(app, "/startupz")).status_code == 503
        details = (await ask(app, "/health")).json()
        assert details["status"] == "starting"
        assert details["checks"]["database"]["status"] == "pending"

    async def test_the_index_names_every_page(self, health: HealthCheck) -> None:
        """Whoever opens the listener sees what there is."""
        app = operations(health)
        index = (await ask(app, "/")).text
        for path in ("/metrics", "/livez", "/readyz", "/startupz", "/health"):
            assert path in index
            assert (await ask(app, path)).status_code in (200, 503)

    @pytest.mark.parametrize("path", ["/", "/metrics", "/health", "/livez", "/nothing"])
    async def test_nothing_is_stored_or_sniffed(self, health: HealthCheck, path: str) -> None:
        """Every answer, errors too, carries the fields that keep it here, and its length."""
        for method in ("GET", "HEAD", "POST"):
            response = await ask(operations(health), path, method)
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in response.headers["content-security-policy"]
            assert "content-length" in response.headers
            if method == "HEAD":
                assert response.content == b""

    async def test_else_is_404_and_405_as_problems(self, health: HealthCheck) -> None:
        """Other paths and methods are refused in the service's own error shape."""
        app = operations(health)
        missing = await ask(app, "/env")
        assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")
        assert missing.headers["content-type"] == "application/problem+json"
        refused = await ask(app, "/metrics", "DELETE")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")

    async def test_a_failure_is_a_500_without_its_text(
        self, health: HealthCheck, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A page that fails does not end the listener and shows nothing of the failure."""

        class Broken:
            def exposition(self, accept: bytes = b"") -> Reply:
                raise RuntimeError("hunter2")

        response = await ask(OperationsApp(settings(), health, Broken()), "/metrics")
        assert (response.status_code, response.json()["code"]) == (500, "INTERNAL_ERROR")
        assert "hunter2" not in response.text
        assert "operations could not answer" in caplog.text


class TestHost:
    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "LOCALHOST:9464",
            "a.localhost",
            "127.0.0.1:9464",
            "[::1]:9464",
            "10.0.0.7",
            "ops.internal:1",
        ],
    )
    async def test_loopback_addresses_and_the_own_name_are_served(
        self, health: HealthCheck, host: str
    ) -> None:
        """No foreign page can make these names its own."""
        response = await ask(operations(health, ops_host="ops.internal"), "/", headers={"host": host})
        assert response.status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:9464", "xlocalhost"]
    )
    async def test_other_names_are_misdirected(self, health: HealthCheck, host: str) -> None:
        """A name that somebody points to this machine is refused (DNS rebinding)."""
        response = await ask(operations(health), "/metrics", headers={"host": host})
        assert (response.status_code, response.json()["code"]) == (421, "MISDIRECTED_REQUEST")
        assert host not in response.text

    @pytest.mark.parametrize(
        "headers",
        [
            [],
            [(b"host", b"localhost"), (b"host", b"evil.example")],
            [(b"host", b"[::1]evil.example")],
            [(b"host", b"evil.example@localhost")],
            [(b"host", b"localhost:x")],
            [(b"host", b"\xff\xfe")],
        ],
    )
    async def test_malformed_hosts_are_refused(
        self, health: HealthCheck, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """No, several or broken Host fields never reach a page."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
        await operations(health)(scope, receive, send)
        assert sent[0]["status"] in (400, 421)
        assert json.loads(sent[1]["body"])["status"] == sent[0]["status"]


class TestScopes:
    async def test_lifespan_and_websockets(self, health: HealthCheck) -> None:
        """The app starts and stops under any server and takes no WebSockets."""
        messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))
        sent: list[str] = []

        async def receive() -> Message:
            return dict(next(messages))

        async def send(message: Message) -> None:
            sent.append(message["type"])

        app = operations(health)
        await app({"type": "lifespan"}, receive, send)
        await app({"type": "websocket", "path": "/", "headers": []}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


class TestPublicMetrics:
    def item(self, **values: Any) -> PublicMetrics:
        """Make the step on real metrics."""
        made = settings(metrics_public=True, **values)
        return PublicMetrics(made, Metrics(made, registry=CollectorRegistry()))

    def told(self, path: str = "/metrics", method: str = "GET", authorization: bytes = b"") -> Any:
        """Ask the step."""
        headers = [(b"authorization", authorization)] if authorization else []
        return self.item(metrics_token=TOKEN).admit(make_exchange(method, path, headers))

    def test_serves_those_who_have_the_token(self) -> None:
        """With the token a scrape is answered, and every other path passes."""
        reply = self.told(authorization=f"Bearer {TOKEN}".encode())
        assert reply.status == 200
        assert b"http_requests" in reply.body
        assert self.told("/metrics/", authorization=f"Bearer {TOKEN}".encode()) is None

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize(
        "authorization",
        [
            "",
            "Bearer",
            "Bearer ",
            f"Basic {TOKEN}",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            "Bearer \xff\xe9",
            TOKEN,
        ],
    )
    def test_refuses_everyone_else(self, authorization: str, method: str) -> None:
        """Without the token nothing is told, whatever the method."""
        refused = self.told(method=method, authorization=authorization.encode("latin-1"))
        assert isinstance(refused, UnauthorizedError)
        assert refused.headers == {"WWW-Authenticate": "Bearer"}
        assert TOKEN not in str(refused)

    def test_reads_only(self) -> None:
        """A scrape is GET or HEAD."""
        refused = self.told(method="POST", authorization=f"Bearer {TOKEN}".encode())
        assert isinstance(refused, MethodNotAllowedError)

    def test_refuses_to_be_public_without_a_token(self) -> None:
        """Forgetting the token stops the start and never opens the metrics."""
        with pytest.raises(Exception, match=r"(?i)metrics_token"):
            self.item()
