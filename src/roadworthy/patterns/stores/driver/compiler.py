"""Constructs of SQLAlchemy as text for a driver, with the work that their types do on the way in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import chain
from operator import itemgetter
from typing import Any, TypeAlias, cast

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Delete,
    Dialect,
    Insert,
    LargeBinary,
    Select,
    Table,
    Update,
    inspect,
)
from sqlalchemy.exc import CompileError, SQLAlchemyError
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase

from ....near import did_you_mean

__all__ = ("Construct", "Plan", "RefusedStatementError", "column_keys", "compile_plan", "table_of")

Construct: TypeAlias = Select[Any] | CompoundSelect[Any] | Insert | Update | Delete
_Processor: TypeAlias = Callable[[Any], Any] | None

_KINDS = (Select, CompoundSelect, Insert, Update, Delete)

_MOST_EXPANSIONS = 64
"""Lengths of lists that a plan keeps its text for: with powers of two, more than two lists ever have."""

_LONGEST_LIST = 32_000
"""Values of one list: SQLite takes 32,766 parameters (https://sqlite.org/limits.html), PostgreSQL 65,535."""


class RefusedStatementError(TypeError):
    """Raised when a statement that is declared cannot be compiled; it names the reason."""


def table_of(construct: Any) -> Table | None:
    """Return the table that a construct changes, None where it changes none."""
    if not isinstance(construct, UpdateBase):
        return None
    table: Any = cast("Any", construct).table
    return cast("Table", table) if isinstance(table, Table) else None


def _writes(construct: Any) -> bool:
    """Return whether a construct, or a part of it, changes rows."""
    return any(isinstance(part, UpdateBase) for part in visitors.iterate(construct))


def column_keys(construct: Any) -> Mapping[str, str]:
    """Return the keys of the columns that a change may be given values for, by their names."""
    if not isinstance(construct, (Insert, Update)):
        return {}
    mapper = cast("Any", construct.table)._annotations.get("parententity")
    if mapper is not None:
        return {attribute.key: attribute.columns[0].key for attribute in inspect(mapper).column_attrs}
    return {key: key for key in construct.table.c.keys()}  # noqa: SIM118 - no mapping: it iterates over columns


class Plan:
    """A statement as a driver takes it.

    Attributes:
        sql: its text, unless it has lists; see :meth:`bind`.
        required: names that a value has to be given for.
        optional: names that a value may be given for.
        has_lists: whether its text depends on the lengths of lists.
        columns: the names of what a row of its result has, () where it has none.
        is_write: whether it, or a part of it, changes rows.
    """

    def __init__(
        self, compiled: SQLCompiler, dialect: Dialect, renamed: Mapping[str, str], construct: Any
    ) -> None:
        inner = cast("Any", compiled)
        self.is_write = _writes(construct)
        self._compiled = compiled
        self._dialect = dialect
        self.sql = compiled.string
        self.has_lists = bool(inner.post_compile_params)
        self.columns = _names(inner, _attributes(construct))
        self._types = [entry.type for entry in inner._result_columns]
        self._processors: Mapping[str, Any] = inner._bind_processors
        self._order: Sequence[str] = tuple(compiled.positiontup or ())
        self._defaults = _defaults(inner)
        given = {key: shown for shown, key in renamed.items()}
        self._constants: dict[str, Any] = {}
        self._callables: list[tuple[str, Callable[[], Any]]] = []
        self._lists: list[str] = []
        self._tuples: set[str] = set()
        self._named: dict[str, str] = {}
        required: set[str] = set()
        made = {name for name, *_ in self._defaults}
        for bind, name in compiled.bind_names.items():
            if bind.expanding:
                self._lists.append(name)
                if cast("Any", bind.type)._is_tuple_type:
                    self._tuples.add(name)
            if bind.required or not (bind.unique or name in made):
                shown = given.get(bind.key, bind.key)
                self._named[shown] = name
                if bind.required:
                    required.add(shown)
            if bind.callable is not None:
                self._callables.append((name, bind.callable))
            elif not bind.required and name not in made:
                self._constants[name] = bind.value
        self.required: Set[str] = frozenset(required)
        self.optional = frozenset(self._named) - self.required
        self._renames = any(shown != name for shown, name in self._named.items())
        self._expansions: dict[tuple[int, ...], _Bound] = {}
        self._bound = None if self.has_lists else _Bound(self.sql, self._order, self._processors)
        is_plain = not (self._defaults or self._callables or self._constants or self._renames)
        self._plain = self._bound if is_plain and self.required == frozenset(self._order) else None

    def result_processors(self, types_of_driver: Sequence[Any] | None = None) -> Sequence[_Processor]:
        """Return what makes the values of columns from the driver's, None for a column that needs nothing.

        Parameters:
            types_of_driver: as the driver describes the columns of the result; None where it does not.
        """
        driver = types_of_driver or [None] * len(self._types)
        return [
            kind._cached_result_processor(self._dialect, one)
            for kind, one in zip(self._types, driver, strict=True)
        ]

    @property
    def is_short(self) -> bool:
        """Whether a row of it is read in no time: it has columns, no lists to look for and no binary ones."""
        return (
            bool(self.columns)
            and not self.has_lists
            and not self.is_write
            and not any(isinstance(kind.dialect_impl(self._dialect), LargeBinary) for kind in self._types)
        )

    def bind(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        """Return the text and the values of its parameters in their order.

        Raises:
            TypeError: a name is missing, or there is no such name.
        """
        plain = self._plain
        if plain is not None and len(values) == len(self.required):
            try:
                return plain.sql, plain.pick(values)
            except KeyError:
                pass  # a name is missing, and another was given, which is reported below
        if values.keys() != self.required:
            self._check(values)
        return self.bind_all(self._filled(values))

    def bind_all(self, values: dict[str, Any]) -> tuple[str, Sequence[Any]]:
        """Do as :meth:`bind` with a value for each parameter, by SQLAlchemy's names for them."""
        bound = self._bound
        if bound is None:
            bound, values = self._expanded(values)
        return bound.sql, bound.pick(values)

    def bind_like(self, binds: Sequence[Any] | None) -> tuple[str, Sequence[Any]]:
        """Return the text and the values for a statement of the same cache key.

        Parameters:
            binds: of that statement; None for the one that was compiled.
        """
        inner = cast("Any", self._compiled)
        values = cast(
            "dict[str, Any]", inner.construct_params(extracted_parameters=binds, escape_names=False)
        )
        self._default(values)
        return self.bind_all(values)

    def _check(self, values: Mapping[str, Any]) -> None:
        unknown = values.keys() - self.required - self.optional
        if unknown:
            name = min(unknown)
            hint = did_you_mean(name, self._named) or f"; it has {_listed(self._named)}"
            raise TypeError(f"the statement has no parameter {name!r}{hint}")
        missing = self.required - values.keys()
        if missing:
            raise TypeError(f"the statement needs a value for {_listed(missing)}")

    def _filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        named = self._named
        filled = dict(self._constants)
        for name, make in self._callables:
            filled[name] = make()
        if self._renames:
            filled.update((named[shown], value) for shown, value in values.items())
        else:
            filled.update(values)
        if self._defaults:
            self._default(filled)
        return filled

    def _default(self, filled: dict[str, Any]) -> None:
        for name, scalar, make in self._defaults:
            filled[name] = scalar if make is None else make(_Context(filled))

    def _expanded(self, values: dict[str, Any]) -> tuple[_Bound, dict[str, Any]]:
        padded = {name: _padded(values[name]) for name in self._lists}
        key = tuple(map(len, padded.values()))
        bound = self._expansions.get(key)
        if bound is None:
            state = cast("Any", self._compiled)._process_parameters_for_postcompile({**values, **padded})
            processors = {**self._processors, **state.processors}
            bound = _Bound(state.statement, state.positiontup, processors, state.parameter_expansion)
            if len(self._expansions) >= _MOST_EXPANSIONS:
                self._expansions.pop(next(iter(self._expansions)))
            self._expansions[key] = bound
        filled = dict(values)
        for name, members in bound.members.items():
            items = padded[name]
            filled.update(zip(members, chain(*items) if name in self._tuples else items, strict=True))
        return bound, filled


class _Bound:
    """A text whose parameters have their places."""

    def __init__(
        self,
        sql: str,
        order: Sequence[str],
        processors: Mapping[str, Any],
        members: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.sql = sql
        self.members = members or {}
        self.pick = _picker(order, [processors.get(name) for name in order])


def _picker(
    order: Sequence[str], processors: Sequence[_Processor]
) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    if any(processors):
        steps = list(zip(order, processors, strict=True))
        return lambda values: [
            values[name] if process is None else process(values[name]) for name, process in steps
        ]
    if not order:
        return lambda values: ()
    if len(order) == 1:
        only = order[0]
        return lambda values: (values[only],)
    return itemgetter(*order)


class _Context:
    """What a default of a column may ask for (SQLAlchemy's "context-sensitive default functions")."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.current_parameters = values

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> dict[str, Any]:
        del isolate_multiinsert_groups
        return self.current_parameters


def compile_plan(
    construct: Any, dialect: Dialect, keys: Iterable[str] = (), *, many: bool = False, cache_key: Any = None
) -> Plan:
    """Compile a construct.

    Parameters:
        construct: of SQLAlchemy.
        dialect: of the database.
        keys: of columns that values are given for, besides those that the construct itself names; as
            :func:`column_keys` has them.
        many: for a list of values.
        cache_key: of the construct, where :meth:`Plan.bind_like` is used.

    Raises:
        RefusedStatementError: it cannot be compiled, or its result could differ from SQLAlchemy's.
    """
    if not isinstance(construct, _KINDS):
        raise RefusedStatementError(
            f"{type(construct).__name__} is no select, insert, update or delete of SQLAlchemy; "
            "run it on Database.connection()"
        )
    if isinstance(construct, Insert) and not cast("Any", construct)._returning:
        # Without it SQLAlchemy has PostgreSQL return the key, which nobody here asks for.
        construct = construct.inline()
    renamed = column_keys(construct)
    try:
        given: dict[str, Any] = {} if cache_key is None else {"cache_key": cache_key}
        compiled = construct.compile(
            dialect=dialect, column_keys=[renamed[key] for key in keys], for_executemany=many, **given
        )
        plan = Plan(cast("SQLCompiler", compiled), dialect, renamed, construct)
    except RefusedStatementError:
        raise
    except (SQLAlchemyError, CompileError, NotImplementedError) as error:
        raise RefusedStatementError(f"the statement cannot be compiled: {error}") from error
    _refuse(cast("Any", compiled), plan)
    return plan


def _refuse(compiled: Any, plan: Plan) -> None:
    if compiled.literal_execute_params:
        raise RefusedStatementError("a parameter with literal_execute would become part of the text")
    if compiled._ad_hoc_textual or "" in plan.columns:
        raise RefusedStatementError(
            "a column of the result is text(); literal_column(…, type).label(…) has a type and a name"
        )
    if getattr(compiled.compile_state, "eager_joins", None):
        raise RefusedStatementError(
            "a relationship is loaded by lazy='joined'; add .options(lazyload('*')), or select columns"
        )


def _defaults(compiled: Any) -> list[tuple[str, Any, Callable[[Any], Any] | None]]:
    found: list[tuple[str, Any, Callable[[Any], Any] | None]] = []
    key_of = compiled._within_exec_param_key_getter if _prefetched(compiled) else None
    for column in _prefetched(compiled):
        assert key_of is not None
        default = column.default if compiled.isinsert else column.onupdate
        if default is not None and default.is_scalar:
            found.append((key_of(column), default.arg, None))
        elif default is not None and default.is_callable:
            found.append((key_of(column), None, default.arg))
        else:
            raise RefusedStatementError(
                f"the default of the column {column.name!r} has to be asked of the database before; "
                "give it a server_default"
            )
    return found


def _prefetched(compiled: Any) -> Sequence[Any]:
    return [*(compiled.insert_prefetch or ()), *(compiled.update_prefetch or ())]


def _names(compiled: Any, attributes: Mapping[Any, str]) -> tuple[str, ...]:
    return tuple(_name(entry, attributes) or "" for entry in compiled._result_columns)


def _name(entry: Any, attributes: Mapping[Any, str]) -> str | None:
    column: Any = next(iter(entry.objects or ()), None)
    if entry.keyname == getattr(column, "key", None) and isinstance(column, ColumnElement):
        for base in cast("Any", column).base_columns:
            if base in attributes:
                return attributes[base]
    return cast("str | None", entry.keyname)


def _attributes(construct: Any) -> Mapping[Any, str]:
    """Return the names of the attributes of mapped classes that a construct selects, by their columns."""
    described: Any = getattr(construct, "column_descriptions", None)
    if described is None:
        described = getattr(construct, "returning_column_descriptions", None) or ()
    entities = [one["entity"] for one in described if one.get("entity") is not None]
    return {
        column: attribute.key
        for entity in entities
        for attribute in inspect(entity).mapper.column_attrs
        for column in attribute.columns
    }


def _padded(values: Any) -> list[Any]:
    # To a power of two, with a value it has: nothing changes for IN and NOT IN, and few texts are prepared.
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise TypeError(f"a parameter of IN is a list, not {type(values).__name__}")
    found = list(values)
    if len(found) > _LONGEST_LIST:
        raise ValueError(f"a list of IN has at most {_LONGEST_LIST:,} values, not {len(found):,}")
    if found:
        found += found[-1:] * ((1 << (len(found) - 1).bit_length()) - len(found))
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
