"""The black-box checker: starts a service, drives it with traffic, faults and signals, reports findings.

It knows URLs, bytes and processes, and of this project only the catalogue (:mod:`roadworthy.checklist`).
The order of reading: :mod:`.probe` (what a probe is, and how to write one), :mod:`.bench` (what it works
with), :mod:`.runner` (how a run goes), :mod:`.verdict` (the results), :mod:`.report` (how they are shown).
"""

from .errors import CheckError, ManifestError, StartFailed
from .events import Run
from .manifest.model import Manifest
from .manifest.read import load_manifest, parse_manifest
from .phases import Profile
from .runner import Options, run_check
from .verdict import ExitCode, Result, Verdict

__all__ = (
    "CheckError",
    "ExitCode",
    "Manifest",
    "ManifestError",
    "Options",
    "Profile",
    "Result",
    "Run",
    "StartFailed",
    "Verdict",
    "load_manifest",
    "parse_manifest",
    "run_check",
)
