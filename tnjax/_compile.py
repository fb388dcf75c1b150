"""Programs made ahead of time in one of three ways, kept in the process, with an account of the
time.

A structure search runs many programs a few times each, so making them is most of its cost. On CPU
there are three tiers:

- `"host"`: interpreted by NumPy, operation by operation (`_interpret`). Made as soon as it is
  traced; matrix products run as fast as XLA's, loops over elements somewhat slower, and each
  operation costs microseconds.
- `"fast"`: XLA's optimization level 0. Compiles some ten times sooner than the defaults;
  elementwise loops run some four times slower, matrix products as fast.
- `"full"`: everything that pays. Without fusion emitters and LLVM's expensive passes the code
  runs as fast as with the defaults and compiles in less than half the time.

The tier is chosen from a forecast and never from a measured time, so that the same call gives
the same bits. Programs on other devices, or on a mesh of several, are always compiled.
"""

import collections
import contextlib
import dataclasses
import functools
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from . import _collector, _compiling, _interpret, _interrupt, _mesh
from ._tuned import traced_overrides, tuned

# Code in one piece: split up for many threads, as by default, it takes longer where programs are
# small, and twice as many mappings of memory, of which a Linux process may have some 65,000.
_FULL = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": 1,
}
_FAST = {**_FULL, "xla_backend_optimization_level": 0}


@dataclasses.dataclass(frozen=True)
class Programs:
    """Forecasts that choose how a program is made.

    Attributes:
        fast_loss: seconds that level 0 of XLA loses for one element that an elementwise loop
            touches, as measured on one x86 core.
        full_seconds: seconds that the full tier's compilation costs on top.
        host_loss: seconds that NumPy loses for one element.
        operation_loss: seconds that NumPy loses for one operation.
        host_worth: seconds that making a program may be worth: what compiling it takes, over the
            times that a search runs it.
    """

    fast_loss: float = 20e-9
    full_seconds: float = 0.5
    host_loss: float = 2e-9
    operation_loss: float = 3e-6
    host_worth: float = 0.3


PROGRAMS = tuned("programs", Programs())


# Programs to keep, each with some 50 to 150 mappings.
_CACHE_SIZE = 256
_cache: "collections.OrderedDict[Hashable, _Forms]" = collections.OrderedDict()
_lock = threading.RLock()


# Of a thread: who runs its programs, if they are not simply run (see `_together`).
_here = threading.local()


class Compiled(NamedTuple):
    """A program ready to call, and what making it took (zero if it was there)."""

    call: Any
    programs: int
    seconds: float


def interprets() -> bool:
    """Whether small programs are interpreted here: on CPU, unless TNJAX_INTERPRET is 0."""
    return jax.default_backend() == "cpu" and os.environ.get("TNJAX_INTERPRET", "1") != "0"


class Ran(NamedTuple):
    """What a program gave, and what making it took (zero if it was there)."""

    value: Any
    programs: int
    seconds: float


def run(
    function: Callable,
    static: tuple,
    args: tuple,
    *,
    work: int,
    passes: int | None = 1,
    partial: bool = False,
) -> Ran:
    """`function(*static, *args)`, by a program for these shapes in the tier that pays.

    In a thread that has handed over its calls (`handed_to`), the runner makes the call.

    Args:
        function, static, args: see `compiled`.
        work: elements that its elementwise loops touch in all its runs: decides on the tier.
        passes: how often its main loop is forecast to run; None: it is compiled in any case.
        partial: whether a result is of use whose loops were left before they were done.

    Raises:
        Stopped: as `_interrupt.checkpoint`, before the program, and after it unless `partial`.
    """
    _interrupt.checkpoint()
    runner = getattr(_here, "runner", None)
    if runner is not None:
        ran = runner(function, static, args, work)
    else:
        program = compiled(
            function, static, args, tier=choose_tier(work), passes=_if_small(work, passes)
        )
        ran = Ran(program.call(*args), program.programs, program.seconds)
    if not partial:
        _interrupt.checkpoint()
    return ran


def _if_small(work: int, passes: int | None) -> int | None:
    """The passes of a program that NumPy may run; None for others."""
    return passes if work * PROGRAMS().host_loss < PROGRAMS().host_worth else None


def interpreted(
    function: Callable, static: tuple, args: tuple, *, work: int, passes: int
) -> Compiled | None:
    """The program, if `run` would let NumPy run it; `run` then finds it made."""
    small = _if_small(work, passes)
    if getattr(_here, "runner", None) is not None or small is None:
        return None
    made = compiled(function, static, args, tier=choose_tier(work), passes=small, or_none=True)
    return None if made.call is None else made


@contextlib.contextmanager
def handed_to(runner: Callable[[Callable, tuple, tuple, int], Ran]) -> Iterator[None]:
    """What this thread asks `run` for is asked of `runner` inside."""
    _here.runner = runner
    try:
        yield
    finally:
        del _here.runner


def choose_tier(elements: int) -> str:
    """The compiler's tier for a program; `work` counts the elements that its elementwise loops
    touch in all its runs."""
    lost = elements * PROGRAMS().fast_loss
    return "fast" if lost < PROGRAMS().full_seconds else "full"


@functools.cache
def _options(backend: str, tier: str) -> dict[str, Any]:
    """Those compiler options of a tier that the running jaxlib knows."""
    if backend != "cpu":
        return {}
    wanted = _FAST if tier == "fast" else _FULL
    if _knows(wanted):
        return wanted
    return {name: value for name, value in wanted.items() if _knows({name: value})}


def _knows(options: dict[str, Any]) -> bool:
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(1.0).compile()
    except Exception:  # XLA's type for an unknown option is private
        return False
    return True


def compiled(
    function: Callable,
    static: tuple,
    args: tuple,
    *,
    tier: str = "full",
    passes: int | None = None,
    or_none: bool = False,
) -> Compiled:
    """The program of `function(*static, *args)` for these shapes.

    Args:
        function: pure; a module-level function, since it is a part of the cache key.
        static: hashable leading arguments.
        args: pytrees of arrays; only shapes, dtypes and where they lie matter here. If one of them
            is on a mesh of devices, the program runs on all of it, and all devices get its results.
        tier: "fast" or "full", if it is compiled.
        passes: if given, it may be interpreted instead: how often its main loop is forecast to run.
        or_none: make nothing that is not interpreted: `call` is None then.

    Returns:
        `call`, which takes arguments like `args`; and the account.
    """
    if jax.config.jax_disable_jit:  # type: ignore  # step by step, as all else
        return Compiled(None if or_none else _by_itself(function, static), 0, 0.0)
    leaves, treedef = jax.tree.flatten(args)
    avals = tuple(jax.typeof(leaf) for leaf in leaves)
    mesh = _mesh.of(args)
    layout = None if mesh is None else _mesh.shardings(args, mesh)
    if mesh is not None or not interprets():
        passes = None
    if or_none and passes is None:
        return Compiled(None, 0, 0.0)
    key = (
        function,
        static,
        treedef,
        avals,
        None if mesh is None else (mesh, *jax.tree.leaves(layout)),
        jax.default_backend(),
        jax.config.read("jax_enable_x64"),
        traced_overrides(),
    )
    _cleared_with_jax()
    with _lock:
        forms = _cache.setdefault(key, _Forms())
        _cache.move_to_end(key)
        while len(_cache) > _CACHE_SIZE:
            _cache.popitem(last=False)
    if or_none and forms.operations is not None:
        return Compiled(forms.host if forms.interprets(passes) else None, 0, 0.0)
    call = forms.made(tier, passes)
    if call is not None and not or_none:
        return Compiled(call, 0, 0.0)
    begin = time.perf_counter()
    with _collector.at_rest:
        call = _made(
            forms, functools.partial(function, *static), args, mesh, layout, tier, passes, or_none
        )
    return Compiled(call, 1, time.perf_counter() - begin)


def _by_itself(function: Callable, static: tuple) -> Callable:
    """The function as it is, which sees arrays of JAX as in a program."""
    array = lambda x: x if isinstance(x, jax.Array) else jnp.asarray(x)
    return lambda *args: function(*static, *jax.tree.map(array, args))


class _Forms:
    """What was made of one function for one set of shapes: at most one form for NumPy and one for
    each of the compiler's tiers, whatever the forecasts that they were chosen by.

    Attributes:
        host: calls it by NumPy; None where that is not known yet, or not possible.
        operations: how many of NumPy's that takes, by the passes of its main loop.
        compiled: by tier.
    """

    def __init__(self) -> None:
        self.host: Callable | None = None
        self.operations: Callable[[int], float] | None = None
        self.compiled: dict[str, Callable] = {}

    def made(self, tier: str, passes: int | None) -> Callable | None:
        """The form for a forecast, if it is there."""
        if passes is not None and self.operations is None:
            return None
        return self.host if self.interprets(passes) else self.compiled.get(tier)

    def interprets(self, passes: int | None) -> bool:
        """Whether NumPy's operations are so few that compiling does not pay."""
        if passes is None or self.operations is None:
            return False
        return self.operations(passes) * PROGRAMS().operation_loss <= PROGRAMS().host_worth


def _made(
    forms: _Forms,
    program: Callable,
    args: tuple,
    mesh: Mesh | None,
    layout: Any,
    tier: str,
    passes: int | None,
    or_none: bool = False,
) -> Callable | None:
    """The form for a forecast, made and kept; None if that is not NumPy's and `or_none`."""
    options = _options(jax.default_backend(), tier)
    if mesh is not None:
        on_mesh = _lowered(program, args, mesh, layout, options).compile()
        call = lambda *args: on_mesh(*_mesh.brought(args, mesh))
        return forms.compiled.setdefault(tier, call)
    traced = jax.jit(program, compiler_options=options).trace(*args)
    if passes is not None and forms.operations is None:
        # If it is compiled after all, it is made anew: what was traced is not kept for that.
        make = functools.partial(_compiled_anew, forms, program, tier)
        forms.host = host = _interpret.interpreted(traced, make)
        forms.operations = _endless if host is None else functools.cache(host.operations)
    if or_none:
        return forms.host if forms.interprets(passes) else None
    found = forms.made(tier, passes)
    if found is not None:
        return found
    return forms.compiled.setdefault(tier, _compiling.finished(traced.lower().compile))


def _compiled_anew(forms: _Forms, program: Callable, tier: str, args: tuple) -> Callable:
    """The compiled form, traced again."""
    call = _made(forms, program, args, None, None, tier, None)
    assert call is not None
    return call


def _endless(passes: int) -> float:
    """Operations of what NumPy does not run."""
    return math.inf


def _lowered(program: Callable, args: tuple, mesh: Mesh, layout: Any, options: dict):
    """A program of the whole mesh, whose results every device gets."""
    jitted = jax.jit(
        program,
        in_shardings=layout,
        out_shardings=NamedSharding(mesh, PartitionSpec()),
        compiler_options=options,
    )
    return jitted.lower(*_mesh.brought(args, mesh))


def clear_cache() -> None:
    """Forget all compiled programs of this process; `jax.clear_caches()` does so as well."""
    with _lock:
        _cache.clear()


class _Kept:
    """Kept alive by nothing but JAX's caches."""


_kept: Callable[[], _Kept | None] = lambda: None


def _cleared_with_jax() -> None:
    """See to it that `jax.clear_caches()` forgets these programs as well. JAX tells nobody of it,
    but it lets go of what it has traced functions for."""
    global _kept
    if _kept() is not None:
        return
    token = _Kept()
    _kept = weakref.ref(token)
    weakref.finalize(token, clear_cache).atexit = False
    jax.jit(_nothing, static_argnums=0).trace(token)


def _nothing(token: _Kept) -> Any:
    return ()
