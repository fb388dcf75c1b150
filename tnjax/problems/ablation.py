"""Predictions of many rows on the host, and what a model loses without a column."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._tuned import tuned
from ..contract.equation import batch_label, node_labels
from ._losses import on_host
from ._supervised_model import SupervisedModel


@dataclasses.dataclass(frozen=True)
class HostRows:
    """Predictions on the host.

    Attributes:
        rows_at_once: rows that are predicted together: what they need fits into the cache.
    """

    rows_at_once: int = 1024


HOST_ROWS = tuned("host_rows", HostRows())


def host_link(model: SupervisedModel, table: Mapping[str, Any]) -> np.ndarray:
    """`model.link` of a table by NumPy in double precision: a row gets the same number, whichever
    rows are with it, and nothing is compiled for each number of rows."""
    assert model.columns is not None
    return _link(model, model.columns(table))


def probabilities(link: np.ndarray) -> np.ndarray:
    """Of classes, [rows, classes], by their log odds: of the second of two [rows], or of all
    [rows, classes]."""
    if link.ndim == 1:
        link = np.stack([np.zeros_like(link), link], 1)
    odds = np.exp(link - link.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def ablation(
    model: SupervisedModel, table: Mapping[str, Any], targets: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
    """By how much the loss of some rows rises where a column is taken out, its features replaced by
    their average; at least 0.

    Args:
        model: of a table.
        table: columns by name.
        targets: of its rows, as `Supervised` takes them.
        weights: of its rows.

    Returns:
        by the columns that the model looks at.
    """
    assert model.columns is not None
    features = list(model.columns(table))
    links = [_link(model, features)]
    for k, own in enumerate(features):
        average = np.average(own, axis=0, weights=weights)
        without = [*features[:k], np.broadcast_to(average, own.shape), *features[k + 1 :]]
        links.append(_link(model, without))
    known = np.asarray(targets, np.float64)
    shares = weights / weights.sum()
    loss = lambda link: on_host(model.loss_function.value, link, known).reshape(len(link), -1)
    risks = np.asarray([shares @ loss(link).sum(1) for link in links], np.float64)
    rises = np.maximum(risks[1:] - risks[0], 0.0).tolist()
    return dict(zip(model.columns.names, rises, strict=True))


def _link(model: SupervisedModel, arrays: Sequence[np.ndarray]) -> np.ndarray:
    import opt_einsum

    structure = model.network.structure
    features = dict(zip((block[0] for block in model.blocks), arrays, strict=True))
    sample = batch_label(structure)
    outputs = [mode for mode in range(len(structure.dims)) if mode not in features]
    rows, most = len(arrays[0]), HOST_ROWS().rows_at_once
    found = []
    for start in range(0, rows, most):
        operands: list[Any] = []
        for node, core in enumerate(model.network.cores):
            operands += [np.asarray(core, np.float64), node_labels(structure, node)]
        for mode, part in features.items():
            operands += [part[start : start + most], (sample, mode)]
        found.append(opt_einsum.contract(*operands, (sample, *outputs), optimize="greedy"))
    return np.concatenate(found) + model.offset
