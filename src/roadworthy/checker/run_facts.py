"""What a run is about, in words: what it cannot prove, what differs, and where the service was."""

from __future__ import annotations

import os
import shlex

from .manifest.model import Manifest
from .manifest.variables import expand
from .phases import Profile
from .read.masking import Masker
from .service.target import Target

__all__ = ("addresses", "learn_secrets", "limits", "overlay", "restart", "target_of")


def target_of(manifest: Manifest) -> str:
    """Return what is checked: the URL, or the command."""
    start = manifest.start
    return start.url or " ".join(start.probe_command or start.command)


def limits(manifest: Manifest, profile: Profile) -> tuple[str, ...]:
    """Return what a run cannot prove from the outset, and why."""
    found: list[str] = []
    if not manifest.startable:
        found.append(
            "URL mode: the check did not start the service, so its environment, its logs, its shutdown "
            "and faults of its store cannot be tried (environment, logging, graceful-shutdown, "
            "connection-pooling)"
        )
    if profile is Profile.QUICK:
        found.append(
            "quick profile: no load, no faults of the store, no waiting for a limit's window, "
            "one worker, and no series of starts to compare"
        )
    return tuple(found)


def overlay(manifest: Manifest) -> tuple[str, ...]:
    """Return what is different during the check."""
    check = manifest.check
    found = [f"{name}={value}" for name, value in check.env.items()]
    found += [f"{name}={value} (limits)" for name, value in check.rate_limit.env.items()]
    found += [f"{name}={value} (shutdown)" for name, value in check.shutdown.env.items()]
    return tuple(found)


def addresses(first: Target | None) -> tuple[tuple[str, str], ...]:
    """Return the variables of the commands that send a request again, and what they were at first."""
    if first is None:
        return ()
    known = {one.name: f"http://{one}" for one in (first.address, first.metrics_address)}
    return tuple(known.items())


def restart(first: Target | None) -> str:
    """Return the command that starts the service on the same port again; empty for one that runs already."""
    if first is None or first.service is None:
        return ""
    listen = first.manifest.listen
    ports = {listen.port_env: first.address.port, **first.ports}
    words = [f"{name}={port}" for name, port in ports.items() if name]
    command = first.service.command
    words.append(" ".join(command) if first.manifest.start.shell else shlex.join(command))
    return " ".join(words)


def learn_secrets(manifest: Manifest, masker: Masker) -> None:
    """Have the masker know the secrets that the manifest names or holds."""
    values = {**os.environ, **{name: expand(value) for name, value in manifest.env.set.items()}}
    for name in manifest.env.secret:
        masker.add(name, values.get(name, ""))
    for name, value in manifest.env.set.items():
        masker.add_url(name, value)
