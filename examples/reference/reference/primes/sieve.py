"""The sieve. It imports next to nothing, so that a worker process has it at once."""

from math import isqrt

__all__ = ("count_primes",)


def count_primes(n: int) -> int:
    """Count the primes up to ``n`` with a sieve of Eratosthenes."""
    if n < 2:
        return 0
    is_prime = bytearray(b"\1") * (n + 1)
    is_prime[:2] = b"\0\0"
    for number in range(2, isqrt(n) + 1):
        if is_prime[number]:
            first = number * number
            is_prime[first::number] = bytes(len(range(first, n + 1, number)))
    return is_prime.count(1)
