"""Several searches on one device: calls of one program that they need at the same time become one.

Every search runs in a thread of its own, but only one of them at a time: each goes on until it
needs a program, or ends. When all searches that are left wait, the calls of one program with
arguments of the same shapes are stacked along a new leading axis and run together under `vmap`;
then their searches go on. A search whose shapes differ from the others' goes alone. Which calls
meet depends on the searches alone and never on time, so that the same searches give the same bits.
"""

import collections
import contextvars
import dataclasses
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import _compile, _interrupt, _mesh
from ._tuned import tuned


@dataclasses.dataclass(frozen=True)
class Rounds:
    """Searches that share batched calls.

    Attributes:
        patience: rounds that a call waits at most while larger groups go first.
        batch_bytes: bytes that a batch may need if no limit is given.
        large: bytes from which on an array belongs to the data: such arrays are compared once, and
            stacked once.
    """

    patience: int = 8
    batch_bytes: int = 2 * 1024**3
    large: int = 2**16


ROUNDS = tuned("together", Rounds())


class Meetings(NamedTuple):
    """What came of running searches together.

    Attributes:
        results: of the tasks, in their order.
        calls: of programs that the tasks asked for.
        batches: calls under `vmap` that answered several of them.
        batched: calls that were answered so.
        programs: that were compiled.

    Example:
        >>> from tnjax.sweep import together
        >>> together([lambda: 1, lambda: 2]).results
        (1, 2)
    """

    results: tuple[Any, ...]
    calls: int
    batches: int
    batched: int
    programs: int


def together(tasks: Sequence[Callable[[], Any]], *, max_bytes: int | None = None) -> Meetings:
    """Run tasks, such as searches with other seeds, whose equal programs share one batched call.

    Each does what it does alone, except for rounding. Its times contain waiting for the others.

    Args:
        tasks: functions without arguments. They take turns, so that they need not be safe to run
            in several threads at once; but they must not wait for each other.
        max_bytes: that a batch may need; 2 GiB by default. A larger one is split up.

    Returns:
        their results, and an account.

    Raises:
        BaseException: what a task raises, the first one's if there are several, after all have
            ended.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Decomposition, search
        >>> from tnjax.sweep import together
        >>> problem = Decomposition(np.random.default_rng(0).standard_normal((3, 4, 5)))
        >>> one = lambda seed: search(problem, key=jax.random.key(seed), max_steps=2)
        >>> met = together([lambda: one(0), lambda: one(1)])
        >>> len(met.results), met.batches > 0
        (2, True)
    """
    return _Table(tasks, ROUNDS().batch_bytes if max_bytes is None else max_bytes).serve()


class _Call(NamedTuple):
    """What a search waits for."""

    function: Callable
    static: tuple
    leaves: tuple[Any, ...]
    treedef: Any
    work: int
    key: Any


class _Ended(BaseException):
    """The others will not come any more."""


class _Guest:
    """A task in its thread."""

    def __init__(self, task: Callable[[], Any], table: "_Table"):
        self.result: Any = None
        self.error: BaseException | None = None
        self.call: _Call | None = None
        self.answer: Any = None
        self.done, self.calls, self.waited = False, 0, 0
        self.go = threading.Semaphore(0)
        self._task, self._table = task, table
        context = contextvars.copy_context()  # who may stop it
        self.thread = threading.Thread(target=context.run, args=(self._live,), daemon=True)

    def _live(self) -> None:
        self.go.acquire()
        try:
            with _compile.handed_to(self._ask):
                if not self._table.closed:
                    self.result = self._task()
        except _Ended:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.done = True
            self._table.back.release()

    def _ask(self, function: Callable, static: tuple, args: tuple, work: int) -> _compile.Ran:
        """Wait for the answer to a call. (`_compile.run` hands calls of this thread over to it.)"""
        if self._table.closed:
            raise _Ended
        leaves, treedef = jax.tree.flatten(args)
        if _mesh.of(args) is not None:
            raise ValueError("together: tasks on a mesh of devices cannot share one device.")
        kinds = tuple(
            leaf if isinstance(leaf, bool | int | float | complex) else jax.typeof(leaf)
            for leaf in leaves
        )
        key = (function, static, treedef, kinds, work)
        self.call = _Call(function, static, tuple(leaves), treedef, work, key)
        self.calls, self.waited = self.calls + 1, 0
        self._table.back.release()
        self.go.acquire()
        self.call, answer, self.answer = None, self.answer, None
        if isinstance(answer, BaseException):
            raise answer
        return answer


class _Table:
    """Where calls meet."""

    def __init__(self, tasks: Sequence[Callable[[], Any]], max_bytes: int):
        self.back, self.closed = threading.Semaphore(0), False
        self._guests = [_Guest(task, self) for task in tasks]
        self._max_bytes = max_bytes
        self._stacks = _Stacks(max_bytes // 2)
        self._batches = self._batched = self._programs = 0

    def serve(self) -> Meetings:
        """Until all tasks have ended."""
        for guest in self._guests:
            guest.thread.start()
        try:
            ready = self._guests
            while ready:
                for guest in ready:
                    self._turn(guest)
                waiting = [guest for guest in self._guests if not guest.done]
                ready = self._next(waiting) if waiting else []
                if ready:
                    self._answer(ready)
        finally:
            self._close()
        for guest in self._guests:
            if guest.error is not None:
                raise guest.error
        return Meetings(
            tuple(guest.result for guest in self._guests),
            sum(guest.calls for guest in self._guests),
            self._batches,
            self._batched,
            self._programs,
        )

    def _turn(self, guest: _Guest) -> None:
        """Let a task go on until it waits or has ended."""
        guest.go.release()
        self.back.acquire()

    def _close(self) -> None:
        """Interrupted: let what is left end at its next call."""
        self.closed = True
        for guest in self._guests:
            if not guest.done:
                guest.answer = _Ended()
                guest.go.release()

    @staticmethod
    def _next(waiting: Sequence[_Guest]) -> list[_Guest]:
        """The largest group of calls of one program; among equal ones the group that is furthest
        behind. No call waits forever."""
        groups: dict[Any, list[_Guest]] = {}
        for guest in waiting:
            assert guest.call is not None
            groups.setdefault(guest.call.key, []).append(guest)
        urgent = lambda group: max(guest.waited for guest in group) >= ROUNDS().patience
        behind = lambda group: min(guest.calls for guest in group)
        best = min(groups.values(), key=lambda g: (not urgent(g), -len(g), behind(g)))
        for guest in waiting:
            guest.waited += 1
        return best

    def _answer(self, group: Sequence[_Guest]) -> None:
        """One call for all of a group, or, where memory does not allow that, several."""
        left = list(group)
        while left:
            size = len(left)
            try:
                answers = self._run([guest.call for guest in left if guest.call is not None])
            except (Exception, _interrupt.Stopped) as error:
                answers = [error] * size
            for guest, answer in zip(left, answers):
                guest.answer = answer
            left = left[len(answers) :]

    def _run(self, calls: Sequence[_Call]) -> list[_compile.Ran]:
        """The answers to the first of some equal calls, to as many as a batch may hold."""
        first = calls[0]
        shared = [self._stacks.same(parts) for parts in zip(*(call.leaves for call in calls))]
        tier = _compile.choose_tier(first.work)
        if all(shared):  # of one call, and of calls that do not differ
            args = jax.tree.unflatten(first.treedef, first.leaves)
            program = _compile.compiled(first.function, first.static, args, tier=tier)
            self._count(program, len(calls))
            value = program.call(*args)
            return _shared_out([value] * len(calls), program)
        lanes = batch_size(len(calls), len(self._guests), first.work)
        while True:
            rows = [*range(len(calls)), *[0] * (lanes - len(calls))][:lanes]
            leaves = tuple(
                parts[0] if same else self._stacks.stacked([parts[row] for row in rows])
                for same, parts in zip(shared, zip(*(call.leaves for call in calls)))
            )
            static = (first.function, first.static, first.treedef, tuple(shared))
            tier = _compile.choose_tier(first.work * lanes)
            program = _compile.compiled(_lanes, static, leaves, tier=tier)
            if lanes <= 2 or _needed(program.call) <= self._max_bytes:
                break
            lanes = -(-lanes // 2)
        count = min(lanes, len(calls))
        self._count(program, count)
        value = _on_host(program.call(*leaves))
        lane = lambda n: jax.tree.map(lambda x: _row(x, n), value)
        return _shared_out([lane(n) for n in range(count)], program)

    def _count(self, program: _compile.Compiled, calls: int) -> None:
        self._programs += program.programs
        if calls > 1:
            self._batches, self._batched = self._batches + 1, self._batched + calls


def batch_size(calls: int, guests: int, work: int) -> int:
    """Lanes for some calls: of a few sizes, so that few programs are compiled, and of one size
    where compiling costs more than running.

    Example:
        >>> [batch_size(calls, 8, 10**9) for calls in (2, 3, 5, 8)], batch_size(2, 8, 1)
        ([2, 4, 8, 8], 8)
    """
    lanes = guests
    if _compile.choose_tier(work * guests) == "fast":
        return lanes
    while -(-lanes // 2) >= max(calls, 2):
        if lanes == 2:
            break
        lanes = -(-lanes // 2)
    return lanes


def _lanes(function: Callable, static: tuple, treedef: Any, shared: tuple[bool, ...], *leaves):
    """The program of a batch; what all lanes share has no leading axis."""
    one = lambda *leaves: function(*static, *jax.tree.unflatten(treedef, leaves))
    return jax.vmap(one, [None if same else 0 for same in shared])(*leaves)


def _needed(call: Any) -> int:
    """Bytes that a program has alive, by XLA's own account; 0 where it gives none."""
    memory = call.memory_analysis()
    if memory is None:
        return 0
    parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return sum(getattr(memory, part) for part in parts)


def _shared_out(values: Sequence[Any], program: _compile.Compiled) -> list[_compile.Ran]:
    """All have waited for the program, which is counted once."""
    counts = [program.programs] + [0] * (len(values) - 1)
    return [_compile.Ran(v, n, program.seconds) for v, n in zip(values, counts, strict=True)]


def _extended(x: Any) -> bool:
    """Whether it is an array that only JAX knows, such as one of keys."""
    return jnp.issubdtype(x.dtype, jax.dtypes.extended)


def _on_host(tree: Any) -> Any:
    return jax.tree.map(lambda x: x if _extended(x) else np.asarray(x), tree)


def _row(x: Any, n: int) -> Any:
    return x[n] if _extended(x) else np.asarray(x[n])


class _Stacks:
    """Arguments of several calls as those of one. The data of searches come again and again: they
    are compared, and stacked, once."""

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._same: dict[tuple[int, int], tuple[Any, Any, bool]] = {}
        self._kept: collections.OrderedDict[tuple[int, ...], tuple[list[Any], Any]]
        self._kept = collections.OrderedDict()

    def same(self, parts: Sequence[Any]) -> bool:
        """Whether all lanes have the same values."""
        first = parts[0]
        return all(part is first or self._equal(first, part) for part in parts[1:])

    def _equal(self, a: Any, b: Any) -> bool:
        if isinstance(a, bool | int | float | complex):
            return True  # as their types, a part of what makes calls equal
        if _extended(a):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        if a.nbytes < ROUNDS().large:
            return bool(np.array_equal(a, b))
        key = (id(a), id(b))
        known = self._same.get(key)
        if known is None or known[0]() is not a or known[1]() is not b:
            equal = bool(np.array_equal(a, b))
            self._same = {k: v for k, v in self._same.items() if v[0]() is not None}
            known = self._same[key] = (weakref.ref(a), weakref.ref(b), equal)
        return known[2]

    def stacked(self, parts: Sequence[Any]) -> Any:
        """A new leading axis."""
        if _extended(parts[0]):
            return jnp.stack(parts)
        if parts[0].nbytes < ROUNDS().large:
            return np.stack([np.asarray(part) for part in parts])
        key = tuple(map(id, parts))
        refs, found = self._kept.pop(key, ([], None))
        if found is None or any(ref() is not part for ref, part in zip(refs, parts, strict=True)):
            found = jnp.asarray(np.stack([np.asarray(part) for part in parts]))
            refs = [weakref.ref(part) for part in parts]
        self._kept[key] = refs, found
        alive = {k: v for k, v in self._kept.items() if all(ref() is not None for ref in v[0])}
        self._kept = collections.OrderedDict(alive)
        while sum(stack.nbytes for _, stack in self._kept.values()) > self._max_bytes:
            self._kept.popitem(last=False)
        return found
