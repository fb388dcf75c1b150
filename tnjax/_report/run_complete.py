"""The run folder of a completion: errors by set, and the completed image."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from .._network import TensorNetwork
from .._search.result import SearchResult
from ..io import Mode, Reshape, TensorData
from ..problems import Completion, StreamedCompletion
from ..problems.coordinates import Entries
from .run import Run, image_png
from .sections import Pictures, Section, Table
from .slices import entry_sums, slice_table

_CHUNK = 2**18


@dataclasses.dataclass(frozen=True)
class Observed:
    """Entries in the modes of the network, and where they come from.

    Attributes:
        dims: sizes of the modes of the network.
        training: entries to learn from, what is held out for validation among them.
        test: entries to be looked at only at the end, if there are any.
        modes: the user's labels, if there are some.
        data, mask, plan: of dense input: what was read, which entries of it are seen [its shape],
            and how it was reshaped.
        about: a line on what was read, for people; "" if there is nothing to say.
        held: what is held out for validation, in words; "" for nothing.
    """

    dims: tuple[int, ...]
    training: Entries
    test: Entries | None
    modes: tuple[Mode, ...] | None = None
    data: TensorData | None = None
    mask: np.ndarray | None = None
    plan: Reshape | None = None
    about: str = ""
    held: str = ""

    @property
    def source_shape(self) -> tuple[int, ...]:
        return self.dims if self.plan is None else self.plan.source

    @property
    def is_image(self) -> bool:
        return self.data is not None and self.data.is_image

    @property
    def rate(self) -> float | None:
        """Frames in a second, of a video."""
        return None if self.data is None else self.data.rate

    def describe(self) -> str:
        """One line for people."""
        if self.plan is not None:
            return self.plan.describe()
        return "x".join(map(str, self.dims))

    def placed(self, indices: np.ndarray) -> np.ndarray:
        """Entries of the source as indices of the network.

        Raises:
            ValueError: if some of them were cropped.
        """
        if self.plan is None:
            return indices
        if (indices >= np.asarray(self.plan.kept)).any():
            raise ValueError("some of the requested entries were cropped from the tensor.")
        return unraveled(places(self.plan)[tuple(indices.T)], self.dims)

    def filled(self, dense: np.ndarray) -> np.ndarray:
        """The observed entries of the source, with predictions where there are none."""
        assert self.data is not None
        assert self.mask is not None
        assert self.plan is not None
        cut = self.plan.cut
        return np.where(cut(self.mask), cut(self.data.array), dense)


def completion_run(
    name: str,
    observed: Observed,
    problem: Completion,
    result: SearchResult,
    dense: np.ndarray | None,
    settings: Mapping[str, Any],
    refitted: TensorNetwork | None = None,
) -> Run:
    """The run of a completion.

    Args:
        name: of the input.
        observed: its entries.
        problem: that was solved.
        result: of the search.
        dense: of dense input: what is predicted for all its entries (without cropped ones).
        settings: the options of the run.
        refitted: the network that is written and predicts, where that is another one.
    """
    tensor: dict[str, Any] = {"input": name, "dims": list(observed.dims)}
    if observed.plan is not None:
        tensor["source_shape"] = list(observed.plan.source)
        tensor["padded_shape"] = list(observed.plan.padded)
        tensor["splits"] = [list(split) for split in observed.plan.splits]
    if observed.plan is not None and observed.data is not None:
        names = observed.plan.names(observed.data.axes)
        if names is not None:
            tensor["modes"] = list(names)
    elif observed.modes is not None:
        tensor["modes"] = [mode.name for mode in observed.modes]
    sections: list[Section] = []
    if observed.data is not None and observed.data.is_picture and dense is not None:
        sections.append(_pictures(observed, dense))
    guesses = _guesses(observed, problem, result.network, refitted or result.network)
    errors = {key: _error(part.guess, part.values) for key, part in guesses.items()}
    if not observed.is_image:
        sections.append(_slices(observed, guesses))
    if refitted is not None:
        result = dataclasses.replace(result, network=refitted)
    cells = math.prod(observed.dims)
    facts = {
        "tensor": observed.describe(),
        "observed entries": _share(len(observed.training.values), cells),
    }
    if observed.held:
        facts["held out"] = observed.held
    return _run(name, result, settings, tensor, facts, errors, sections)


def streamed_completion_run(
    name: str, problem: StreamedCompletion, result: SearchResult, settings: Mapping[str, Any]
) -> Run:
    """The run of a completion whose entries stay on disk; they are read for the errors."""
    errors = {
        part: {
            "entries": found.entries,
            "error": found.error,
            "rmse": found.missed / found.entries**0.5,
        }
        for part, found in problem.errors(result.network).items()
    }
    facts = {
        "tensor": "x".join(map(str, problem.shape)),
        "observed entries": _share(problem.source.count, math.prod(problem.shape)),
        "searched on": f"{problem.sample.training.count:,} of them, for training",
    }
    tensor = {"input": name, "dims": list(problem.shape)}
    return _run(name, result, settings, tensor, facts, errors, [])


def _share(seen: int, cells: int) -> str:
    return f"{seen:,} of {cells:,} ({100 * seen / cells:.3g} %)"


def _run(
    name: str,
    result: SearchResult,
    settings: Mapping[str, Any],
    tensor: dict[str, Any],
    facts: dict[str, Any],
    errors: Mapping[str, Mapping[str, Any]],
    more: Sequence[Section],
) -> Run:
    details = {
        **facts,
        "loss": settings.get("loss"),
        "offsets": settings.get("offsets"),
        "precision": str(result.network.dtype),
        "seed": settings.get("seed"),
    }
    rows = [(key, row["entries"], row["error"], row["rmse"]) for key, row in errors.items()]
    sections: list[Section] = [
        Table(
            "Errors",
            ("entries", "number", "relative error", "root mean square"),
            rows,
            "Relative: the norm of the differences over the norm of the values, not squared. "
            "Validation entries chose the moves; test entries were looked at only here.",
        ),
        *more,
    ]
    return Run(f"tnjax: {name}", result, settings, tensor, details, sections, {"errors": errors})


def places(plan: Reshape) -> np.ndarray:
    """Where each entry of the source is among the entries of the reshaped tensor."""
    return plan.undo(np.arange(math.prod(plan.dims)).reshape(plan.dims))


def unraveled(flat: np.ndarray, dims: Sequence[int]) -> np.ndarray:
    """Numbers of entries in row-major order as indices [entries, modes]."""
    return np.stack(np.unravel_index(flat, tuple(dims)), axis=-1)


def completed_tensor(problem: Completion, network: TensorNetwork) -> np.ndarray:
    """What is expected of every entry, offsets and link included; a dense tensor."""
    link = network.to_dense()
    if problem.offsets is not None:
        link = link + float(problem.offsets.mean)
        for mode, bias in enumerate(problem.offsets.biases):
            shape = [-1 if k == mode else 1 for k in range(link.ndim)]
            link = link + jnp.asarray(bias, link.dtype).reshape(shape)
    return np.asarray(problem.loss_function.mean(link))


def predicted(problem: Completion, network: TensorNetwork, indices: np.ndarray) -> np.ndarray:
    """What is expected of some entries, a piece at a time."""
    starts = range(0, len(indices), _CHUNK)
    parts = [problem.predict(network, indices[k : k + _CHUNK]) for k in starts]
    return np.concatenate([np.asarray(part) for part in parts])


class _Guesses(NamedTuple):
    """Entries [entries, modes], what is predicted there [entries], and what was observed."""

    indices: np.ndarray
    guess: np.ndarray
    values: np.ndarray


def _guesses(
    observed: Observed, problem: Completion, network: TensorNetwork, final: TensorNetwork
) -> dict[str, _Guesses]:
    """Of the network that the search chose; on the test entries, of the one that predicts."""
    sets = {"training": problem.training, "validation": problem.held_out}
    found = {}
    for key, samples in sets.items():
        if samples is not None:
            indices = np.asarray(samples.indices)
            values = np.asarray(samples.values) * problem.scale
            found[key] = _Guesses(indices, predicted(problem, network, indices), values)
    if observed.test is not None:
        indices, values = observed.test.indices, observed.test.values
        found["test"] = _Guesses(indices, predicted(problem, final, indices), values)
    return found


def _slices(observed: Observed, guesses: Mapping[str, _Guesses]) -> Table:
    """The errors along the modes of the network, which have names unless they were reshaped."""
    plain = observed.dims == observed.source_shape
    sums = {f"{key} error": entry_sums(*part, observed.dims) for key, part in guesses.items()}
    return slice_table(sums, observed.modes if plain else None)


def _error(guess: np.ndarray, values: np.ndarray) -> dict[str, float | int | None]:
    """Of predictions against the values there; no relative one where all are zero."""
    norm = float(np.linalg.norm(values))
    size = float(np.linalg.norm(guess - values))
    return {
        "entries": len(values),
        "error": size / norm if norm else None,
        "rmse": size / len(values) ** 0.5,
    }


def _pictures(observed: Observed, dense: np.ndarray) -> Pictures:
    assert observed.data is not None
    assert observed.mask is not None
    assert observed.plan is not None
    cut = observed.plan.cut
    original = cut(observed.data.array).astype(np.float64)
    pictures = {
        "Observed": np.where(cut(observed.mask), original, 0),
        "Completed": observed.filled(dense),
        "Reconstruction": dense,
        "Original": original,
    }
    note = "Completed: what was observed, and predictions elsewhere. Reconstruction: predictions."
    if not observed.is_image:
        middle = len(original) // 2
        pictures = {caption: frames[middle] for caption, frames in pictures.items()}
        note = f"{'Frame' if observed.rate else 'Page'} {middle + 1} of {len(original)}. {note}"
    png = {caption: image_png(image, observed.data.white) for caption, image in pictures.items()}
    return Pictures("Images", png, note)
