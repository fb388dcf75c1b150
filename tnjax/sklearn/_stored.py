"""Models as bytes: safetensors with a page of JSON, and nothing that is executed when read."""

import dataclasses
import json
from typing import Any

import numpy as np

from .._network import TensorNetwork
from .._structure import Structure
from ..features import Columns
from ..problems import Bernoulli, Huber, Loss, Poisson, Softmax, Squared, SupervisedModel

_LOSSES: dict[str, type[Loss]] = {
    "bernoulli": Bernoulli,
    "huber": Huber,
    "poisson": Poisson,
    "softmax": Softmax,
    "squared": Squared,
}


def model_to_bytes(model: SupervisedModel) -> bytes:
    """A model of named losses and columns.

    Raises:
        ValueError: for a loss that is a function of one's own.
    """
    from safetensors.numpy import save

    words = {kind: word for word, kind in _LOSSES.items()}
    loss = model.loss_function
    if type(loss) not in words:
        raise ValueError(
            "A model whose loss is a function of your own cannot be stored; use a named loss."
        )
    page = {
        "structure": model.network.structure.to_json(),
        "loss": {"kind": words[type(loss)], **dataclasses.asdict(loss)},  # type: ignore[call-overload]
        "blocks": model.blocks,
        "columns": None if model.columns is None else model.columns.to_json(),
    }
    arrays = {f"core{k}": np.array(core, order="C") for k, core in enumerate(model.network.cores)}
    arrays["offset"] = np.array(model.offset, order="C")
    return save(arrays, {"model": json.dumps(page)})


def model_from_bytes(data: bytes) -> SupervisedModel:
    """What `model_to_bytes` wrote.

    Raises:
        ValueError: for anything else.
    """
    from safetensors.numpy import load

    size = int.from_bytes(data[:8], "little")
    page: dict[str, Any] = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["model"])
    arrays = load(data)
    structure = Structure.from_json(page["structure"])
    cores = [arrays[f"core{k}"] for k in range(structure.num_nodes)]
    given = dict(page["loss"])
    kind = given.pop("kind")
    if kind not in _LOSSES:
        raise ValueError(f"A stored model has the unknown loss {kind!r}.")
    columns = None if page["columns"] is None else Columns.from_json(page["columns"])
    blocks = tuple(tuple(map(int, block)) for block in page["blocks"])
    network = TensorNetwork(structure, cores)
    return SupervisedModel(network, arrays["offset"], _LOSSES[kind](**given), blocks, columns)
