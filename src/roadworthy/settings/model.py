"""Every setting of the layer and the server: name, type, unit, default and reason, in one place.

A value comes from, in this order: an argument of :func:`roadworthy.roadworthy` or a command-line flag, the
environment variable ``ROADWORTHY_<NAME>``, the well-known variable where :data:`WELL_KNOWN` names one
(``PORT``, ``DATABASE_URL``, …), the same two names in the file ``.env`` of the working directory, the
default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, overload

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .links import fold_service_links
from .mistakes import PlainMistake, Problem, SettingsError, aliases, problems_of, wrong_fields
from .second_round import contradictions
from .secrets import weak_among
from .sources import PREFIX, Found, read_sources
from .values import (
    Duration,
    Networks,
    Port,
    Rate,
    RateSetting,
    Size,
    Text,
    Word,
    Words,
)

__all__ = ("Settings", "load_settings", "set_flags", "settings_sources", "weak_secrets")

_flags: dict[str, Any] = {}


class Settings(BaseSettings):
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

    # The process
    env: Annotated[Literal["production", "development", "test"], Word] = Field(
        default="production",
        description="What the process is run for. `development` shows stacks in error bodies and logs for "
        "people; `production` refuses weak secrets. Production by default, so that forgetting it is the safe "
        "mistake.",
    )
    host: Text = Field(
        default="127.0.0.1",
        description="Address or name the public listener binds; 0.0.0.0 or :: for every interface. Loopback "
        "by default, so that a service is reachable from outside only when that was asked for.",
    )
    port: Port = Field(
        default=8000,
        description="TCP port of the public listener, 0 to 65535; 0 takes any free one and logs it. 8000 is "
        "what Python's servers use by custom.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=512,
        description="Worker processes, 1 to 512. One by default: in containers the orchestrator multiplies.",
    )
    worker_timeout: Duration = Field(
        default=15.0,
        gt=0,
        description="Seconds without a sign of life from a worker's event loop after which it is ended and "
        "replaced. Far above any pause of a healthy loop, and below the 30 s after which clients give up.",
    )
    uds: Text | None = Field(
        default=None,
        description="Path of a Unix socket to listen on instead of an address and a port; none by default. "
        "Who may connect is decided by the folder's mode.",
    )
    tls_cert: Text | None = Field(
        default=None,
        description="File with the certificate chain (PEM); with it the public listener speaks https. None "
        "by default: a proxy in front usually ends TLS.",
    )
    tls_key: Text | None = Field(
        default=None,
        description="File with the certificate's private key (PEM); not needed when it is in `tls_cert`.",
    )
    ops_host: Text = Field(
        default="127.0.0.1",
        description="Address the operations listener binds. Loopback by default: metrics and health details "
        "help an attacker; set an address if an orchestrator's agent has to reach it.",
    )
    ops_port: Port | Annotated[Literal["off"], Word] = Field(
        default=9464,
        description="TCP port of the operations listener, 0 to 65535; 0 takes any free one and logs it, "
        "`off` opens none. 9464 is the port that OpenTelemetry's Prometheus exporter uses.",
    )
    ops_token: SecretStr | None = Field(
        default=None,
        description="Bearer token that the operations listener wants for writes (log level, drain), at least "
        "16 characters in production. Without one, which is the default, writes are refused.",
    )
    database_url: SecretStr = Field(
        default=SecretStr("sqlite:///./data.db"),
        min_length=1,
        description="URL of the database, with its password. A file by default, so that a service starts "
        "without any server.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="URL of a Redis or Valkey server that shares rate limits between machines; none by "
        "default, when limits are shared between the workers of one machine.",
    )

    worker_group: str | None = Field(
        default=None,
        description="A name that the workers of one service on one machine have in common: letters, digits, "
        "dots, dashes and underscores. Set by a supervisor; none by default, when workers find each other by "
        "their parent process.",
    )

    # Error handling
    error_format: Annotated[Literal["problem", "envelope", "app"], Word] = Field(
        default="problem",
        description='Shape of error bodies: `problem` (RFC 9457 problem details), `envelope` (`{"error": '
        "{...}}`), `app` (the app's own bodies, without echoes of the input). The default is the standard "
        "one.",
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

    # Security headers
    allowed_hosts: Words = Field(
        default=(),
        description="Host names that are served (`api.example`, `*.example`), separated by commas; others "
        "get 421. Empty serves every name, because only the deployment knows its own.",
    )
    hsts: Duration = Field(
        default=31_536_000.0,
        description="Seconds of `Strict-Transport-Security: max-age`, sent over https only; 0 sends none. "
        "One year is the least that browsers' preload lists take.",
    )
    hsts_subdomains: bool = Field(
        default=True,
        description="Add `includeSubDomains`. On by default; turn it off where a subdomain still speaks "
        "plain http.",
    )
    csp: str = Field(
        default="default-src 'none'; frame-ancestors 'none'",
        description="`Content-Security-Policy` of API responses; empty sends none. The default allows "
        "nothing, which is all that JSON needs.",
    )
    referrer_policy: str = Field(
        default="no-referrer",
        description="`Referrer-Policy`; empty sends none. The default gives no URL of the service to other "
        "sites.",
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

    # Offloaded work
    offload_workers: int | None = Field(
        default=None,
        ge=1,
        description="Processes that compute for one serving process, at least 1. When not set: the cores "
        "that are left beside one for each serving process, at least 1.",
    )
    offload_queue: int = Field(
        default=16,
        ge=0,
        description="Pieces of offloaded work that may wait for a process, 0 or more; further ones get 503 "
        "with `Retry-After`. Short, because a client that waits long has left before the result.",
    )
    offload_timeout: Duration = Field(
        default=20.0,
        gt=0,
        description="Seconds from the call to the result of offloaded work; then its process is killed and "
        "replaced, and the answer is 504. Below `request_timeout`, so that the client learns the cause.",
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
        model = type(self)
        config = model.model_config
        private = {key: values.pop(key) for key in list(values) if key.startswith("_")}
        env_file = private.pop("_env_file", config.get("env_file"))
        encoding = private.pop("_env_file_encoding", config.get("env_file_encoding"))
        ours = Settings.model_fields
        found = read_sources(model, values, _flags, env_file, encoding, ours, _family(Settings))
        problems = found.problems
        try:
            super().__init__(_env_file=None, **private, **found.values)
        except ValidationError as error:
            problems = [*problems, *_mistakes(model, error, found, private)]
        # Raised outside the except block: an exception that hangs on this one would carry the values along.
        if problems:
            raise SettingsError(fold_service_links(problems + _weak(model, found), os.environ))
        self._origins = found.origins

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

    @field_validator("worker_group")
    @classmethod
    def _a_group_has_a_plain_name(cls, value: str | None) -> str | None:
        if value and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", value, re.ASCII) is None:
            raise PlainMistake("is a name of up to 100 letters, digits, dots, dashes and underscores")
        return value

    @field_validator("tls_key")
    @classmethod
    def _a_key_needs_its_certificate(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "tls_cert" in info.data and info.data["tls_cert"] is None:
            raise PlainMistake("needs tls_cert, the certificate that the key belongs to")
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


def set_flags(flags: Mapping[str, Any]) -> None:
    """Make the command line's flags outrank every other source in settings loaded from now on.

    A module that makes its settings while it is imported thus sees the flags of the command that imports it.

    Parameters:
        flags: values by field name; replaces those of an earlier call.
    """
    _flags.clear()
    _flags.update(flags)


def settings_sources(settings: Settings) -> dict[str, str]:
    """Say where each setting came from: ``--port``, ``argument``, ``PORT``, ``PORT in .env``, ``default``."""
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
    return weak_among(model, values, _names_of_secrets(model, settings_sources(settings)))


def _names_of_secrets(model: type[Settings], sources: Mapping[str, str]) -> dict[str, str]:
    nameless = ("default", "argument", "secrets")
    return {
        name: PREFIX + name.upper() if sources.get(name, "default") in nameless else sources[name]
        for name in model.model_fields
    }


def _weak(model: type[Settings], found: Found) -> list[Problem]:
    """Return what is weak among secrets that stand beside other mistakes, for a start that shows them all."""
    # Taken for production where it is unknown: that is the default.
    if str(found.values.get("env", "")).strip().lower() in ("development", "test"):
        return []
    defaults = {name: info.default for name, info in model.model_fields.items()}
    return weak_among(model, {**defaults, **found.values}, _names_of_secrets(model, found.origins))


def _mistakes(
    model: type[Settings], error: ValidationError, found: Found, private: Mapping[str, Any]
) -> list[Problem]:
    """Return what is wrong with the values, and between those that are right."""
    ours = Settings.model_fields
    names = {name: name if origin == "argument" else origin for name, origin in found.origins.items()}
    needed = {
        name: PREFIX + name.upper() if name in ours else next(iter(aliases(info)), name.upper())
        for name, info in model.model_fields.items()
    }
    problems = problems_of(model, error, found.values, names, needed)
    wrong = wrong_fields(model, error)
    if wrong:
        right = {name: value for name, value in found.values.items() if name not in wrong}

        def fill(trial: Any) -> None:
            BaseSettings.__init__(trial, _env_file=None, **private, **right)

        more = contradictions(model, wrong, fill)
        if more is not None:
            problems += problems_of(model, more, found.values, names, needed)
    return problems


def _family(cls: type[Settings]) -> Iterator[type[Settings]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _family(child)
