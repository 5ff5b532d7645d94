"""The target of a check as the command line names it: a URL, an app, or a command."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import ManifestError
from .model import Manifest
from .port import assigned
from .values import loopback_url

__all__ = ("for_target",)


def for_target(target: Sequence[str], manifest: Manifest) -> Manifest:
    """Return the manifest with its target replaced by what stood on the command line.

    Parameters:
        target: ``["http://127.0.0.1:8000"]``, ``["main:app"]``, or a command and its arguments.

    Raises:
        ManifestError: the target is neither a URL, nor an app, nor a command.
    """
    if not target:
        if not manifest.start.command and not manifest.start.url:
            raise ManifestError(
                "nothing to check: name a target (roadworthy check main:app, roadworthy check -- node "
                "server.js, roadworthy check http://127.0.0.1:8000) or set start.command in roadworthy.toml"
            )
        return manifest
    first = target[0]
    if len(target) == 1 and first.startswith(("http://", "https://")):
        return replace(manifest, start=replace(manifest.start, url=loopback_url(first), command=()))
    if len(target) == 1 and _is_application(first):
        start = replace(
            manifest.start,
            command=(sys.executable, "-m", "roadworthy", "run", first),
            url="",
            probe_command=(),
        )
        listen = manifest.listen
        if not listen.port_env:
            listen = replace(listen, port_env="PORT", ports=listen.ports or ("OPS_PORT",))
        return replace(manifest, start=start, listen=listen)
    variables, command = assigned(target)
    start = replace(manifest.start, command=command, url="", probe_command=())
    return _with_variables(replace(manifest, start=start), variables)


def _with_variables(manifest: Manifest, variables: Mapping[str, str]) -> Manifest:
    """Return the manifest with what a shell would set; the variable of the port is set anew each time."""
    port = next(
        (name for name, value in variables.items() if name.endswith("PORT") and value.isdecimal()), ""
    )
    listen = manifest.listen if manifest.listen.port_env else replace(manifest.listen, port_env=port)
    values = {name: value for name, value in variables.items() if name != listen.port_env}
    return replace(manifest, listen=listen, env=replace(manifest.env, set={**manifest.env.set, **values}))


def _is_application(word: str) -> bool:
    module, colon, name = word.partition(":")
    return bool(colon) and module.replace(".", "_").isidentifier() and name.replace(".", "_").isidentifier()
