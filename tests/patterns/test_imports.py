"""What the patterns need is imported when it is needed."""

import subprocess
import sys


def test_without_sqlalchemy() -> None:
    """Units of work, keys and repositories in memory work where SQLAlchemy is not installed."""
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from roadworthy.patterns import MemoryAnswers, MemoryRepository, MemoryStore\n"
        "from roadworthy.patterns import Repository, idempotent, transactional, unit_of_work\n"
        "try:\n"
        "    from roadworthy.patterns import Database\n"
        "except ImportError as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ModuleNotFoundError\n"


def test_without_the_layer() -> None:
    """A script that fans out and offloads loads neither the layer nor the settings."""
    code = (
        "import sys; import roadworthy.patterns\n"
        "heavy = ('roadworthy.layer', 'roadworthy.settings', 'pydantic', 'structlog')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_dask() -> None:
    """Dask is imported by the pool that is to use it, when it starts, and by nothing else."""
    code = (
        "import sys; import roadworthy; from roadworthy import Settings\n"
        "from roadworthy.patterns import OffloadPool\n"
        "OffloadPool(Settings(_env_file=None))\n"
        "OffloadPool(Settings(_env_file=None, offload='dask://127.0.0.1:8786'))\n"
        "print([name for name in ('dask', 'distributed', 'tornado') if name in sys.modules])\n"
        "sys.modules['distributed'] = None\n"
        "try:\n"
        "    OffloadPool(Settings(_env_file=None, offload='dask://127.0.0.1:8786'))\n"
        "except Exception as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *rest = done.stdout.splitlines()
    assert first == "[]"
    assert (
        'ROADWORTHY_OFFLOAD: the package distributed is missing: pip install "roadworthy[dask]"' in rest[-1]
    )
