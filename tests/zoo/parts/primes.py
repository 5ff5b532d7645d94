"""The contract's route that computes, in processes of its own."""

from __future__ import annotations

import asyncio
import sys

from ..http import Request, Response
from ..service import Part, Problem, Zoo, faulty
from ._values import refuse

_TIMES = 40
"""So often the same is computed: long enough to be seen, to be killed in the middle, and to fill a queue."""

_SIEVE = """
import sys
n = int(sys.argv[1])
for _ in range(int(sys.argv[2])):
    sieve = bytearray(b"\\1") * (n + 1)
    sieve[:2] = bytes(len(sieve[:2]))
    for number in range(2, int(n**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, n + 1, number)))
print(sieve.count(1))
"""


class Primes(Part):
    """``/api/primes/{n}``: two at a time, eight more wait."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(1 if faulty("cpu-4-one-at-a-time") else 2)
        self._inside = 0
        self._broken = False
        self._deaths = 0

    async def route(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer with the number of primes."""
        if not request.path.startswith("/api/primes/") or request.method != "GET":
            return None
        request.facts["route"] = "/api/primes/{n}"
        text = request.path.rpartition("/")[2]
        if not text.isdecimal() or len(text) > 7 or int(text) > 5_000_000:
            raise refuse({"path/n": "has to be between 0 and 5000000"})
        if self._inside >= 10 and not faulty("cpu-2-no-bound"):
            headers = {} if faulty("cpu-2-no-retry-after") else {"Retry-After": "1"}
            raise Problem(503, "too much to compute", headers=headers)
        self._inside += 1
        try:
            count = await self._count(int(text))
        finally:
            self._inside -= 1
        return Response.json(200, {"n": int(text), "count": count})

    async def _count(self, n: int) -> int:
        if faulty("cpu-1-on-the-loop"):
            return _sieve(n)
        if faulty("cpu-4-threads"):
            async with self._places:
                return await asyncio.to_thread(_sieve, n)
        async with self._places:
            if self._broken:
                raise RuntimeError("a worker died; the pool is not usable anymore")
            deaths = self._deaths
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-S", "-E", "-c", _SIEVE, str(n), str(_TIMES), stdout=asyncio.subprocess.PIPE
            )
            try:
                output, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
            if process.returncode:
                self._broken = faulty("cpu-3-stays-broken")
                self._deaths += 1
                raise RuntimeError("a worker died")
            if self._deaths != deaths and faulty("cpu-3-takes-all"):
                raise RuntimeError("another worker died")
        return int(output)


def _sieve(n: int) -> int:
    """Do the same in this process."""
    count = 0
    for _ in range(_TIMES):
        sieve = bytearray(b"\1") * (n + 1)
        sieve[:2] = bytes(len(sieve[:2]))
        for number in range(2, int(n**0.5) + 1):
            if sieve[number]:
                sieve[number * number :: number] = bytes(len(range(number * number, n + 1, number)))
        count = sieve.count(1)
    return count
