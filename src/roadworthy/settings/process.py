"""The settings of the process around the service: listeners, workers, certificate, and rules of routes."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from .mistakes import PlainMistake
from .rules import WrittenRule
from .values import Duration, Port, SecretUrls, Text, Word

__all__ = ("ProcessSettings",)


class ProcessSettings(BaseSettings):
    """The first part of :class:`~roadworthy.settings.Settings`."""

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
    root_path: str = Field(
        default="",
        description="Prefix at which a proxy serves the app, cut off before requests arrive (`/api`): links, "
        "redirects and the documentation pages have it (`root_path` of ASGI). None by default.",
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
    database_replica_urls: SecretUrls = Field(
        default=(),
        description="URLs of standbys of the PostgreSQL server at `database_url`, separated by commas, which "
        "then carry out units of work that are `read_only`; needs `redis_url`. None by default: the primary "
        "does all.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="URL of a Redis or Valkey server that shares between machines: rate limits, and who has "
        "written what a replica may not have yet. None by default, when limits are shared between the "
        "workers of one machine.",
    )

    worker_group: str | None = Field(
        default=None,
        description="A name that the workers of one service on one machine have in common: letters, digits, "
        "dots, dashes and underscores. Set by a supervisor; none by default, when workers find each other by "
        "their parent process.",
    )

    rules: Annotated[tuple[WrittenRule, ...], NoDecode] = Field(
        default=(),
        description='Rules of single routes, as JSON: `{"POST /upload": {"body_limit": "1GiB"}}`, with the '
        "fields of `RouteRule`. Those of `roadworthy.toml` stand beside them. None by default: a rule "
        "loosens one route and leaves the others as they are.",
    )

    @field_validator("worker_group")
    @classmethod
    def _a_group_has_a_plain_name(cls, value: str | None) -> str | None:
        if value and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", value, re.ASCII) is None:
            raise PlainMistake("is a name of up to 100 letters, digits, dots, dashes and underscores")
        return value

    @field_validator("root_path")
    @classmethod
    def _a_prefix_is_a_path(cls, value: str) -> str:
        if value and re.fullmatch(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+", value, re.ASCII) is None:
            raise PlainMistake("is a path that begins with a slash and does not end with one: /api")
        return value

    @field_validator("tls_key")
    @classmethod
    def _a_key_needs_its_certificate(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "tls_cert" in info.data and info.data["tls_cert"] is None:
            raise PlainMistake("needs tls_cert, the certificate that the key belongs to")
        return value
