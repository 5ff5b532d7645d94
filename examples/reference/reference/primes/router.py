"""The route that computes."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BeforeValidator

from roadworthy.patterns import offload

from ..fields import DTO, decimal
from .sieve import count_primes

__all__ = ("router",)

router = APIRouter(prefix="/api/primes", tags=["patterns"])


class Primes(DTO):
    """How many primes there are up to ``n``."""

    n: int
    count: int


@router.get("/{n}")
async def get_primes(n: Annotated[int, Path(ge=0, le=5_000_000), BeforeValidator(decimal)]) -> Primes:
    """Count the primes up to n with a sieve of Eratosthenes, off the request thread."""
    return Primes(n=n, count=await offload(count_primes, n))
