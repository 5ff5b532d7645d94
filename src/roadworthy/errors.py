"""What a service raises, and what the layer itself refuses with.

Each class has one HTTP status, one stable machine-readable code and one default message; codes and default
messages of the first three are those of the source guide's ``APIError`` family. The layer turns every one of
them into the same wire shape (RFC 9457 problem details by default).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

__all__ = (
    "APIError",
    "BadRequestError",
    "ConflictError",
    "ContentTooLargeError",
    "FieldError",
    "ForbiddenError",
    "GoneError",
    "Limit",
    "MethodNotAllowedError",
    "MisdirectedRequestError",
    "NotAcceptableError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PreconditionFailedError",
    "RateLimitedError",
    "RequestHeaderFieldsTooLargeError",
    "RequestTimeoutError",
    "TimeoutError",
    "URITooLongError",
    "UnauthorizedError",
    "UnavailableError",
    "UnsupportedMediaTypeError",
    "ValidationError",
    "refused_by",
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that was refused: where it is, what is wrong, and a code that programs can switch on.

    Parameters:
        pointer: a JSON pointer into the body (RFC 6901, ``/email``), or ``query/limit``, ``path/id``,
            ``header/x-key`` for the other parts of a request.
        message: one sentence that never repeats what the client sent.
        code: the kind of mistake (``missing``, ``string_too_long``, …).
    """

    pointer: str
    message: str
    code: str


@dataclass(frozen=True, slots=True)
class Limit:
    """What a refusal of the layer or the server goes by: for the operator's records, never for the client.

    Parameters:
        setting: the setting that decides, without its prefix (``BODY_LIMIT``).
        value: what is in force, where that is a number.
        unit: of the value: ``bytes``, ``seconds``, ``requests/minute``.
        rule: the field of a ``RouteRule`` that decides for one route, "" where none does.
        ruled: the rule of the route has decided, and not the setting.
    """

    setting: str
    value: float | None = None
    unit: str = ""
    rule: str = ""
    ruled: bool = False


class APIError(Exception):
    """An error with a status, a code and a message that the client may read.

    Parameters:
        message: the text that the client gets; the class's default message when left out.
        status: HTTP status code, 400 to 599.
        code: stable machine-readable code, ``UPPER_SNAKE_CASE``.
        details: further members for the client, JSON values only. Never put what the client sent in here.
        headers: response header fields that belong to this error (``Retry-After``, ``Allow``, …).

    Raises:
        ValueError: the status is not an error status.
    """

    status: int = 500
    code: str = "INTERNAL_ERROR"
    default_message: ClassVar[str] = "Internal Server Error"
    limit: Limit | None = None

    def __init__(
        self,
        message: str | None = None,
        status: int | None = None,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if status is not None:
            if not 400 <= status <= 599:
                raise ValueError(f"an error's status is between 400 and 599, not {status}")
            self.status = status
        if code is not None:
            self.code = code
        self.message = self.default_message if message is None else message
        self.details: dict[str, Any] = dict(details or {})
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(self.message)


class BadRequestError(APIError):
    """Raised when the request cannot be understood: malformed JSON, a broken header (RFC 9110 §15.5.1)."""

    status = 400
    code = "BAD_REQUEST"
    default_message = "Bad request"


class UnauthorizedError(APIError):
    """Raised when credentials are missing or wrong; answer with ``WWW-Authenticate`` (RFC 9110 §15.5.2)."""

    status = 401
    code = "UNAUTHORIZED"
    default_message = "Authentication required"


class ForbiddenError(APIError):
    """Raised when the caller is known and may not do this (RFC 9110 §15.5.4)."""

    status = 403
    code = "FORBIDDEN"
    default_message = "Forbidden"


class NotFoundError(APIError):
    """Raised when there is no such resource (RFC 9110 §15.5.5)."""

    status = 404
    code = "NOT_FOUND"
    default_message = "Resource not found"


class MethodNotAllowedError(APIError):
    """Raised when the resource exists and lacks this method; ``Allow`` is required (RFC 9110 §15.5.6)."""

    status = 405
    code = "METHOD_NOT_ALLOWED"
    default_message = "Method not allowed"


class NotAcceptableError(APIError):
    """Raised when no representation fits the ``Accept`` fields (RFC 9110 §15.5.7)."""

    status = 406
    code = "NOT_ACCEPTABLE"
    default_message = "Not acceptable"


class RequestTimeoutError(APIError):
    """Raised when the client took too long to send its request (RFC 9110 §15.5.9)."""

    status = 408
    code = "REQUEST_TIMEOUT"
    default_message = "The request was not received in time"


class ConflictError(APIError):
    """Raised when the request collides with the resource's state (RFC 9110 §15.5.10)."""

    status = 409
    code = "CONFLICT"
    default_message = "Conflict with the current state of the resource"


class GoneError(APIError):
    """Raised when the resource was there and will not come back (RFC 9110 §15.5.11)."""

    status = 410
    code = "GONE"
    default_message = "Resource is gone"


class PreconditionFailedError(APIError):
    """Raised when ``If-Match`` or another condition does not hold (RFC 9110 §15.5.13)."""

    status = 412
    code = "PRECONDITION_FAILED"
    default_message = "Precondition failed"


class ContentTooLargeError(APIError):
    """Raised when the body is above the limit (RFC 9110 §15.5.14)."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"
    default_message = "Request body too large"


class URITooLongError(APIError):
    """Raised when the request target is above the limit (RFC 9110 §15.5.15)."""

    status = 414
    code = "URI_TOO_LONG"
    default_message = "Request target too long"


class UnsupportedMediaTypeError(APIError):
    """Raised when the body's media type is not one this route reads (RFC 9110 §15.5.16)."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"
    default_message = "Unsupported media type"


class MisdirectedRequestError(APIError):
    """Raised when ``Host`` names a host that this service does not serve (RFC 9110 §15.5.20)."""

    status = 421
    code = "MISDIRECTED_REQUEST"
    default_message = "This host is not served here"


class ValidationError(APIError):
    """Raised when the request is well formed and its values are not acceptable (RFC 9110 §15.5.21).

    Parameters:
        message: the text that the client gets.
        details: further members for the client.
        errors: one entry per refused field.
    """

    status = 422
    code = "VALIDATION_ERROR"
    default_message = "Validation failed"

    def __init__(
        self,
        message: str | None = None,
        details: Mapping[str, Any] | None = None,
        *,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(message, details=details)
        self.errors = tuple(errors)


class RateLimitedError(APIError):
    """Raised when the client is above its rate limit (RFC 6585 §4)."""

    status = 429
    code = "RATE_LIMITED"
    default_message = "Too many requests"


class RequestHeaderFieldsTooLargeError(APIError):
    """Raised when the header section is above the limit (RFC 6585 §5)."""

    status = 431
    code = "HEADERS_TOO_LARGE"
    default_message = "Request header fields too large"


class UnavailableError(APIError):
    """Raised when the service cannot answer now and may soon (RFC 9110 §15.6.4).

    Parameters:
        message: the text that the client gets.
        retry_after: whole seconds after which a retry is worth it, at least 1; None where a retry could do
            something a second time.
    """

    status = 503
    code = "UNAVAILABLE"
    default_message = "Service unavailable"

    def __init__(self, message: str | None = None, *, retry_after: int | None = 1) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(max(1, retry_after))}
        super().__init__(message, headers=headers)


class OutcomeUnknownError(UnavailableError):
    """Raised when the connection to the database broke at COMMIT, before its answer came.

    The change is made as a whole or not at all, and nobody knows which. There is no ``Retry-After``: a repeat
    might make it twice. A request with an Idempotency-Key may be repeated: where the change was made, its
    answer was kept in the same transaction and is given again; where it was not, it is made now.
    """

    code = "OUTCOME_UNKNOWN"
    default_message = "It is not known whether the change was made"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, retry_after=None)


class TimeoutError(APIError):
    """Raised when the work took longer than the request's deadline (RFC 9110 §15.6.5)."""

    status = 504
    code = "TIMEOUT"
    default_message = "The request took too long"


_Error = TypeVar("_Error", bound=APIError)


def refused_by(error: _Error, limit: Limit) -> _Error:
    """Return ``error`` with the limit that it goes by; its record and one warning name it."""
    error.limit = limit
    return error
