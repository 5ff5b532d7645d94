"""Transfers on the wire."""

from typing import Annotated

from pydantic import Field

from ..fields import DTO, Id

__all__ = ("Transfer", "TransferResult")


class Transfer(DTO):
    """Posts that are to go from one user to another."""

    from_user: Id
    to_user: Id
    post_ids: Annotated[list[Id], Field(max_length=1000)]


class TransferResult(DTO):
    """How many posts went."""

    moved: int
