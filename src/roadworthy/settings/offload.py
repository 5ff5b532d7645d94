"""The settings of offloaded work: where it is done, how much of it, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, ValidationInfo, field_validator

from .mistakes import PlainMistake, Problem
from .process import ProcessSettings
from .sources import PREFIX
from .values import Duration, Text

__all__ = ("OffloadSettings", "cluster_problems")


class OffloadSettings(ProcessSettings):
    """What :func:`roadworthy.patterns.offload` goes by."""

    offload: Text | None = Field(
        default=None,
        description="Where offloaded work is done: `dask://host:port`, the scheduler of a Dask cluster on "
        "this machine, or `tls://host:port`, one that asks for certificates. Beyond loopback it is `tls`, "
        "because what is sent is pickled: whoever can send it can run anything. None by default: worker "
        "processes of the service's own.",
    )
    offload_tls_ca: Text | None = Field(
        default=None,
        validate_default=True,
        description="File with the certificate (PEM) of the authority that signs those of the cluster at "
        "`offload`. An authority of the cluster's own: all whom it signed may send work. No default; "
        "required with `tls`.",
    )
    offload_tls_cert: Text | None = Field(
        default=None,
        validate_default=True,
        description="File with the certificate (PEM) that the service shows the cluster at `offload`. No "
        "default; required with `tls`.",
    )
    offload_tls_key: Text | None = Field(
        default=None,
        description="File with the private key (PEM) of `offload_tls_cert`; not needed when it is in there.",
    )
    offload_workers: int | None = Field(
        default=None,
        ge=1,
        description="Pieces of offloaded work that are done at once for one serving process, at least 1. "
        "When not set: with processes of the service's own, the cores that are left beside one for each "
        "serving process; in a Dask cluster, the threads of its workers.",
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

    @field_validator("offload")
    @classmethod
    def _a_cluster_is_near_or_encrypted(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = _parts(value)
        if parts is None:
            raise PlainMistake(
                "is dask://host:port, the address of a Dask scheduler on this machine, or tls://host:port"
            )
        if parts.scheme == "dask" and not _is_loopback(parts.hostname or ""):
            raise PlainMistake(
                "is tls://host:port beyond loopback, because what is sent is pickled and whoever can send it "
                "can run anything; set offload_tls_ca and offload_tls_cert, too"
            )
        return value

    @field_validator("offload_tls_ca", "offload_tls_cert")
    @classmethod
    def _tls_needs_certificates(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and (info.data.get("offload") or "").startswith("tls:"):
            raise PlainMistake(
                "is required with tls:// in offload, on both sides of which certificates are shown"
            )
        return value

    @field_validator("offload_tls_key")
    @classmethod
    def _a_key_of_offload_needs_its_certificate(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "offload_tls_cert" in info.data and info.data["offload_tls_cert"] is None:
            raise PlainMistake("needs offload_tls_cert, the certificate that the key belongs to")
        return value


def cluster_problems(settings: OffloadSettings) -> list[Problem]:
    """Return what is missing for the cluster that is set: a package, a file."""
    import ssl

    found: list[Problem] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def try_out(name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except ssl.SSLError as error:
            found.append(Problem(PREFIX + name, f"cannot be used ({error.reason}); it is PEM, no passphrase"))
        except OSError as error:
            found.append(Problem(PREFIX + name, f"cannot be read ({error.strerror})"))

    if settings.offload is not None and find_spec("distributed") is None:
        text = 'the package distributed is missing: pip install "roadworthy[dask]"'
        found.append(Problem(f"{PREFIX}OFFLOAD", text))
    ca, cert, key = settings.offload_tls_ca, settings.offload_tls_cert, settings.offload_tls_key
    if ca is not None:
        try_out("OFFLOAD_TLS_CA", lambda: context.load_verify_locations(ca))
    if cert is not None:
        try_out("OFFLOAD_TLS_CERT", lambda: context.load_cert_chain(cert, key, password=""))
    return found


def _parts(value: str) -> SplitResult | None:
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("dask", "tls") and bool(parts.hostname) and bool(parts.port)
    except ValueError:
        return None
    return parts if whole and "@" not in value and not (parts.path or parts.query or parts.fragment) else None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
