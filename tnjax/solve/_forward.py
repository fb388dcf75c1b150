"""An identity that forward mode passes and reverse mode does not."""

from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

_identity = Primitive("tnjax_forward_only")


def forward_only(x: Array) -> Array:
    """x; `jax.grad` and `jax.vjp` through it raise `ValueError`, which names `adjoint=`."""
    return _identity.bind(x)


def _refuse(*_: object):
    raise ValueError(
        "tnjax.solve.run: reverse-mode derivatives (jax.grad, jax.vjp) need an adjoint: pass "
        "adjoint=tnjax.solve.Checkpointed() for those of the steps that were made, or "
        "adjoint=tnjax.solve.Implicit() for those of the optimum."
    )


_identity.def_impl(lambda x: x)
_identity.def_abstract_eval(lambda x: x)
ad.deflinear2(_identity, _refuse)
batching.primitive_batchers[_identity] = lambda args, dims: (_identity.bind(args[0]), dims[0])
mlir.register_lowering(_identity, lambda ctx, x: [x])
