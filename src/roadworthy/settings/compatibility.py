"""The settings that give back what an app had without the layer."""

from __future__ import annotations

from pydantic import Field

from .process import ProcessSettings

__all__ = ("CompatibilitySettings",)


class CompatibilitySettings(ProcessSettings):
    """What can be turned off where an app, its clients or its tests rely on the difference."""

    http_strict: bool = Field(
        default=True,
        description="Refuse what other servers let through: a malformed or missing `Host`, a malformed "
        "`Content-Length`, a field twice that stands once, CONNECT, a response whose status is not 200 to "
        "599. On by default: proxies and apps read them differently. The server of `roadworthy run` "
        "refuses them in any case.",
    )
    security_headers: bool = Field(
        default=True,
        description="Add security headers to responses that lack them. Off where a proxy in front adds them.",
    )
    request_id_header: bool = Field(
        default=True,
        description="Send `X-Request-Id` with every response, so that clients can report it. Records carry "
        "the id in any case.",
    )
    tracing: bool = Field(
        default=True,
        description="Make a server span of each request where OpenTelemetry is set up. Off where the app "
        "has spans of its own that the layer does not know of.",
    )
