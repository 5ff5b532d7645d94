"""What validators of several fields find when some field is wrong.

pydantic runs a model's own validators only when every field is right, so that their mistakes would come to
light in a second start. Here they run once more on what is right, and stop where they ask for a field that is
not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from pydantic import BaseModel, ValidationError

__all__ = ("contradictions",)


class _UnknownError(Exception):
    """Raised where a validator reads a field whose value is wrong, for nothing is known of it then."""


def contradictions(
    model: type[BaseModel], wrong: Collection[str], fill: Callable[[BaseModel], None]
) -> ValidationError | None:
    """Return what the model's validators find in the fields that are right; None when that is nothing.

    Parameters:
        model: the settings class.
        wrong: the fields that are missing or have a value that is refused.
        fill: validates an instance of a subclass of ``model`` without the wrong values, in place.
    """

    def read(self: Any, name: str) -> Any:
        if name in wrong:
            raise _UnknownError
        return model.__getattribute__(self, name)

    spaces: dict[str, Any] = dict.fromkeys(wrong)
    annotations = dict.fromkeys(wrong, Any)
    trial: Any = type(
        model.__name__,
        (model,),
        {**spaces, "__annotations__": annotations, "__module__": model.__module__, "__getattribute__": read},
    )
    try:
        fill(trial.__new__(trial))
    except ValidationError as error:
        # An error of a single field is known from the first round, or comes from a value that is left out.
        of_fields = any(item["loc"] for item in error.errors(include_url=False, include_input=False))
        return None if of_fields else error
    except Exception:
        return None  # a validator met what it was not written for; the first round's mistakes come first
    return None
