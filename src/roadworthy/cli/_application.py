"""From ``main:app`` to an ASGI app, with a message for each way this can go wrong."""

from __future__ import annotations

import gc
import importlib
import inspect
import os
import pkgutil
import sys
import sysconfig
import traceback
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from ..layer import Layer
from ..near import did_you_mean
from ..server.process.folder import Folder
from ..server.process.listeners import ServeError
from ..settings import SettingsError
from ._messages import UsageError

__all__ = ("load_application",)

_OWN = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def load_application(target: str) -> Any:
    """Import ``module:attribute`` and return the ASGI app it names; a factory is called.

    The current folder comes first on the import path.

    Raises:
        UsageError: there is no such app; the message lists what the module has instead.
        SettingsError: the module makes settings, and they are wrong.
    """
    module_name, colon, path = target.partition(":")
    if not module_name or not colon or not path or module_name.endswith(".py") or "/" in module_name:
        stem = module_name.removesuffix(".py").strip("./").replace("/", ".") or "main"
        raise UsageError(f"{target} is not of the form module:attribute; write {stem}:{path or 'app'}")
    try:
        here = Folder.current().real
    except ServeError as error:
        raise UsageError(str(error)) from None
    if here not in sys.path:
        sys.path.insert(0, here)
    with _no_collections():
        module = _imported(module_name)
        return _as_application(target, _attribute(module, module_name, path))


@contextmanager
def _no_collections() -> Generator[None]:
    """Put the collector off: an import makes many objects and hardly any garbage.

    It took a sixth of the reference service's import (1.0 against 1.2 s of CPU, medians of 12 imports each).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(missing + "."):
            raise _failed(f"importing {name} failed", error) from None
        nearby = _offered(module.name for module in pkgutil.iter_modules([str(Path.cwd())]))
        raise UsageError(
            f"there is no module {missing} in {Path.cwd()} or on the path{did_you_mean(missing, nearby)}"
        ) from None
    except SettingsError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(f"importing {name} failed", error) from None


def _attribute(module: ModuleType, module_name: str, path: str) -> Any:
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            apps = _apps(module)
            # Everything else of a module, its imports included, would only lead astray.
            near = [*apps, *_factories(module)] if found is module else _offered(dir(found))
            hint = did_you_mean(part, near)
            if not hint and apps:
                hint = f"; there is {', '.join(f'{module_name}:{name}' for name in apps)}"
            raise UsageError(f"module {module_name} has no attribute {path}{hint}") from None
    return found


def _offered(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


def _apps(module: ModuleType) -> list[str]:
    """Name what of a module can only be meant as an app; a helper of three parameters is none."""
    found = [(name, value) for name, value in vars(module).items() if not name.startswith("_")]
    apps = [name for name, value in found if _is_surely_asgi(value)]
    # A router is an ASGI app as well, and a part of the one beside it.
    return [name for name in apps if not _is_router(getattr(module, name))] or apps


def _is_surely_asgi(found: Any) -> bool:
    if inspect.isclass(found) or not callable(found):
        return False
    if inspect.isroutine(found):
        names = _parameters(found)
        return inspect.iscoroutinefunction(found) and names[:3] == ["scope", "receive", "send"]
    return inspect.iscoroutinefunction(type(found).__call__) and _accepts(found, 3)


def _is_router(found: object) -> bool:
    return any(kind.__name__.endswith("Router") for kind in inspect.getmro(type(found)))


def _factories(module: ModuleType) -> list[str]:
    """Name the module's own functions that can be called for an app."""
    own = [(name, value) for name, value in vars(module).items() if not name.startswith("_")]
    return [
        name
        for name, value in own
        if getattr(value, "__module__", "") == module.__name__
        and _is_factory(value)
        and not inspect.iscoroutinefunction(value)
    ]


def _parameters(function: Any) -> list[str]:
    try:
        return [name.lstrip("_") for name in inspect.signature(function).parameters]
    except (TypeError, ValueError):
        return []


def _as_application(target: str, found: Any) -> Any:
    if isinstance(found, Layer):
        return found
    wsgi = _wsgi(found)
    if wsgi:
        raise UsageError(
            f"{target} is {wsgi}, which speaks WSGI, not ASGI. Wrap it: "
            "app = asgiref.wsgi.WsgiToAsgi(app), or use the framework's ASGI entry point "
            "(Django: django.core.asgi.get_asgi_application())"
        )
    if inspect.ismodule(found):
        apps = [f"{found.__name__}:{name}" for name in _apps(found)]
        raise UsageError(f"{target} is a module{f'; there is {apps[0]}' if apps else ''}")
    if inspect.isclass(found):
        raise UsageError(f"{target} is the class {found.__name__}; name an instance of it, or a factory")
    if _is_factory(found):
        return _from_factory(target, found)
    if _is_asgi(found):
        return found
    raise UsageError(f"{target} is {_what(found)}, and not an ASGI app (a callable of scope, receive, send)")


def _from_factory(target: str, factory: Any) -> Any:
    if inspect.iscoroutinefunction(factory):
        raise UsageError(f"{target} is an async function without parameters; a factory is a plain function")
    try:
        made = factory()
    except SettingsError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(f"calling the factory {target} failed", error) from None
    if made is None:
        raise UsageError(f"the factory {target} returned None; it has to return the app")
    if _is_factory(made):
        raise UsageError(f"the factory {target} returned another function; it has to return the app")
    return _as_application(f"what {target}() returned", made)


def _accepts(found: Any, count: int) -> bool:
    try:
        inspect.signature(found).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True


def _is_factory(found: Any) -> bool:
    if not inspect.isroutine(found) or not _accepts(found, 0):
        return False
    kinds = {parameter.kind for parameter in inspect.signature(found).parameters.values()}
    # A decorated app takes anything: *args is no factory's signature.
    return inspect.Parameter.VAR_POSITIONAL not in kinds and not (
        inspect.iscoroutinefunction(found) and _accepts(found, 3)
    )


def _is_asgi(found: Any) -> bool:
    return callable(found) and not inspect.isclass(found) and _accepts(found, 3)


def _wsgi(found: Any) -> str | None:
    """Name a WSGI app: Flask by its attribute, Django by its class, others by their parameters."""
    if inspect.isclass(found) or not callable(found):
        return None
    if callable(getattr(type(found), "wsgi_app", None)):
        return _what(found)
    if any(base.__module__ == "django.core.handlers.wsgi" for base in inspect.getmro(type(found))):
        return "a Django WSGI application"
    return _what(found) if _parameters(found)[:2] in (_WSGI_NAMES, _WSGI_SHORT) else None


_WSGI_NAMES = ["environ", "start_response"]
_WSGI_SHORT = ["env", "start_response"]


def _what(found: Any) -> str:
    if found is None:
        return "None"
    if inspect.isroutine(found):
        names = ", ".join(inspect.signature(found).parameters)
        return f"the function {found.__name__}({names})"
    kind = found.__class__
    return f"an object of type {kind.__module__}.{kind.__qualname__}".replace("builtins.", "")


def _failed(what: str, error: BaseException) -> UsageError:
    """Return a message with the service's own frames; import machinery and libraries explain nothing."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SettingsError):
            return UsageError(str(cause))
        cause = cause.__cause__ or cause.__context__
    shown = traceback.TracebackException.from_exception(error)
    _keep_own_frames(shown)
    text = "".join(shown.format()).rstrip()
    if isinstance(error, ValidationError):
        # Its own text repeats the input, which may be the environment with every secret in it.
        places = "\n".join(f"  {'.'.join(map(str, item['loc']))}: {item['type']}" for item in _errors(error))
        text = f"{text.partition(type(error).__module__)[0]}ValidationError in {error.title}:\n{places}"
    return UsageError(f"{what}:\n\n{text}")


def _errors(error: ValidationError) -> list[Any]:
    return list(error.errors(include_url=False, include_context=False, include_input=False))


def _keep_own_frames(shown: traceback.TracebackException) -> None:
    kept = [frame for frame in shown.stack if _is_own(frame.filename)]
    shown.stack = traceback.StackSummary.from_list(kept)
    for other in (shown.__cause__, shown.__context__):
        if other is not None:
            _keep_own_frames(other)


def _is_own(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = os.path.realpath(filename)
    inside = path.startswith(str(Path.cwd().resolve()) + os.sep) and "site-packages" not in path
    return inside or not path.startswith((_OWN, *_LIBRARIES))
