"""Targets for settings: whatever the environment and ``.env`` hold, mistakes are named, values not shown."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import traceback
from pathlib import Path

from roadworthy.settings import PREFIX, Settings, SettingsError, load_settings
from roadworthy.settings.masking import masked_settings

from .target import Pieces, Target

__all__ = ("TARGETS",)

_SECRET = "Zq7Xw9Lm4Kv2Tn8R"
_NAMES = tuple(sorted(Settings.model_fields))
_folder = Path(tempfile.mkdtemp(prefix="roadworthy-fuzz-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)


def _judge(env_file: Path | None) -> Settings | None:
    try:
        return load_settings(_env_file=env_file)
    except SettingsError as error:
        mistake = error
    assert mistake.problems
    assert _SECRET not in "".join((str(mistake), repr(mistake), *traceback.format_exception(mistake)))
    return None


def environment(data: bytes) -> None:
    """A value that a setting cannot take is a mistake with the setting's name, and a password is masked."""
    pieces = Pieces(data)
    name = _NAMES[pieces.number(len(_NAMES))]
    before, after = (os.fsdecode(part.replace(b"\0", b"")) for part in (pieces.until(b"\n"), pieces.rest()))
    variable = PREFIX + name.upper()
    url = name.endswith("_url")
    os.environ[variable] = f"{before}:{_SECRET}@{after}" if url else f"{before}{_SECRET}{after}"
    try:
        settings = _judge(None)
    finally:
        del os.environ[variable]
    if settings is not None and url:
        assert _SECRET not in str(masked_settings(settings))


def env_file(data: bytes) -> None:
    """A file is read or is a mistake, whatever its lines are; no value of it is shown."""
    pieces = Pieces(data)
    name = _NAMES[pieces.number(len(_NAMES))].upper().encode()
    before, after = pieces.until(b"\0"), pieces.rest()
    path = _folder / ".env"
    path.write_bytes(b"%b\n%b%b=%b%b\n" % (before, PREFIX.encode(), name, _SECRET.encode(), after))
    _judge(path)


_WORDS = (
    *(b"ROADWORTHY_PORT=", b"PORT: ", b"export ", b"#", b"'", b'"', b"\\", b"\n", b"${HOME}", b"=", b" "),
    *(b"postgresql://user", b"redis://", b"@", b":", b"/", b"?a=", b"[", b"]", b"{", b"10.0.0.0/8", b"off"),
    *(b"1/minute", b"5s", b"1MiB", b"true", b",", b"\xff", b"https://", b"\r\n", b"9" * 30, b"-1", b"nan"),
)

_VALUES = (b"\x05postgresql://user\nhost/db?x=y", b"\x20\n", b"\x01{")
_FILES = (b"\0A='open\0", b"\x01export B=1\0 # end", b"\x02KEY: value\0'")

TARGETS = (
    Target("environment", environment, _VALUES, _WORDS, 256),
    Target("env-file", env_file, _FILES, _WORDS, 256),
)
