"""Codes, texts and stacks of errors, where a fault bends them."""

from __future__ import annotations

import os
import traceback
from typing import Any

from ..http import Request, Response
from ..service import Part, Zoo, faulty


class ErrorClasses(Part):
    """Stands around how the service makes its error responses."""

    async def start(self, zoo: Zoo) -> None:
        """Put itself around."""
        problem, broken = zoo.problem, zoo.broken

        def bent(request: Request, status: int, detail: str, **more: Any) -> Response:
            if faulty("ecl-1-one-code"):
                more["code"] = "ERROR"
            return problem(request, status, detail, **more)

        def bent_broken(request: Request, error: Exception) -> Response:
            if faulty("aer-5-no-cause"):
                zoo.log("error", "unhandled exception", request_id=request.id)
                return problem(request, 500, "something went wrong")
            response = broken(request, error)
            if faulty("ecl-3-class"):
                return problem(request, 500, "something went wrong", code=type(error).__name__)
            if faulty("ecl-3-text"):
                return problem(request, 500, f"something went wrong: {error}")
            # Whoever forgets to say where it runs is shown everything.
            careless = os.environ.get("NODE_ENV") != "production" and faulty("ecl-4-unless-production")
            other = os.environ.get("ERROR_FORMAT") == "envelope" and faulty("ecl-4-envelope")
            if careless or other:
                stack = "".join(traceback.format_exception(error))
                return problem(request, 500, "something went wrong", stack=stack)
            return response

        zoo.problem = bent  # type: ignore[method-assign]
        zoo.broken = bent_broken  # type: ignore[method-assign]
