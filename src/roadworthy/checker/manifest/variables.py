"""Values of a manifest that name variables of the checker's environment; the store that they lead to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from ..errors import ManifestError
from ..store.kinds import kind_of
from .model import Manifest

__all__ = ("default_of", "expand", "store_url", "with_kind")

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def expand(text: str, extra: Mapping[str, str] | None = None) -> str:
    """Return the text with each ``${NAME}`` replaced by the variable of the checker's environment.

    ``${NAME:-default}`` stands for the default where the variable is not set or empty, as in a POSIX shell
    (IEEE Std 1003.1, Shell Command Language, 2.6.2 Parameter Expansion).

    Parameters:
        extra: variables that come before those of the environment.

    Raises:
        ManifestError: there is no such variable and no default.
    """

    def value(match: re.Match[str]) -> str:
        found = (extra or {}).get(match[1], os.environ.get(match[1]))
        if match[2] is not None:
            return found or match[2]
        if found is None:
            raise ManifestError(f"the manifest refers to ${{{match[1]}}}, which is not set")
        return found

    return _REFERENCE.sub(value, text)


def default_of(text: str) -> str:
    """Return the text as it is where no variable is set: ``${NAME:-default}`` stands for its default."""
    return _REFERENCE.sub(lambda match: match[2] or "", text)


def store_url(manifest: Manifest, environment: Mapping[str, str] | None = None) -> str:
    """Return the URL of the declared store: ``database.url``, else the value of its variable; may be empty.

    Parameters:
        environment: of the service; by default the checker's with ``env.set`` and ``check.env``.

    Raises:
        ManifestError: it refers to a variable that is not set.
    """
    declared = manifest.database
    if declared.url or not declared.env:
        return expand(declared.url)
    if environment is not None:
        return environment.get(declared.env, "")
    layers = (manifest.check.env, manifest.env.set)
    given = next((layer[declared.env] for layer in layers if declared.env in layer), None)
    return os.environ.get(declared.env, "") if given is None else expand(given)


def with_kind(manifest: Manifest) -> Manifest:
    """Return the manifest with the kind of its store, which the URL gives where ``database.kind`` is empty.

    Raises:
        ManifestError: the URL refers to a variable that is not set.
    """
    declared = manifest.database
    if declared.kind or not declared.env or not manifest.startable:
        return manifest
    url = store_url(manifest)
    return replace(manifest, database=replace(declared, kind=kind_of(url))) if "://" in url else manifest
