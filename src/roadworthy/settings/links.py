"""Variables that Kubernetes puts into every pod for each Service of the namespace, and that nobody meant.

A Service ``ops`` sets ``OPS_PORT=tcp://10.0.0.7:9464``, and one called ``roadworthy`` a handful of
``ROADWORTHY_…`` (Kubernetes, "Discovering services", environment variables).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .mistakes import Problem

__all__ = ("fold_service_links",)

_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+", re.ASCII)
_OF_ADDRESS = re.compile(r"[A-Z0-9_]+_PORT(?:_\d+_(?:TCP|UDP|SCTP))?", re.ASCII)
_OF_SERVICE = re.compile(
    r"[A-Z0-9_]+?_(?:SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)|PORT_\d+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR))",
    re.ASCII,
)
_OF_SERVICE_VALUE = re.compile(r"[0-9A-Fa-f.:]+|tcp|udp|sctp|None", re.ASCII | re.IGNORECASE)
_REMEDY = (
    "Kubernetes sets {them} in every pod for a Service of that name; put enableServiceLinks: false into the "
    "pod's spec, or give the Service another name"
)


def fold_service_links(problems: Iterable[Problem], environment: Mapping[str, str]) -> list[Problem]:
    """Return the problems, with those of service links as one that has the cause and the remedy.

    Parameters:
        problems: what is wrong, by the variable's name.
        environment: the variables of the process; what stands in a file was meant.
    """
    kept: list[Problem] = []
    names: list[str] = []
    for problem in problems:
        if _is_link(problem.name, environment.get(problem.name)):
            names.append(problem.name)
        else:
            kept.append(problem)
    if names:
        names = list(dict.fromkeys(names))
        kept.append(Problem(", ".join(names), _REMEDY.format(them="them" if len(names) > 1 else "it")))
    return kept


def _is_link(name: str, value: str | None) -> bool:
    if value is None:
        return False
    forms = ((_OF_ADDRESS, _ADDRESS), (_OF_SERVICE, _OF_SERVICE_VALUE))
    return any(names.fullmatch(name) and values.fullmatch(value.strip()) for names, values in forms)
