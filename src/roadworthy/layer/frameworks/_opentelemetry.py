"""OpenTelemetry's own ASGI middleware in an app, which makes the server spans there."""

from __future__ import annotations

__all__ = ("is_tracing", "tracer_within")


def is_tracing(kind: type) -> bool:
    """Return whether a class is OpenTelemetry's middleware or one like it; its name shows it."""
    return "OpenTelemetry" in kind.__name__


def tracer_within(app: object) -> object | None:
    """Return the tracer of the first such middleware around ``app``, None where there is none.

    Parameters:
        app: the outermost of a chain of ASGI apps, each with the next one as its ``app``.
    """
    seen: set[int] = set()
    while app is not None and id(app) not in seen:
        seen.add(id(app))
        if is_tracing(type(app)):
            tracer: object | None = getattr(app, "tracer", None)
            return tracer
        app = getattr(app, "app", None)
    return None
