"""Tensors of many modes that are trains, and those that are not."""

import jax
import numpy as np

from tnjax import Decomposition, Greedy, Structure, relative_error, search
from tnjax._search.greedy import train
from tnjax._search.strategy import Budget

ORDER = 14
SHAPE = (2,) * ORDER
TARGET = Budget(target_error=1e-3)


def chain(rank):
    rng = np.random.default_rng(0)
    out = np.ones((1, 1))
    for mode in range(ORDER):
        left, right = out.shape[1], 1 if mode == ORDER - 1 else rank
        core = rng.standard_normal((left, 2, right))
        out = np.tensordot(out, core, 1).reshape(-1, right)
    return out.reshape(SHAPE)


def test_a_train_is_known_at_once():
    tensor = chain(2)
    one_step = Greedy(effort="quick", prune=False)
    found = search(
        Decomposition(tensor), key=jax.random.key(0), strategy=one_step, target_error=1e-3
    )
    assert [step.move.kind for step in found.path] == ["train"]
    assert found.structure == Structure.tensor_train(SHAPE, 2)
    assert float(relative_error(found.network, tensor)) <= 1e-3


def test_what_has_no_ranks_of_a_train_is_grown():
    rng = np.random.default_rng(1)
    start = Structure.rank_one(SHAPE)
    noise = Decomposition(rng.standard_normal(SHAPE))
    permuted = Decomposition(chain(2).transpose(rng.permutation(ORDER)))
    for problem in (noise, permuted):
        assert train.found(Greedy(), problem, start, TARGET) is None
    known = Decomposition(chain(2))
    assert train.found(Greedy(), known, start, TARGET) is not None
    for options in (Greedy(infer=False), Greedy(max_rank=1), Greedy(edges=((0, 1),))):
        assert train.found(options, known, start, TARGET) is None
    assert train.found(Greedy(), known, start, Budget(target_error=1e-3, max_params=50)) is None
