"""Models as bytes: safetensors with a page of JSON, and nothing that is executed when read."""

import dataclasses
import json
from typing import Any

import numpy as np

from .._network import TensorNetwork
from .._structure import Structure
from ..features import Codebook, Columns
from ._density_model import DensityModel
from ._losses import Bernoulli, Huber, Loss, Poisson, Softmax, Squared
from ._supervised_model import SupervisedModel
from ._table_density import TableDensity

Model = SupervisedModel | TableDensity

_LOSSES: dict[str, type[Loss]] = {
    "bernoulli": Bernoulli,
    "huber": Huber,
    "poisson": Poisson,
    "softmax": Softmax,
    "squared": Squared,
}


def model_to_bytes(model: Model) -> bytes:
    """A model of a table, for a file.

    Args:
        model: a `SupervisedModel` with a named loss, or a `TableDensity`.

    Returns:
        the content of a safetensors file.

    Raises:
        ValueError: for a loss that is a function of one's own.

    Example:
        >>> import numpy as np
        >>> from tnjax import DensityModel, Structure, TensorNetwork
        >>> from tnjax.features import Codebook
        >>> from tnjax.problems import TableDensity, model_from_bytes, model_to_bytes
        >>> codes = Codebook.fit({"coin": np.asarray(["head", "tail"])})
        >>> network = TensorNetwork(Structure.rank_one((2,)), [np.asarray([1.0, 3.0])])
        >>> model = TableDensity(DensityModel(network, "nonnegative"), codes)
        >>> again = model_from_bytes(model_to_bytes(model))
        >>> np.exp(again.log_prob({"coin": np.asarray(["tail"])})).round(6).tolist()
        [0.75]
    """
    from safetensors.numpy import save

    network = model.network if isinstance(model, SupervisedModel) else model.model.network
    arrays = {f"core{k}": np.array(core, order="C") for k, core in enumerate(network.cores)}
    page: dict[str, Any] = {"structure": network.structure.to_json()}
    if isinstance(model, TableDensity):
        given = [list(pair) for pair in model.model.given]
        page |= {"kind": model.model.kind, "given": given, "codes": model.codes.to_json()}
        return save(arrays, {"model": json.dumps(page)})
    words = {kind: word for word, kind in _LOSSES.items()}
    loss = model.loss_function
    if type(loss) not in words:
        raise ValueError(
            "A model whose loss is a function of your own cannot be stored; use a named loss."
        )
    page |= {
        "loss": {"kind": words[type(loss)], **dataclasses.asdict(loss)},  # type: ignore[call-overload]
        "blocks": model.blocks,
        "columns": None if model.columns is None else model.columns.to_json(),
    }
    arrays["offset"] = np.array(model.offset, order="C")
    return save(arrays, {"model": json.dumps(page)})


def model_from_bytes(data: bytes) -> Model:
    """What `model_to_bytes` made.

    Args:
        data: the content of its file, such as model.safetensors in a run folder of `tnjax fit`.

    Returns:
        the model.

    Raises:
        ValueError: for anything else.

    Example:
        >>> from tnjax.problems import model_from_bytes
        >>> model_from_bytes(b"")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: Not a model that tnjax stored, or a damaged one (...).
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        size = int.from_bytes(data[:8], "little")
        page: dict[str, Any] = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["model"])
        return _restored(page, load(data))
    except (KeyError, TypeError, AttributeError, ValueError, SafetensorError) as error:
        raise ValueError(f"Not a model that tnjax stored, or a damaged one ({error}).") from error


def _restored(page: dict[str, Any], arrays: dict[str, np.ndarray]) -> Model:
    structure = Structure.from_json(page["structure"])
    cores = [arrays[f"core{k}"] for k in range(structure.num_nodes)]
    network = TensorNetwork(structure, cores)
    if "codes" in page:
        kind, given = page["kind"], tuple((int(v), int(c)) for v, c in page["given"])
        if kind not in ("born", "nonnegative"):
            raise ValueError(f"the unknown kind {kind!r} of density")
        return TableDensity(DensityModel(network, kind, given), Codebook.from_json(page["codes"]))
    given = dict(page["loss"])
    kind = given.pop("kind")
    if kind not in _LOSSES:
        raise ValueError(f"the unknown loss {kind!r}")
    columns = None if page["columns"] is None else Columns.from_json(page["columns"])
    blocks = tuple(tuple(map(int, block)) for block in page["blocks"])
    return SupervisedModel(network, arrays["offset"], _LOSSES[kind](**given), blocks, columns)
