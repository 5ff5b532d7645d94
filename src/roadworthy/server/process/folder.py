"""The folder that a service was started in, by the name it was entered under.

A deployment often is a link, ``current``, that is pointed at the next release. The kernel knows the folder
that the link pointed at; the shell knows the name, and leaves it in ``$PWD``. Each process that a supervisor
starts enters the folder by its name again, so that a reload serves what the link points at by then, and a
folder that was made anew is found.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from .listeners import ServeError

__all__ = ("Folder",)


@dataclass(frozen=True, slots=True)
class Folder:
    """Where a service was started.

    Parameters:
        path: the name that the folder was entered under; absolute.
        real: the same folder at the start, without links.
    """

    path: str
    real: str

    @classmethod
    def current(cls, environment: Mapping[str, str] = os.environ) -> Folder:
        """Return the folder of this process.

        ``$PWD`` counts where it is absolute, has no ``.`` or ``..``, and names this folder (``pwd -L``).

        Raises:
            ServeError: the folder was removed.
        """
        try:
            real = os.getcwd()
        except OSError:
            raise ServeError(
                "the current folder is gone: it was removed, or replaced by another of the same name, after "
                "it was entered. Enter it again (cd), or start from another folder."
            ) from None
        named = environment.get("PWD", "")
        if named.startswith("/") and not {".", ".."}.intersection(named.split("/")):
            try:
                if os.path.samefile(named, real):
                    return cls(named, real)
            except OSError:
                pass  # it is of another time, or of another process
        return cls(real, real)

    def trouble(self) -> str:
        """Return why the folder cannot be entered by its name now, empty when it can."""
        try:
            os.stat(f"{self.path}/.")  # the last step needs the right to enter
        except OSError as error:
            return f"the folder {self.path} cannot be entered ({error.strerror})"
        return ""

    def follow(self, path: str) -> str:
        """Return a path below the folder by the folder's name, and any other as it is."""
        inside = path == self.real or path.startswith(f"{self.real.rstrip('/')}/")
        return self.path + path[len(self.real) :] if inside and self.real != "/" else path

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a process that enters the folder by its name."""
        found = {**environment, "PWD": self.path}
        if paths := environment.get("PYTHONPATH"):
            found["PYTHONPATH"] = os.pathsep.join(map(self.follow, paths.split(os.pathsep)))
        return found

    def interpreter(self) -> str:
        """Return the path of Python; that of a virtual environment in the folder by the folder's name."""
        return self.follow(sys.executable)
