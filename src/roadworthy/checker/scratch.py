"""A folder for the check's temporary files, or a message that names the remedy."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .errors import StartFailed

__all__ = ("scratch_folder",)


def scratch_folder(prefix: str) -> Path:
    """Make a new folder of this user alone; the caller removes it.

    Raises:
        StartFailed: no place for temporary files can be written.
    """
    try:
        return Path(tempfile.mkdtemp(prefix=prefix))
    except OSError as error:
        raise StartFailed(
            f"the check needs a folder for temporary files, and none can be written ({error.strerror}); name "
            "one that can with TMPDIR"
        ) from None
