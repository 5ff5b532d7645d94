"""On what a fault may depend: the dimensions of the input that a check has to vary."""

from enum import Enum

__all__ = ("Dimension",)


class Dimension(Enum):
    """One thing that differs between two requests, two clients or two starts of a service.

    A fault that shows on every request is found by any probe. One that shows only on a ``POST``, only on the
    second request of a connection or only while the service drains is found by a probe that varies this.
    """

    METHOD = "method"
    """The method of the request (RFC 9110 §9)."""
    ROUTE = "route"
    """Which of the declared routes, health and metrics among them, or none."""
    STATUS = "class of status"
    """Successes, refusals of each kind, and failures (RFC 9110 §15)."""
    MEDIA_TYPE = "media type"
    """What the client accepts, and what it sends (RFC 9110 §8.3, §12.5.1)."""
    ORIGIN = "origin"
    """Each allowed origin, another one, ``null`` and none (Fetch, "CORS protocol")."""
    CONNECTION = "connection"
    """The first request of a connection, or a later one (RFC 9112 §9.3)."""
    HTTP_VERSION = "HTTP version"
    """HTTP/1.1 or HTTP/1.0 (RFC 9112 §2.3)."""
    CLIENT = "client"
    """One that waits for its answer, one that leaves, one that is slow."""
    SIZE = "size"
    """Empty, small, or larger than a buffer."""
    ENCODING = "encoding"
    """The content coding that is asked for or sent (RFC 9110 §8.4)."""
    VALUE = "value"
    """A value at, below and above each bound, and of each form."""
    PARALLEL = "parallel"
    """Alone, or beside other requests."""
    KEY = "key"
    """The same client, row or idempotency key, or another."""
    REPEAT = "repetition"
    """The first time, or a later one."""
    WORKER = "worker"
    """Which of the processes that serve."""
    DRAIN = "drain"
    """Before the signal to stop, or after it."""
    ENVIRONMENT = "environment"
    """The form of an environment value: missing, empty, blank, signed, suffixed, huge."""
