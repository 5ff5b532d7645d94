"""Twins for ``cors``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("NONE", "TWINS")

_DECLARED = 'origins = ["https://app.example", "https://admin.example:8443"]\ncredentials = true'
_SET = 'CORS_ORIGINS = "https://app.example,https://admin.example:8443"'

NONE = ((_DECLARED, 'policy = "none"'), (_SET, ""))
"""A manifest and a service without any cross-origin use."""

TWINS = (
    Twin("cor-1-reflects", "COR-1", frozenset({"COR-6"})),
    Twin("cor-1-null", "COR-1", frozenset({"COR-6"})),
    Twin("cor-1-ends-with", "COR-1"),
    Twin("cor-1-begins-with", "COR-1", frozenset({"COR-6"})),
    Twin("cor-1-on-create", "COR-1"),
    Twin("cor-1-on-refusal", "COR-1"),
    Twin("cor-1-on-delete", "COR-1"),
    Twin("cor-1-on-live", "COR-1"),
    Twin("cor-1-on-read", "COR-1"),
    # Credentials that nobody declared are told by COR-3 as well.
    Twin(
        "cor-2-star",
        "COR-2",
        frozenset({"COR-3"}),
        replace=((_DECLARED, 'policy = "public"'),),
    ),
    Twin("cor-3-slash", "COR-3"),
    Twin("cor-3-true", "COR-3"),
    Twin("cor-3-no-credentials", "COR-3"),
    Twin("cor-3-twice", "COR-3", frozenset({"COR-9"})),
    Twin("cor-4-no-vary", "COR-4"),
    Twin("cor-4-only-when-granted", "COR-4"),
    Twin("cor-5-wants-login", "COR-5"),
    Twin("cor-5-lacks-delete", "COR-5"),
    Twin("cor-5-lacks-content-type", "COR-5"),
    Twin("cor-6-any-origin", "COR-6", frozenset({"COR-1"})),
    Twin("cor-6-any-method", "COR-6"),
    Twin("cor-6-any-field", "COR-6", warns=True),
    Twin("cor-7-none", "COR-7", warns=True),
    Twin("cor-7-words", "COR-7"),
    Twin("cor-8-bare-500", "COR-8"),
    Twin("cor-8-bare-413", "COR-8"),
    Twin("cor-9-preflight-fields", "COR-9"),
    Twin("cor-9-list", "COR-9", frozenset({"COR-3"})),
    Twin("cor-9-hidden", "COR-9", warns=True),
    # A grant that nobody declared is a grant to strangers.
    Twin("cor-10-grants", "COR-10", frozenset({"COR-1"}), replace=NONE),
)
