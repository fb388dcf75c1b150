"""Sums of products of local operators."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Inexact

from .._lean import conj
from .._tracing import refuse_trace, traced
from ._blocks import Blocks, gathered

Term = tuple[Any, Mapping[int, Any]]


class SumOfProducts(eqx.Module):
    r"""An operator $H = \sum_t c_t \prod_{s \in S_t} O_{ts}$ on a tensor with one mode per site.

    The matrix $O_{ts}$ acts on site s alone; on sites that a term does not name it is the identity.
    A pytree: the numbers are its leaves, so that derivatives by couplings are at hand, and which
    matrix acts where is static. Equal matrices of a site are stored once.

    Args:
        dims: sizes of the sites, as the `dims` of the network that it acts on.
        terms: pairs of a coefficient and a mapping from sites to matrices, $d_s \times d_s$; an
            empty mapping is the identity.
        dtype: of the numbers, floating or complex. By default complex if a number is, and of JAX's
            default precision.

    Attributes:
        coefficients: shape [terms].
        local: for each site its different matrices, shape [kinds, d, d].
        places: for each term its sites in ascending order, each with the number of its matrix.

    Raises:
        ValueError: if there is no term, a site is not there, a matrix does not fit its site, or the
            dtype is none of single or double precision.

    Example:
        >>> import numpy as np
        >>> from tnjax.operators import SumOfProducts
        >>> x, z = np.array([[0.0, 1], [1, 0]]), np.diag([1.0, -1])
        >>> ising = SumOfProducts((2, 2), [(-1.0, {0: z, 1: z}), (-0.5, {0: x}), (-0.5, {1: x})])
        >>> ising.sites, ising.is_hermitian()
        (((0, 1), (0,), (1,)), True)
        >>> round(float(np.linalg.eigvalsh(ising.to_dense())[0]), 4)
        -1.4142
    """

    dims: tuple[int, ...] = eqx.field(static=True)
    coefficients: Inexact[Array, " terms"]
    local: tuple[Inexact[Array, "kinds d d"], ...]
    places: tuple[tuple[tuple[int, int], ...], ...] = eqx.field(static=True)

    def __init__(
        self, dims: Sequence[int], terms: Iterable[Term], *, dtype: DTypeLike | None = None
    ):
        self.dims = tuple(int(size) for size in dims)
        pairs = [(_number(c), _factors(self.dims, factors)) for c, factors in terms]
        if not pairs:
            raise ValueError("SumOfProducts: there is no term; the zero operator has a zero one.")
        numbers = [x for c, factors in pairs for x in (c, *factors.values())]
        dtype = _dtype(numbers) if dtype is None else jnp.zeros((), dtype).dtype
        if dtype.name not in ("float32", "float64", "complex64", "complex128"):
            raise ValueError(f"SumOfProducts: dtype={dtype}; expected single or double precision.")
        if not jnp.issubdtype(dtype, jnp.complexfloating) and any(map(jnp.iscomplexobj, numbers)):
            raise ValueError(f"SumOfProducts: some numbers are complex, but the dtype is {dtype}.")
        kinds: list[dict[Any, Any]] = [{} for _ in self.dims]
        places = []
        for _, factors in pairs:
            for site, matrix in factors.items():
                kinds[site].setdefault(_identity(matrix), matrix)
            places.append(
                tuple((s, list(kinds[s]).index(_identity(m))) for s, m in sorted(factors.items()))
            )
        self.places = tuple(places)
        self.coefficients = _stacked([c for c, _ in pairs], (), dtype)
        self.local = tuple(
            _stacked(list(found.values()), (size, size), dtype)
            for found, size in zip(kinds, self.dims, strict=True)
        )

    # Reading ---------------------------------------------------------------------------------

    @property
    def dtype(self) -> jnp.dtype:
        """Of all numbers."""
        return self.coefficients.dtype

    @property
    def num_terms(self) -> int:
        """Number of products."""
        return len(self.places)

    @property
    def sites(self) -> tuple[tuple[int, ...], ...]:
        """For each term the sites that it acts on, in ascending order."""
        return tuple(tuple(site for site, _ in place) for place in self.places)

    @property
    def terms(self) -> list[tuple[Any, dict[int, Any]]]:
        """The coefficients and the matrices by their sites, as the constructor takes them; arrays
        of NumPy outside of a trace."""
        values, local = self.coefficients, self.local
        if not traced(self):
            values, local = jax.device_get((values, local))
        factors = ({site: local[site][kind] for site, kind in place} for place in self.places)
        return [(values[t], matrices) for t, matrices in enumerate(factors)]

    def stacked(self, site: int) -> Inexact[Array, "terms d d"]:
        """The matrices of all terms on one site, identities among them: for contractions that treat
        all terms at once.

        Example:
            >>> from tnjax.operators import transverse_ising
            >>> transverse_ising([(0, 1), (1, 2)]).stacked(0).shape
            (5, 2, 2)
        """
        here = self.local[site]
        where = jnp if traced(here) else np  # on the host nothing is compiled
        one = where.eye(self.dims[site], dtype=self.dtype)[None]
        which = [dict(place).get(site, -1) + 1 for place in self.places]
        return jnp.asarray(where.concatenate([one, here])[np.asarray(which)])

    def merged(self) -> dict[tuple[int, ...], Inexact[Array | np.ndarray, "..."]]:
        """The terms that act on the same sites as one matrix, coefficients included: shape [D, D]
        for D the product of the sizes of these sites, the first one slowest.

        Example:
            >>> from tnjax.operators import heisenberg
            >>> merged = heisenberg([(0, 1), (1, 2)]).merged()
            >>> list(merged), merged[0, 1].shape
            ([(0, 1), (1, 2)], (4, 4))
        """
        return {sites: _matrix(terms) for sites, terms in self._groups.items()}

    def blocks(self, max_states: int = 64) -> Blocks:
        """The same operator by few matrices on several sites: what acts fastest on dense tensors.

        Args:
            max_states: size of a matrix at the most. Terms that act on more states stay products.

        Example:
            >>> from tnjax.operators import j1j2
            >>> len(j1j2((3, 4), 0.5).blocks().sites)
            3
        """
        size = lambda sites: math.prod(self.dims[site] for site in sites)
        groups = self._groups
        small = {s: _matrix(terms) for s, terms in groups.items() if size(s) <= max_states}
        sites, matrices = gathered(self.dims, small, max_states)
        large = [(s, term) for s, terms in groups.items() if s not in small for term in terms]
        products = []
        for own, (coefficient, factors) in large:
            first, *rest = (factors[site] for site in own)
            products.append((coefficient * first, *rest))
        own_sites = tuple(own for own, _ in large)
        return Blocks(self.dims, sites, matrices, own_sites, tuple(products))

    @property
    def _groups(self) -> dict[tuple[int, ...], list[tuple[Any, dict[int, Any]]]]:
        """Terms by their sites."""
        groups: dict[tuple[int, ...], list[tuple[Any, dict[int, Any]]]] = {}
        for sites, term in zip(self.sites, self.terms, strict=True):
            groups.setdefault(sites, []).append(term)
        return groups

    # Acting ----------------------------------------------------------------------------------

    def apply(self, tensor: Inexact[ArrayLike, "..."]) -> Inexact[Array, "..."]:
        """The operator applied to a dense tensor.

        Args:
            tensor: shape `dims`, or with more axes behind them, which are carried along.

        Returns:
            An array of the same shape.

        Raises:
            ValueError: if the shape does not begin with `dims`.

        Example:
            >>> import jax.numpy as jnp
            >>> from tnjax.operators import heisenberg
            >>> singlet = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
            >>> heisenberg([(0, 1)]).apply(singlet) / singlet[0, 1]
            Array([[ 0.  , -0.75],
                   [ 0.75,  0.  ]], dtype=float64)
        """
        tensor = jnp.asarray(tensor)
        modes = len(self.dims)
        if tensor.shape[:modes] != self.dims:
            raise ValueError(f"apply: a tensor of shape {tensor.shape}; expected {self.dims}.")
        with jax.numpy_dtype_promotion("standard"):
            dtype = jnp.promote_types(self.dtype, tensor.dtype)
        return self.blocks().apply(tensor.astype(dtype))

    def to_dense(self) -> Inexact[Array, "states states"]:
        """The matrix of the operator, for small systems: of size prod(dims) squared."""
        size = math.prod(self.dims)
        one = jnp.eye(size, dtype=self.dtype).reshape(*self.dims, size)
        return self.apply(one).reshape(size, size)

    # Arithmetic ------------------------------------------------------------------------------

    def adjoint(self) -> "SumOfProducts":
        """The adjoint operator."""
        local = tuple(conj(jnp.swapaxes(matrices, 1, 2)) for matrices in self.local)
        where = lambda h: (h.coefficients, h.local)
        return eqx.tree_at(where, self, (conj(self.coefficients), local))

    def is_hermitian(self, *, tolerance: float = 1e-6) -> bool:
        r"""Whether $\|H - H^\dagger\| \le$ `tolerance` $\|H\|$ (Frobenius norms). The cost is
        quadratic in the number of terms, and linear in the number of sites.

        Raises:
            ValueError: inside of a trace.
        """
        refuse_trace("SumOfProducts.is_hermitian", "look at it outside", self)
        other = self.adjoint()
        both = np.concatenate([self.coefficients, -np.asarray(other.coefficients)])
        both = both.astype(complex)
        overlaps = np.ones((both.size, both.size), complex)
        for site, size in enumerate(self.dims):
            pair = (self.stacked(site), other.stacked(site))
            rows = np.concatenate(jax.device_get(pair)).astype(complex).reshape(both.size, -1)
            overlaps *= rows.conj() @ rows.T / size
        square = lambda c, gram: abs(np.vdot(c, gram @ c))
        half = self.num_terms
        whole = square(both[:half], overlaps[:half, :half])
        return bool(square(both, overlaps) <= tolerance**2 * whole)

    def astype(self, dtype: DTypeLike) -> "SumOfProducts":
        """The same operator with numbers of another dtype; complex ones do not become real.

        Raises:
            ValueError: if they would have to.
        """
        return SumOfProducts(self.dims, self.terms, dtype=dtype)

    def __add__(self, other: "SumOfProducts") -> "SumOfProducts":
        if not isinstance(other, SumOfProducts):
            return NotImplemented
        if self.dims != other.dims:
            raise ValueError(f"Operators on different sites: {self.dims} and {other.dims}.")
        with jax.numpy_dtype_promotion("standard"):
            dtype = jnp.promote_types(self.dtype, other.dtype)
        return SumOfProducts(self.dims, [*self.terms, *other.terms], dtype=dtype)

    def __mul__(self, scalar: ArrayLike) -> "SumOfProducts":
        value = _number(scalar)
        if jnp.iscomplexobj(value) and not jnp.issubdtype(self.dtype, jnp.complexfloating):
            wide = jnp.dtype(f"complex{16 * self.dtype.itemsize}")
            return self.astype(wide) * value
        scaled = self.coefficients * jnp.asarray(value, self.dtype)
        return eqx.tree_at(lambda h: h.coefficients, self, scaled)

    __rmul__ = __mul__

    def __neg__(self) -> "SumOfProducts":
        return self * -1

    def __sub__(self, other: "SumOfProducts") -> "SumOfProducts":
        return self + -other

    def __repr__(self) -> str:
        dims = "x".join(map(str, self.dims))
        return f"SumOfProducts(dims={dims}, terms={self.num_terms}, dtype={self.dtype})"


def _matrix(terms: Sequence[tuple[Any, dict[int, Any]]]) -> Any:
    """The sum of products on the same sites."""
    total: Any = 0
    for coefficient, factors in terms:
        product = coefficient.reshape(1, 1)
        for site in sorted(factors):
            rows = product.shape[0] * factors[site].shape[0]
            product = product[:, None, :, None] * factors[site][None, :, None, :]
            product = product.reshape(rows, rows)
        total = product + total
    return total


def _number(value: Any) -> Any:
    """A scalar: of NumPy unless it is traced."""
    value = value if traced(value) else np.asarray(value)
    if value.ndim or value.dtype.kind not in "biufcV":
        raise ValueError(f"SumOfProducts: a coefficient is {value!r}; expected a number.")
    return value


def _factors(dims: tuple[int, ...], factors: Mapping[int, Any]) -> dict[int, Any]:
    """The matrices of a term, of NumPy unless they are traced."""
    out = {}
    for site, given in factors.items():
        if not 0 <= site < len(dims):
            raise ValueError(f"SumOfProducts: site {site}; there are the sites 0..{len(dims) - 1}.")
        matrix = given if traced(given) else np.asarray(given)
        if matrix.shape != (dims[site], dims[site]) or matrix.dtype.kind not in "biufcV":
            raise ValueError(
                f"SumOfProducts: the matrix on site {site} has shape {matrix.shape} and dtype "
                f"{matrix.dtype}; expected numbers of shape {(dims[site], dims[site])}."
            )
        out[int(site)] = matrix
    return out


def _dtype(numbers: Sequence[Any]) -> jnp.dtype:
    """Complex if a number is, of JAX's default precision."""
    whole = complex if any(map(jnp.iscomplexobj, numbers)) else float
    return jnp.zeros((), whole).dtype


def _identity(matrix: Any) -> Any:
    """Equal for equal arrays of NumPy; a traced one equals itself only."""
    return id(matrix) if traced(matrix) else (matrix.dtype.str, matrix.tobytes())


def _stacked(values: Sequence[Any], shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    if not values:
        return jnp.zeros((0, *shape), dtype)
    if not traced(values):
        return jnp.asarray(np.stack(values).astype(dtype))
    return jnp.stack([jnp.asarray(value).astype(dtype) for value in values])
