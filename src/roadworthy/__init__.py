"""The whole production checklist on any ASGI app: ``app = roadworthy(app)``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    APIError,
    BadRequestError,
    ConflictError,
    ContentTooLargeError,
    FieldError,
    ForbiddenError,
    GoneError,
    MethodNotAllowedError,
    MisdirectedRequestError,
    NotAcceptableError,
    NotFoundError,
    PreconditionFailedError,
    RateLimitedError,
    RequestHeaderFieldsTooLargeError,
    RequestTimeoutError,
    TimeoutError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedMediaTypeError,
    URITooLongError,
    ValidationError,
)

if TYPE_CHECKING:
    from .layer import (
        Layer,
        RequestInfo,
        RouteRule,
        current_request_id,
        roadworthy,
        route_rule,
        wait_for_drain,
    )
    from .settings import Settings

__version__ = "0.1.0"

__all__ = (
    "APIError",
    "BadRequestError",
    "ConflictError",
    "ContentTooLargeError",
    "FieldError",
    "ForbiddenError",
    "GoneError",
    "Layer",
    "MethodNotAllowedError",
    "MisdirectedRequestError",
    "NotAcceptableError",
    "NotFoundError",
    "PreconditionFailedError",
    "RateLimitedError",
    "RequestHeaderFieldsTooLargeError",
    "RequestInfo",
    "RequestTimeoutError",
    "RouteRule",
    "Settings",
    "TimeoutError",
    "URITooLongError",
    "UnauthorizedError",
    "UnavailableError",
    "UnsupportedMediaTypeError",
    "ValidationError",
    "__version__",
    "current_request_id",
    "roadworthy",
    "route_rule",
    "wait_for_drain",
)

# The layer takes half a second to import; the command line's own words and a service's errors do not need it.
_LATER = {
    "Layer": "layer",
    "RequestInfo": "layer",
    "RouteRule": "layer",
    "Settings": "settings",
    "current_request_id": "layer",
    "roadworthy": "layer",
    "route_rule": "layer",
    "wait_for_drain": "layer",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = found
    return found
