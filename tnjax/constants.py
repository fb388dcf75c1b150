"""The tuned constants of the package: listed together, and replaced together for an ablation.

A tuned constant is a number that was chosen by what worked, such as the gain below which a target
counts as far. Each is a field of a frozen dataclass of its part ("growth", "inference", "rival",
...), in the module that uses it; its name here is `part.field`.

    >>> from tnjax import constants
    >>> constants.current("growth.far")
    0.1
    >>> with constants.overridden({"growth.far": 0.2}):
    ...     constants.current("growth.far")
    0.2
"""

import contextlib
import dataclasses
import difflib
import importlib
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from ._tuned import OVERRIDES, PARTS, Tuned

Value = int | float | tuple[int, ...] | tuple[float, ...]

# Where the constants of each part are.
HOMES = {
    "additive": "tnjax.problems._additive",
    "als": "tnjax.solve._als",
    "ask_tell": "tnjax._search.strategies.ask_tell",
    "capacity": "tnjax._search.fitting.capacity",
    "completion": "tnjax.problems._completion",
    "costs": "tnjax._search.fitting.work",
    "cut_back": "tnjax.nn._growth.cut_back",
    "cut_start": "tnjax._search.begin",
    "cuts": "tnjax._search.spectra.cuts",
    "damping": "tnjax.solve._damping",
    "deciding": "tnjax._search.decided",
    "density_queries": "tnjax.problems._density_model",
    "density_rows": "tnjax.problems._rows",
    "density_tables": "tnjax.problems._density",
    "effort": "tnjax._search.greedy.effort",
    "evaluation": "tnjax._search.fitting.evaluate",
    "featured": "tnjax.problems.featured",
    "fit": "tnjax.solve._fit",
    "fixed": "tnjax._search.strategies.fixed",
    "gauss_newton": "tnjax.solve._gauss_newton",
    "genetic": "tnjax._search.strategies.genetic",
    "graphs": "tnjax._search.spectra.graphs",
    "grouped": "tnjax._search.greedy.grouped",
    "growth": "tnjax._search.greedy.grow",
    "held_out": "tnjax.problems.held_out",
    "host_rows": "tnjax.problems.ablation",
    "incumbency": "tnjax._search.greedy.incumbent",
    "inference": "tnjax._search.greedy.infer",
    "influence": "tnjax.solve._influence",
    "informed_start": "tnjax.problems.leading",
    "integer": "tnjax._search.spectra.integer",
    "interpreted_constants": "tnjax._interpret._lower",
    "interpreted_loops": "tnjax._interpret._program",
    "interpreted_operations": "tnjax._interpret._operations",
    "interpreted_products": "tnjax._interpret._products",
    "judged": "tnjax.problems._of_samples",
    "kernels": "tnjax.contract.kernels",
    "ladder": "tnjax._search.strategies.ladder",
    "latent_growth": "tnjax._search.strategies.latent_tree",
    "lattices": "tnjax.lattice._svd",
    "layer_growth": "tnjax.nn._growth.grow",
    "layer_increments": "tnjax.nn._growth.increments",
    "layer_layout": "tnjax.nn._layout",
    "layer_projection": "tnjax.nn._project",
    "layer_slices": "tnjax.nn._growth.leading",
    "layer_spared": "tnjax.nn._spectra",
    "layer_start": "tnjax.nn._growth.start",
    "layer_statistics": "tnjax.nn._measure",
    "layer_svd_start": "tnjax.nn._growth.start",
    "layer_training": "tnjax.nn._training",
    "layer_whitening": "tnjax.nn._growth.whiten",
    "levenberg": "tnjax.solve._levenberg",
    "local_sampling": "tnjax._search.strategies.local_sampling",
    "looks": "tnjax.solve.programs",
    "measuring": "tnjax._search.greedy.measure",
    "minibatch": "tnjax.solve._minibatch",
    "moves": "tnjax.moves.neighbors",
    "neighbors": "tnjax._search.greedy.neighbors",
    "new_states": "tnjax._search.screening.hidden",
    "offsets": "tnjax.problems.coordinates",
    "orders": "tnjax.contract.order",
    "paths": "tnjax.contract.path",
    "population": "tnjax._search.fitting.population",
    "precise": "tnjax._search.precise",
    "prior_path": "tnjax.solve._prior_choice",
    "programs": "tnjax._compile",
    "proposing": "tnjax._search.strategies.proposing",
    "races": "tnjax._search.fitting.races",
    "random": "tnjax._search.strategies.random",
    "ranks": "tnjax._search.spectra.ranks",
    "reach": "tnjax._search.reach",
    "reduction": "tnjax._search.reduce.core",
    "ring": "tnjax._search.spectra.ring",
    "rival": "tnjax._search.greedy.rival",
    "rows": "tnjax.solve.rows",
    "saddle": "tnjax._search.greedy.saddle",
    "samples": "tnjax.problems.samples",
    "samples_on_disk": "tnjax.problems._streamed_completion",
    "scaled_loops": "tnjax.contract.log_rows",
    "schedules": "tnjax.contract.schedule",
    "screens": "tnjax._search.screening.screens",
    "shrinking": "tnjax._search.greedy.shrink",
    "sketch": "tnjax.problems._sketch",
    "slabs": "tnjax.problems.streamed",
    "smoothing": "tnjax.problems._prior",
    "solvers": "tnjax.solve.solver",
    "sparse_diagonal": "tnjax._search.strategies.sparse_diagonal",
    "spectra": "tnjax._search.spectra.unfoldings",
    "stuck": "tnjax._search.greedy.stuck",
    "supervised": "tnjax.problems._supervised",
    "tables": "tnjax.solve.tables",
    "together": "tnjax._together",
    "trains": "tnjax._search.greedy.train",
    "tree_search": "tnjax._search.strategies.tree",
    "tree_svd": "tnjax._search.spectra.tree_svd",
    "trees": "tnjax._search.spectra.trees",
    "tries": "tnjax._search.greedy.tries",
    "tucker": "tnjax._search.spectra.tucker",
    "unevenness": "tnjax.problems.scales",
    "whitening": "tnjax._search.spectra.whitened",
}


@dataclasses.dataclass(frozen=True)
class Constant:
    """A tuned constant.

    Attributes:
        name: `part.field`.
        value: that holds in this context.
        default: that holds where nothing is overridden.
        doc: what it means, its unit, and why it has this value.
        module: where it is.
        traced: whether programs contain it.
    """

    name: str
    value: Value
    default: Value
    doc: str
    module: str
    traced: bool


def listed(*parts: str) -> tuple[Constant, ...]:
    """All constants, or those of some parts, by part and in the order of their fields.

    Args:
        parts: names of parts, such as "growth".

    Raises:
        ValueError: for an unknown part.

    Example:
        >>> from tnjax import constants
        >>> "effort.again" in [c.name for c in constants.listed("effort")]
        True
    """
    found = []
    for part in parts or HOMES:
        handle = _handle(part)
        docs = _docs(type(handle.default))
        for field in dataclasses.fields(handle.default):
            name = field.name
            found.append(
                Constant(
                    f"{part}.{name}",
                    getattr(handle(), name),
                    getattr(handle.default, name),
                    docs.get(name, ""),
                    HOMES[part],
                    handle.traced,
                )
            )
    return tuple(found)


def current(name: str) -> Value:
    """The value of a constant that holds in this context.

    Args:
        name: `part.field`.

    Raises:
        ValueError: for an unknown name.
    """
    handle, field = _found(name)
    return getattr(handle(), field)


@contextlib.contextmanager
def overridden(values: Mapping[str, Value]) -> Iterator[None]:
    """Other values inside of a `with`, for an ablation.

    They hold in this context (see `contextvars`), also in the threads that a search starts. Where
    compiled programs contain a constant, JAX's caches are emptied when its value changes and when
    it is back; the package's own programs are kept for each set of values.

    Args:
        values: by name, `part.field`. A number takes the place of a number, a tuple of numbers that
            of a tuple.

    Raises:
        ValueError: for an unknown name, or a value of another kind.

    Example:
        >>> from tnjax import constants
        >>> with constants.overridden({"inference.white": 1.5, "effort.again": 2.0}):
        ...     constants.current("effort.again")
        2.0
        >>> constants.overridden({"growth.fra": 0.2}).__enter__()
        Traceback (most recent call last):
        ValueError: constants: there is no 'growth.fra'; did you mean 'growth.far'?
    """
    changes: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        handle, field = _found(name)
        fields = changes.setdefault(handle.part, {})
        fields[field] = _checked(name, getattr(handle.default, field), value)
    held = dict(OVERRIDES.get())
    for part, fields in changes.items():
        now = PARTS[part]()
        recording = isinstance(now, _Recorder)
        held[part] = now._replaced(fields) if recording else dataclasses.replace(now, **fields)
    with _holding(held, traced=any(PARTS[part].traced for part in changes)):
        yield


@contextlib.contextmanager
def recorded() -> Iterator[set[str]]:
    """The names of all constants that are read inside of a `with`: no other one has an effect on
    what is done there.

    Programs are made anew inside, so that what they contain is read as well.

    Example:
        >>> from tnjax import Structure, constants
        >>> from tnjax.contract.cost import dense_sweep_flops
        >>> with constants.recorded() as read:
        ...     _ = dense_sweep_flops(Structure.rank_one((2, 3)))
        >>> "paths.true_operands" in read, "growth.far" in read
        (True, False)
    """
    read: set[str] = set()
    held = {part: _Recorder(part, _handle(part)(), read) for part in HOMES}
    with _holding(held, traced=True):
        yield read


class _Recorder:
    """Stands in for the constants of a part, and notes which of them are read. Its own attributes
    have names that no field has."""

    def __init__(self, part: str, values: Any, read: set[str]):
        self._part, self._values, self._read = part, values, read

    def __getattr__(self, field: str) -> Any:
        value = getattr(self._values, field)
        self._read.add(f"{self._part}.{field}")
        return value

    def _replaced(self, fields: dict[str, Value]) -> "_Recorder":
        """The same with other values."""
        return _Recorder(self._part, dataclasses.replace(self._values, **fields), self._read)


@contextlib.contextmanager
def _holding(held: dict[str, Any], *, traced: bool) -> Iterator[None]:
    """Instances of parts that stand in for what holds outside."""
    token = OVERRIDES.set(tuple(sorted(held.items(), key=lambda item: item[0])))
    try:
        if traced:
            jax.clear_caches()
        yield
    finally:
        OVERRIDES.reset(token)
        if traced:
            jax.clear_caches()


def _handle(part: str) -> Tuned[Any]:
    if part not in HOMES:
        raise ValueError(f"constants: there is no part {part!r}{_meant(part, HOMES)}")
    importlib.import_module(HOMES[part])
    return PARTS[part]


def _found(name: str) -> tuple[Tuned[Any], str]:
    """Part and field of a name."""
    part, _, field = name.partition(".")
    if part in HOMES:
        handle = _handle(part)
        if field in {known.name for known in dataclasses.fields(handle.default)}:
            return handle, field
    names = [constant.name for constant in listed()]
    raise ValueError(f"constants: there is no {name!r}{_meant(name, names)}")


def _meant(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "; `constants.listed()` names all."


def _checked(name: str, default: Value, value: Value) -> Value:
    """The value in the type of the default: programs do not depend on how it was written."""
    if isinstance(default, tuple):
        if isinstance(value, tuple | list) and value:
            return tuple(_checked(name, default[0], number) for number in value)  # type: ignore
        raise ValueError(f"constants: {name} is a tuple such as {default}; got {value!r}.")
    whole = isinstance(default, int)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    number = number and math.isfinite(value)  # type: ignore
    if not number or (whole and value != int(value)):  # type: ignore
        kind = "an integer" if whole else "a number"
        raise ValueError(f"constants: {name} is {kind} ({default}); got {value!r}.")
    return type(default)(value)  # type: ignore


def _docs(kind: type) -> dict[str, str]:
    """What a docstring says below `Attributes:`, by field."""
    _, _, text = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    names = ()
    for line in text.splitlines():
        start = re.match(r"    ([a-z][a-z_0-9]*(?:, [a-z][a-z_0-9]*)*): (.*)", line)
        if start:
            names = tuple(start[1].split(", "))
            found |= dict.fromkeys(names, start[2])
        elif line.strip() and line.startswith("    "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        elif line.strip():
            break
    return found
