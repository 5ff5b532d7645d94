"""Twins for ``security-headers``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

_AUTH = ("[ready]", '[auth]\nheader = "Authorization: Bearer zoo"\n\n[ready]')
_PROXY = ('kind = "window"', 'kind = "window"\ntrusted_proxy_hops = 1')

TWINS = (
    Twin("hdr-1-not-on-errors", "HDR-1"),
    Twin("hdr-1-misspelt", "HDR-1"),
    Twin("hdr-2-none", "HDR-2"),
    # A page that nobody meant to be one has no policy of a page either.
    Twin("hdr-2-false", "HDR-2", frozenset({"HDR-4"})),
    Twin("hdr-1-second", "HDR-1"),
    Twin("hdr-2-no-charset", "HDR-2"),
    Twin("hdr-2-other-parameter", "HDR-2"),
    Twin("hdr-3-page", "HDR-3"),
    Twin("hdr-3-data", "HDR-3"),
    Twin("hdr-4-page", "HDR-4"),
    Twin("hdr-4-inline", "HDR-4"),
    Twin("hdr-4-same-nonce", "HDR-4"),
    Twin("hdr-4-no-base", "HDR-4", warns=True),
    Twin("hdr-4-data", "HDR-4", warns=True),
    Twin("hdr-5-none", "HDR-5", replace=(_PROXY,)),
    Twin("hdr-5-short", "HDR-5"),
    Twin("hdr-5-void", "HDR-5"),
    Twin("hdr-5-plain", "HDR-5", warns=True),
    Twin("hdr-6-public", "HDR-6"),
    Twin("hdr-6-page", "HDR-6"),
    Twin("hdr-6-unsaid", "HDR-6", replace=(_AUTH,)),
    Twin("hdr-7-server", "HDR-7"),
    Twin("hdr-7-powered-by", "HDR-7"),
    Twin("hdr-8-no-secure", "HDR-8"),
    Twin("hdr-8-no-http-only", "HDR-8"),
    Twin("hdr-8-no-same-site", "HDR-8"),
    Twin("hdr-8-host-prefix", "HDR-8"),
    Twin("hdr-9-none", "HDR-9", warns=True),
    Twin("hdr-9-void", "HDR-9", warns=True),
    Twin("hdr-10-xss", "HDR-10"),
    Twin("hdr-10-pins", "HDR-10"),
    Twin("hdr-10-twice", "HDR-10"),
)
