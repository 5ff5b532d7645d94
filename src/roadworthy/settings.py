"""Every setting of the layer and the server: name, type, unit, default and reason, in one place.

A value comes from, in this order: an argument of :func:`roadworthy.roadworthy` or a command-line flag, the
environment variable ``ROADWORTHY_<NAME>``, the well-known variable where the field names one (``PORT``,
``DATABASE_URL``, …), the file ``.env`` in the working directory, the default.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ("Rate", "Settings", "parse_duration", "parse_rate", "parse_size")

_SIZES = {"": 1, "b": 1, "kb": 1000, "kib": 1 << 10, "mb": 10**6, "mib": 1 << 20, "gb": 10**9, "gib": 1 << 30}
_DURATIONS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0}
_PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Rate(tuple[int, int]):
    """A rate limit: ``count`` requests as a burst, refilled evenly over ``period`` seconds (GCRA)."""

    __slots__ = ()

    @property
    def count(self) -> int:
        """Requests in one burst, at least 1."""
        return self[0]

    @property
    def period(self) -> int:
        """Seconds over which the whole burst is refilled."""
        return self[1]

    def __str__(self) -> str:
        names = {seconds: name for name, seconds in _PERIODS.items()}
        return f"{self[0]}/{names.get(self[1], f'{self[1]}s')}"


def parse_size(value: Any) -> int:
    """Read a size in bytes: ``1048576``, ``"1MiB"``, ``"500 kB"``.

    Raises:
        ValueError: it is not a whole non-negative size.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("a size is not negative")
        return value
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", str(value).strip().lower(), re.ASCII)
    if match is None or match[2] not in _SIZES:
        raise ValueError("a size is bytes, or a number with kB, KiB, MB, MiB, GB, GiB")
    return int(match[1]) * _SIZES[match[2]]


def parse_duration(value: Any) -> float:
    """Read a duration in seconds: ``30``, ``"1.5"``, ``"500ms"``, ``"2m"``.

    Raises:
        ValueError: it is not a non-negative finite duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower(), re.ASCII)
    if match is None or match[2] not in _DURATIONS:
        raise ValueError("a duration is seconds, or a number with ms, s, m, h")
    return float(match[1]) * _DURATIONS[match[2]]


def parse_rate(value: Any) -> Rate | None:
    """Read a rate: ``"600/minute"``, ``"10/second"``, ``"off"`` (None).

    Raises:
        ValueError: it is neither.
    """
    if value is None or isinstance(value, Rate):
        return value
    text = str(value).strip().lower()
    if text == "off":
        return None
    match = re.fullmatch(r"(\d+)\s*/\s*(second|minute|hour|day)s?", text, re.ASCII)
    if match is None or int(match[1]) < 1:
        raise ValueError("a rate is N/second, N/minute, N/hour or N/day with N at least 1, or off")
    return Rate((int(match[1]), _PERIODS[match[2]]))


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _network(value: str) -> IPv4Network | IPv6Network:
    network = ip_network(value, strict=False)
    if network.prefixlen == 0:
        raise ValueError("trusting every address lets any client choose its own; name the proxies' networks")
    return network


Size = Annotated[int, BeforeValidator(parse_size)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
RateSetting = Annotated[Rate | None, BeforeValidator(parse_rate)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...], NoDecode, BeforeValidator(_split)
]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """Settings of a service that runs on Roadworthy. Subclass it to add the service's own."""

    model_config = SettingsConfigDict(
        env_prefix="ROADWORTHY_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # The process
    env: Literal["production", "development", "test"] = "production"
    host: str = "127.0.0.1"
    port: Port = 8000
    workers: int = Field(default=1, ge=1, le=512)
    ops_host: str = "127.0.0.1"
    ops_port: Port | Literal["off"] = 9464
    database_url: SecretStr = SecretStr("sqlite:///./data.db")
    redis_url: SecretStr | None = None

    # Error handling
    error_format: Literal["problem", "envelope", "app"] = "problem"

    # Logging
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    log_format: Literal["json", "console"] | None = None
    log_redact: Words = ()

    # Request validation
    body_limit: Size = 1 << 20
    header_limit: Size = 32 << 10
    header_count: int = Field(default=100, ge=1)
    url_limit: Size = 8 << 10
    json_strict: bool = True

    # Compression
    compression: bool = True
    compression_min_size: Size = 1024
    compression_with_cookies: bool = False

    # CORS
    cors_origins: Words = ()
    cors_methods: Words = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    cors_headers: Words = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id")
    cors_expose: Words = ("X-Request-Id", "Retry-After", "RateLimit", "RateLimit-Policy", "Location")
    cors_credentials: bool = False
    cors_max_age: Duration = 600.0

    # Rate limiting
    rate_limit: RateSetting = Rate((600, 60))
    rate_limit_on_outage: Literal["open", "closed"] = "open"
    rate_limit_keys: int = Field(default=100_000, ge=1_000)
    trusted_proxies: Networks = ()

    # Security headers
    allowed_hosts: Words = ()
    hsts: Duration = 31_536_000.0
    hsts_subdomains: bool = True
    csp: str = "default-src 'none'; frame-ancestors 'none'"
    referrer_policy: str = "no-referrer"

    # Health, metrics
    health_interval: Duration = 5.0
    health_timeout: Duration = 2.0
    metrics_public: bool = False
    metrics_token: SecretStr | None = None
    metrics_series: int = Field(default=2_000, ge=100)

    # Deadlines and load
    request_timeout: Duration = 30.0
    stream_idle_timeout: Duration = 60.0
    header_timeout: Duration = 10.0
    body_timeout: Duration = 30.0
    keep_alive: Duration = 75.0
    cancel_on_disconnect: bool = False
    max_in_flight: int = Field(default=1_000, ge=1)
    queue_size: int = Field(default=100, ge=0)
    queue_timeout: Duration = 1.0
    pool_timeout: Duration = 5.0

    # Shutdown
    drain_delay: Duration = 5.0
    grace: Duration = 20.0
    stream_grace: Duration = 3.0


