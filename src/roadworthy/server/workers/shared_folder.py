"""The folder that a supervisor's workers share: made before the first of them, or refused with a remedy."""

from __future__ import annotations

from pathlib import Path

from ...layer.local.group import FolderError, WorkerGroup, room_in, worker_group
from ...layer.local.shared_bytes import shared_bytes
from ...settings import Settings
from ..process.listeners import ServeError

__all__ = ("check_room", "make_group")


def make_group(settings: Settings) -> WorkerGroup:
    """Make the folder that the workers share.

    Raises:
        ServeError: there is no place for it.
    """
    try:
        group = worker_group(shared_bytes(settings, settings.workers))
        assert group is not None
        (group.directory / "prometheus").mkdir(mode=0o700, exist_ok=True)
    except FolderError as error:
        raise ServeError(str(error)) from None
    except OSError as error:
        raise ServeError(f"{error.filename} cannot be made ({error.strerror}); give it room") from None
    return group


def check_room(settings: Settings, directory: Path) -> None:
    """Refuse to start where the app's own settings need more room than the environment's did.

    Raises:
        ServeError: the folder has less; the message has folder, need and remedy.
    """
    need, room = shared_bytes(settings, settings.workers), room_in(directory)
    if room < need:
        raise ServeError(
            f"{settings.workers} workers share {need / 2**20:.1f} MiB in {directory}, which has "
            f"{room / 2**20:.1f} MiB left; give it more room, or lower rate_limit_keys, metrics_series or "
            "workers"
        )
