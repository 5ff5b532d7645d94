"""The settings: name, type, unit, default and reason; those of the process are in ``process``,
those of security headers in ``browser``, of offloaded work in ``offload``, those that give back what an app
had without the layer in ``compatibility``.

A value comes from, in this order: an argument of :func:`roadworthy.roadworthy` or a command-line flag, the
environment variable ``ROADWORTHY_<NAME>``, the well-known variable where :data:`WELL_KNOWN` names one
(``PORT``, ``DATABASE_URL``, …), the same two names in the file ``.env`` of the working directory, the
default.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, overload

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .browser import BrowserSettings
from .compatibility import CompatibilitySettings
from .mistakes import PlainMistake, Problem
from .offload import OffloadSettings
from .reading import read_into, variables_to_set
from .secrets import weak_among
from .sources import PREFIX
from .values import (
    Duration,
    Networks,
    Rate,
    RateSetting,
    Size,
    Word,
    Words,
)

__all__ = ("Settings", "load_settings", "settings_sources", "weak_secrets")


class Settings(BrowserSettings, CompatibilitySettings, OffloadSettings):
    """Settings of a service that runs on Roadworthy. Subclass it to add the service's own.

    A field of a subclass is read from ``ROADWORTHY_<NAME>``, its alias and its plain upper-case name. Declare
    secrets as ``SecretStr``: they are masked wherever settings are shown, and weak ones are refused in
    production.

    Parameters:
        values: settings by field name; what is left out comes from the environment, ``.env`` or the default.
            ``_env_file`` names another file, None reads none.

    Raises:
        SettingsError: settings are wrong or unknown; it lists all of them.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict[str, str])

    # Error handling
    error_format: Annotated[Literal["problem", "envelope", "app", "framework"], Word] = Field(
        default="problem",
        description='Shape of error bodies: `problem` (RFC 9457 problem details), `envelope` (`{"error": '
        "{...}}`), `app` (the app's own bodies, without echoes of the input), `framework` (as the app and "
        "its framework make them, echoes included). The default is the standard one.",
    )

    # Logging
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], Word] = Field(
        default="info",
        description="Least severe level that is written. `info` by default: access records have this level.",
    )
    log_format: Annotated[Literal["json", "console"] | None, Word] = Field(
        default=None,
        description="`json` (one object a line) or `console` (for people). When not set: console on a "
        "terminal in development, else json, which is what log collectors read.",
    )
    log_redact: Words = Field(
        default=(),
        description="Names of further fields whose values are replaced in records, separated by commas, "
        "compared without case. Empty by default; passwords, tokens and cookies are replaced in any case.",
    )

    # Request validation
    body_limit: Size = Field(
        default=1 << 20,
        description="Bytes a request body may have (`1MiB`); more is refused with 413. 1 MiB is ample for "
        "JSON and bounds what one request can make the process hold; a route that takes uploads raises it "
        "for itself.",
    )
    header_limit: Size = Field(
        default=32 << 10,
        description="Bytes that all request header fields may have together (`32KiB`); more is refused with "
        "431. As in widespread proxies, with room for large cookies.",
    )
    header_count: int = Field(
        default=100,
        ge=1,
        description="Request header fields that are accepted, at least 1; more is refused with 431. Browsers "
        "and chains of proxies stay below 100.",
    )
    url_limit: Size = Field(
        default=8 << 10,
        description="Bytes a request target may have (`8KiB`); more is refused with 414. RFC 9110 section "
        "4.1 recommends to support at least 8,000.",
    )
    websocket_message_limit: Size = Field(
        default=1 << 20,
        ge=1,
        description="Bytes a WebSocket message may have, its fragments together and inflated (`1MiB`); a "
        "larger one closes the WebSocket with 1009. A message is held until it is complete, so this bounds "
        "what one client can make the process hold; as with `body_limit`, 1 MiB is ample for JSON.",
    )
    websocket_buffer_limit: Size = Field(
        default=64 << 20,
        ge=1,
        description="Bytes all WebSockets of a worker may hold together of messages that are not complete or "
        "that the app has not taken (`64MiB`); above it the WebSocket that holds the most is closed with "
        "1013. Hundreds of clients with an unfinished message each then fit in a small container.",
    )
    json_strict: bool = Field(
        default=True,
        description="Refuse JSON that no other parser would read alike: NaN, Infinity, lone surrogates, very "
        "deep nesting. On by default, because each of these has been a 500 in some framework.",
    )

    # Compression
    compression: bool = Field(
        default=True,
        description="Compress responses with zstd, br or gzip as `Accept-Encoding` allows. Off where a proxy "
        "in front does it.",
    )
    compression_min_size: Size = Field(
        default=1024,
        description="Bytes from which a body is compressed (`1KiB`). Smaller ones fit in one packet anyway, "
        "and compressing them costs more than it saves.",
    )
    compression_with_cookies: bool = Field(
        default=False,
        description="Compress responses that set cookies, too. Off by default: compression of a page that "
        "carries a secret and repeats input gives the secret away (BREACH).",
    )

    # CORS
    cors_origins: Words = Field(
        default=(),
        description="Origins whose pages may read responses, separated by commas (`https://app.example`), or "
        "`*` for all. None by default, as browsers have it.",
    )
    cors_methods: Words = Field(
        default=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
        description="Methods that preflights allow, separated by commas. The usual ones by default; the app "
        "still decides which it has.",
    )
    cors_headers: Words = Field(
        default=("Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"),
        description="Request fields that preflights allow, separated by commas. By default those an API "
        "client needs.",
    )
    cors_expose: Words = Field(
        default=("X-Request-Id", "Retry-After", "RateLimit", "RateLimit-Policy", "Location"),
        description="Response fields that pages may read, separated by commas. By default those the layer "
        "sends for clients to act upon.",
    )
    cors_credentials: bool = Field(
        default=False,
        description="Let pages of `cors_origins` send cookies. Off by default; refused together with the "
        "origin `*`, which would let every site act as the user.",
    )
    cors_max_age: Duration = Field(
        default=600.0,
        description="Seconds (`10m`) for which a browser may keep a preflight's answer. 10 minutes: "
        "preflights get rare, and a change of the list is effective soon.",
    )

    # Rate limiting
    rate_limit: RateSetting = Field(
        default=Rate((600, 60)),
        description="Requests of one client: `N/second`, `N/minute`, `N/hour`, `N/day` or `off`. N is the "
        "burst, refilled evenly. 10 a second is above what a person's client does and far below what hurts.",
    )
    rate_limit_static: RateSetting = Field(
        default=Rate((6000, 60)),
        description="Requests of one client for static files, counted apart from all others: `N/second`, "
        "`N/minute`, `N/hour`, `N/day` or `off`. Files that the framework's own handler serves count here, "
        'and routes with the rule `rate_limit="static"`. One page may load 300 files: 6000 are 20 such pages '
        "a minute. When not set, it is at least `rate_limit`, and off where that is off.",
    )
    rate_limit_on_outage: Annotated[Literal["open", "closed"], Word] = Field(
        default="open",
        description="What happens while the server at `redis_url` does not answer: `open` limits per "
        "machine, `closed` answers 503. Open by default: a lost counter should not take the service with it.",
    )
    rate_limit_keys: int = Field(
        default=100_000,
        ge=1_000,
        description="Clients whose counters are kept at once, at least 1000. Bounds memory to some 10 MB.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Networks (`10.0.0.0/8`) whose forwarding fields are believed, separated by commas. None "
        "by default, and /0 is refused: whoever is trusted chooses the client address that limits count by. "
        "The app sees the same address and scheme (`request.client`, `request.url.scheme`).",
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = Field(
        default="x-forwarded-for",
        description="The field in which your proxies write the client's address: `x-forwarded-for` (with "
        "`X-Forwarded-Proto`) or `forwarded` (RFC 7239). The other one is not read: a proxy passes it "
        "through as the client wrote it.",
    )

    # Health, metrics
    health_interval: Duration = Field(
        default=5.0,
        description="Seconds between two runs of the readiness checks. They run in the background, so that "
        "probes cost nothing and cannot be used to load the dependencies.",
    )
    health_timeout: Duration = Field(
        default=2.0,
        description="Seconds after which a readiness check counts as failed. Below the usual probe's "
        "patience.",
    )
    metrics_public: bool = Field(
        default=False,
        description="Serve /metrics on the public listener, too; needs `metrics_token`. Off by default: "
        "metrics name routes and loads.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        validate_default=True,
        description="Bearer token that /metrics on the public listener wants, at least 16 characters in "
        "production. No default, so that none can leak.",
    )
    metrics_series: int = Field(
        default=2_000,
        ge=100,
        description="Series that are kept for requests, at least 100; further ones are folded and counted. "
        "Bounds memory and the scrape when an app makes up labels.",
    )

    # Deadlines and load
    request_timeout: Duration = Field(
        default=30.0,
        description="Seconds from a request's arrival to the head of its response; then 504. Below the 60 s "
        "after which proxies give up, so that it is the service that answers.",
    )
    stream_idle_timeout: Duration = Field(
        default=60.0,
        description="Seconds a streamed response may be silent before it is cut. Streams that send a "
        "heartbeat (every 15 s by custom) live on.",
    )
    header_timeout: Duration = Field(
        default=10.0,
        description="Seconds within which a request's header section must arrive. Slow senders hold "
        "connections (Slowloris).",
    )
    body_timeout: Duration = Field(
        default=30.0,
        description="Seconds within which a request's body must arrive; then 408. Long enough for 1 MiB over "
        "a slow mobile link.",
    )
    keep_alive: Duration = Field(
        default=75.0,
        description="Seconds an idle connection is kept. Longer than the 60 s of common load balancers: the "
        "side that closes first must be the balancer, else it answers 502.",
    )
    cancel_on_disconnect: bool = Field(
        default=False,
        description="Cancel a handler when its client leaves. Off by default: not every handler survives "
        "being cancelled in the middle of a write.",
    )
    max_in_flight: int = Field(
        default=1_000,
        ge=1,
        description="Requests handled at once in one worker, at least 1; more wait in the queue. A bound on "
        "memory and on everyone's latency.",
    )
    queue_size: int = Field(
        default=100,
        ge=0,
        description="Requests that may wait for a place, 0 or more; further ones get 503 at once. Short, "
        "because a long queue is work for clients that have left.",
    )
    queue_timeout: Duration = Field(
        default=1.0,
        description="Seconds a request may wait for a place; then 503 with `Retry-After`.",
    )
    pool_timeout: Duration = Field(
        default=5.0,
        description="Seconds to wait for a pooled connection; then 503 with `Retry-After`. Well below "
        "`request_timeout`, so that the client learns the cause.",
    )
    pool_size: int = Field(
        default=10,
        ge=1,
        description="Connections to PostgreSQL of one worker, at least 1. By default nine workers fit into "
        "the 100 that a server gives by default; queries of a millisecond need fewer.",
    )
    instances: int = Field(
        default=1,
        ge=1,
        description="Instances of the service that share one PostgreSQL server, at least 1. The start "
        "compares instances × workers × `pool_size` with what the server gives.",
    )
    replica_lag: Duration = Field(
        default=10.0,
        ge=1,
        description="Seconds that a replica of the database may be behind, at least 1. Farther behind, it is "
        "not read from. Whoever has written reads from no replica that does not have it yet.",
    )

    exit_on_unhandled: bool = Field(
        default=False,
        description="End the process, gracefully and with exit code 1, when a task or a callback fails and "
        "nobody handles it. Off by default: it is logged and counted, and the other requests are served on. "
        "On where a supervisor starts the process again and a state that nobody understands is worse.",
    )

    # Shutdown
    drain_delay: Duration = Field(
        default=5.0,
        description="Seconds between SIGTERM and closing the listener: readiness fails, requests are still "
        "served, balancers take the instance out. `drain_delay` + `grace` + `stream_grace` stay below 30 s, "
        "after which Kubernetes kills.",
    )
    grace: Duration = Field(
        default=20.0,
        description="Seconds that requests in flight may take after the listener is closed. See "
        "`drain_delay` for the sum.",
    )
    stream_grace: Duration = Field(
        default=3.0,
        description="Seconds that event streams may take to end after they were asked to. See `drain_delay` "
        "for the sum.",
    )

    def __init__(self, **values: Any) -> None:
        self._origins = read_into(super().__init__, type(self), values, Settings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave the environment and the file to ``__init__``, whose values are in ``init_settings``."""
        return init_settings, file_secret_settings

    @field_validator("cors_credentials")
    @classmethod
    def _credentials_need_named_origins(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "*" in info.data.get("cors_origins", ()):
            raise PlainMistake(
                "is refused with the origin *, which lets every site act as the user; name the origins"
            )
        return value

    @field_validator("metrics_token")
    @classmethod
    def _public_metrics_need_a_token(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("metrics_public"):
            raise PlainMistake(
                "is required with metrics_public, which shows routes and loads to anyone otherwise"
            )
        return value


_Settings = TypeVar("_Settings", bound=Settings)


@overload
def load_settings(**overrides: Any) -> Settings: ...


@overload
def load_settings(cls: type[_Settings], **overrides: Any) -> _Settings: ...


def load_settings(cls: type[Settings] = Settings, **overrides: Any) -> Settings:
    """Read the settings of this process.

    Parameters:
        cls: the service's settings class.
        overrides: settings by field name that outrank the environment; ``_env_file`` names another file than
            ``.env``, None reads none.

    Raises:
        SettingsError: settings are wrong or unknown; it lists all of them.
    """
    return cls(**overrides)


def settings_sources(settings: Settings) -> dict[str, str]:
    """Return each setting's source: ``--port``, ``argument``, ``PORT``, ``PORT in .env``, ``default``."""
    origins = settings._origins  # pyright: ignore[reportPrivateUsage]
    set_elsewhere = settings.model_fields_set
    return {
        name: origins.get(name, "secrets" if name in set_elsewhere else "default")
        for name in type(settings).model_fields
    }


def weak_secrets(settings: Settings) -> list[Problem]:
    """Return what is weak among the secrets of ``settings``, by the variable to set."""
    model = type(settings)
    values = {name: getattr(settings, name) for name in model.model_fields}
    return weak_among(model, values, variables_to_set(model, settings_sources(settings)))
