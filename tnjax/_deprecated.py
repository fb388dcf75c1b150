"""Keywords of version 0.1 that are fields of a value now, or keys: taken once more, with a warning.

Whoever finds one of these decorators on a function can remove it, and nothing else, after
version 0.2.
"""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")
# By the name of the value that they are in now: the old keywords, and their new names.
Tables = Mapping[str, Mapping[str, str]]
Old = dict[str, dict[str, Any]]


def with_old_keywords(
    tables: Tables,
    translated: Callable[[Old, tuple, dict], dict[str, Any]],
    where: str,
    *,
    seed: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that takes old keywords, with one warning that names all of them.

    Args:
        tables: for each value, the keywords that are fields of it now, with the fields' names.
        translated: from the fields of each value, and the other arguments of the call, to the
            arguments of today.
        where: how the values are passed, a sentence.
        seed: whether an integer `seed` is an old keyword as well, a key now.
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> R:
            old: Old = {}
            words = []
            for owner, table in tables.items():
                old[owner] = {new: given.pop(name) for name, new in table.items() if name in given}
                new = ", ".join(f"{name}=..." for name in old[owner])
                words += [f"{owner}({new})"] if new else []
            if seed and "seed" in given:
                given["key"] = jax.random.key(given.pop("seed"))  # pyright: ignore
                words.append("key=jax.random.key(seed)")
            if words:
                warnings.warn(
                    f"{function.__name__}: options lie in values now; write {', '.join(words)}. "
                    f"{where}",
                    DeprecationWarning,
                    stacklevel=2,
                )
                given.update(translated(old, args, given))  # pyright: ignore
            return function(*args, **given)

        return call

    return decorated


def key_for_seed(function: Callable[P, R]) -> Callable[P, R]:
    """Takes the integer `seed` of version 0.1 as `key=jax.random.key(seed)`, with a warning; of
    several integers the others are folded in."""
    name = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        if "seed" in given:
            seed: Any = given.pop("seed")
            first, *others = seed if isinstance(seed, Sequence) else [seed]
            warnings.warn(
                f"{name}: seed={seed!r} is now key=jax.random.key({first!r}).",
                DeprecationWarning,
                stacklevel=2,
            )
            key = functools.reduce(jax.random.fold_in, others, jax.random.key(first))
            given["key"] = key  # pyright: ignore
        return function(*args, **given)

    return call
