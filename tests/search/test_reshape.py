"""Reshaping: there and back, what each entry becomes, least change, refusals."""

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from tnjax.io import Reshape, digits_of, plan_reshape

DIGITS = ["row-major", "interleaved"]


def counting(shape) -> np.ndarray:
    """All entries different."""
    return np.arange(math.prod(shape)).reshape(shape)


def distortion(shape, padded) -> float:
    return max(max(a / b, b / a) for a, b in zip(padded, shape, strict=True))


def digit_tables(max_modes=3, max_digits=3, max_digit=3):
    """Factors [new mode, mode], so that both shapes are products along one axis."""
    return st.integers(1, max_modes).flatmap(
        lambda modes: st.lists(
            st.lists(st.integers(1, max_digit), min_size=modes, max_size=modes),
            min_size=1,
            max_size=max_digits,
        )
    )


def products(table) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape and the new dims that a table of factors belongs to."""
    return tuple(map(math.prod, zip(*table, strict=True))), tuple(map(math.prod, table))


# There and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("digits", DIGITS)
@given(table=digit_tables())
def test_exact_reshapes_are_permutations_and_come_back(digits, table):
    shape, dims = products(table)
    x = counting(shape)
    plan = plan_reshape(shape, dims, digits=digits)
    y = plan.apply(x)
    assert y.shape == plan.dims == dims
    assert plan.source == plan.padded == plan.kept == shape
    np.testing.assert_array_equal(np.sort(y, axis=None), np.sort(x, axis=None))
    np.testing.assert_array_equal(plan.undo(y), x, strict=True)


def cuts(table, digits):
    """A shape, and dims that it can be split into in this order of digits."""
    shape, dims = products(table)
    if digits == "row-major":  # the digits of one mode after another
        dims = tuple(itertools.chain.from_iterable(zip(*table, strict=True)))
    return shape, dims


@pytest.mark.parametrize("digits", DIGITS)
@given(table=digit_tables(), data=st.data())
def test_padding_comes_back_and_repeats_the_last_entries(digits, table, data):
    fitting, dims = cuts(table, digits)
    shape = tuple(data.draw(st.integers(1, n)) for n in fitting)
    x = counting(shape)
    plan = plan_reshape(shape, dims, digits=digits, fit="pad")
    assert math.prod(plan.padded) == math.prod(dims)
    assert all(p >= n for p, n in zip(plan.padded, shape, strict=True))
    assert plan.kept == shape
    y = plan.apply(x)
    assert y.shape == dims
    np.testing.assert_array_equal(plan.undo(y), x, strict=True)
    nearest = np.ix_(*[np.minimum(np.arange(p), n - 1) for p, n in zip(plan.padded, shape)])
    whole = plan_reshape(plan.padded, dims, digits=digits)
    np.testing.assert_array_equal(whole.undo(y), x[nearest])


@pytest.mark.parametrize("digits", DIGITS)
@given(table=digit_tables(), data=st.data())
def test_cropping_drops_entries_from_the_end(digits, table, data):
    fitting, dims = cuts(table, digits)
    shape = tuple(n + data.draw(st.integers(0, 3)) for n in fitting)
    x = counting(shape)
    plan = plan_reshape(shape, dims, digits=digits, fit="crop")
    assert math.prod(plan.padded) == math.prod(dims)
    assert all(p <= n for p, n in zip(plan.padded, shape, strict=True))
    assert plan.kept == plan.padded
    y = plan.apply(x)
    assert y.shape == dims
    np.testing.assert_array_equal(plan.undo(y), x[tuple(map(slice, plan.kept))], strict=True)


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize("fit", ["exact", "pad", "crop"])
@given(table=digit_tables())
def test_every_fit_is_exact_where_the_sizes_multiply_up(digits, fit, table):
    shape, dims = products(table)
    assert plan_reshape(shape, dims, digits=digits, fit=fit) == plan_reshape(
        shape, dims, digits=digits
    )


def test_dtypes_are_kept():
    plan = plan_reshape((3, 7), (4, 8), digits="interleaved", fit="pad")
    for dtype in (np.uint8, np.float32, np.complex128, bool):
        x = counting((3, 7)).astype(dtype)
        assert plan.apply(x).dtype == dtype
        np.testing.assert_array_equal(plan.undo(plan.apply(x)), x, strict=True)


def test_undo_takes_what_a_network_gives_back():
    plan = plan_reshape((3, 7), (4, 8), digits="interleaved", fit="pad")
    y = np.random.default_rng(0).standard_normal((4, 8))
    assert plan.undo(y).shape == (3, 7)
    assert set(plan.undo(y).ravel()) <= set(y.ravel())


# Where entries go ---------------------------------------------------------------------------


@given(table=digit_tables())
def test_row_major_is_numpys_reshape(table):
    shape, dims = products(table)
    x = counting(shape)
    np.testing.assert_array_equal(plan_reshape(shape, dims).apply(x), x.reshape(dims))


def test_interleaved_digits_of_a_square_are_its_patches():
    x = counting((4, 4))
    plan = plan_reshape((4, 4), (4, 4), digits="interleaved")
    assert plan.splits == ((2, 2), (2, 2))
    y = plan.apply(x)
    for row in range(2):
        for column in range(2):
            patch = x[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_array_equal(y[2 * row + column], patch.ravel())


def test_interleaved_digits_of_a_color_image_go_from_coarse_to_fine():
    x = counting((8, 8, 3))
    plan = plan_reshape((8, 8, 3), (4, 4, 4, 3), digits="interleaved")
    assert plan.splits == ((2, 2, 1), (2, 2, 1), (2, 2, 1), (1, 1, 3))
    y = plan.apply(x)
    for r, c in itertools.product(itertools.product(range(2), repeat=3), repeat=2):
        row, column = (4 * a + 2 * b + d for a, b, d in (r, c))
        modes = tuple(2 * a + b for a, b in zip(r, c))
        np.testing.assert_array_equal(y[modes], x[row, column])
    joined = plan_reshape((8, 8, 3), (4, 4, 12), digits="interleaved")
    assert joined.splits == ((2, 2, 1), (2, 2, 1), (2, 2, 3))
    np.testing.assert_array_equal(joined.apply(x), y.reshape(4, 4, 12))


def test_interleaved_factors_are_as_even_as_possible():
    assert plan_reshape((16, 16), (16, 16), digits="interleaved").splits == ((4, 4), (4, 4))
    assert plan_reshape((6, 6), (4, 9), digits="interleaved").splits == ((2, 2), (3, 3))
    assert plan_reshape((8, 2), (4, 4), digits="interleaved").splits == ((2, 2), (4, 1))


def test_padding_repeats_the_last_entry():
    plan = plan_reshape((5,), (2, 3), fit="pad")
    np.testing.assert_array_equal(plan.apply(np.arange(5)), [[0, 1, 2], [3, 4, 4]])
    plan = plan_reshape((1, 3), (2, 2, 2), digits="interleaved", fit="pad")
    assert plan.padded == (2, 4)
    y = plan.apply(np.array([[0, 1, 2]]))
    np.testing.assert_array_equal(np.bincount(y.ravel()), [2, 2, 4])


def test_cropping_drops_the_last_entries():
    plan = plan_reshape((8,), (2, 3), fit="crop")
    np.testing.assert_array_equal(plan.apply(np.arange(8)), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(plan.undo(plan.apply(np.arange(8))), np.arange(6))


# Least change -------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["pad", "crop"])
@given(table=digit_tables(max_digit=4), data=st.data())
def test_fitting_distorts_as_little_as_possible(fit, table, data):
    fitting, dims = products(table)
    far = data.draw(st.lists(st.integers(0, 3), min_size=len(fitting), max_size=len(fitting)))
    sign = -1 if fit == "pad" else 1
    shape = tuple(max(1, n + sign * k) for n, k in zip(fitting, far))
    total = math.prod(dims)
    assume(total != math.prod(shape))
    divisors = [n for n in range(1, total + 1) if total % n == 0]
    allowed = [
        s
        for s in itertools.product(divisors, repeat=len(shape))
        if math.prod(s) == total
        and all(a >= b if fit == "pad" else a <= b for a, b in zip(s, shape))
    ]
    plan = plan_reshape(shape, dims, digits="interleaved", fit=fit)
    assert plan.padded in allowed
    least = min(distortion(shape, s) for s in allowed)
    assert distortion(shape, plan.padded) == pytest.approx(least)


def test_images_are_padded_and_cropped_evenly():
    for digits in DIGITS:
        plan = plan_reshape((250, 250), (4,) * 8, digits=digits, fit="pad")
        assert plan.padded == (256, 256)
        plan = plan_reshape((300, 260, 3), (4,) * 8 + (3,), digits=digits, fit="crop")
        assert plan.padded == (256, 256, 3)


def test_modes_of_size_1_can_stay_so():
    plan = plan_reshape((1, 5), (2, 3), fit="pad")
    assert plan.padded == (1, 6)
    np.testing.assert_array_equal(plan.apply(np.arange(5)[None]), [[0, 1, 2], [3, 4, 4]])
    assert plan_reshape((5, 1), (2, 3), fit="pad").padded == (6, 1)
    assert plan_reshape((1, 7), (2, 3), fit="crop").padded == (1, 6)


# Words --------------------------------------------------------------------------------------


def test_describe_tells_what_happens():
    assert plan_reshape((8, 8), (4, 16)).describe() == "8x8, reshaped to 4x16"
    assert plan_reshape((8, 7), (8, 7)).describe() == "8x7"
    plan = plan_reshape((8, 7), (4, 4, 4), digits="interleaved", fit="pad")
    assert plan.describe() == "8x7, padded to 8x8, reshaped to 4x4x4"
    plan = plan_reshape((9, 8), (4, 4, 4), digits="interleaved", fit="crop")
    assert plan.describe() == "9x8, cropped to 8x8, reshaped to 4x4x4"


def test_plans_are_values():
    plan = plan_reshape([8, 8], [4, 16])
    assert plan == Reshape((8, 8), (8, 8), (), (4, 16))
    assert hash(plan) == hash(plan_reshape((8, 8), (4, 16)))


# Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", DIGITS)
def test_a_wrong_product_is_refused_with_both_numbers(digits):
    with pytest.raises(ValueError, match=r"4 x 4 = 16.*8 x 8 = 64"):
        plan_reshape((8, 8), (4, 4), digits=digits)


@pytest.mark.usefixtures("unchecked")
def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match=r"column-major.*interleaved"):
        plan_reshape((8, 8), (64,), digits="column-major")
    with pytest.raises(ValueError, match=r"stretch.*crop"):
        plan_reshape((8, 8), (64,), fit="stretch")


@pytest.mark.parametrize("dims", [(), (0,), (0, 64), (-8, -8), (64, -1)])
def test_sizes_that_are_not_positive_are_refused(dims):
    for fit in ("exact", "pad", "crop"):
        with pytest.raises(ValueError, match="positive"):
            plan_reshape((8, 8), dims, fit=fit)


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize("fit", ["exact", "pad", "crop"])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_tensors_are_refused(shape, fit, digits):
    with pytest.raises(ValueError, match="reshape"):
        plan_reshape(shape, (6,), digits=digits, fit=fit)


@pytest.mark.parametrize(
    ("shape", "dims", "fit"),
    [
        ((8, 8), (4, 4), "pad"),  # smaller than the tensor
        ((8, 8), (4, 4, 5), "crop"),  # larger
        ((6, 10), (4, 4, 4), "pad"),  # powers of two: 8 x 8 is too narrow
        ((6, 5), (7,), "crop"),  # a prime
    ],
)
@pytest.mark.parametrize("digits", DIGITS)
def test_what_has_no_solution_is_refused(shape, dims, fit, digits):
    with pytest.raises(ValueError, match=f"no way to {fit}"):
        plan_reshape(shape, dims, digits=digits, fit=fit)


def test_row_major_fits_only_along_mode_boundaries():
    with pytest.raises(ValueError, match="row-major"):
        plan_reshape((5, 5), (4, 9), fit="pad")
    assert plan_reshape((5, 5), (4, 9), digits="interleaved", fit="pad").padded == (6, 6)


def test_arrays_of_other_shapes_are_refused():
    plan = plan_reshape((8, 8), (4, 4, 4), digits="interleaved")
    for shape in ((64,), (8, 8, 1), (6, 8), (8, 9)):
        with pytest.raises(ValueError, match="shape"):
            plan.apply(np.zeros(shape))
    with pytest.raises(ValueError, match="shape"):
        plan.undo(np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("shape", "digits"),
    [
        ((64, 48, 3), (4, 4, 4, 4, 4, 3, 3)),
        ((2, 8, 1), (2, 4, 2)),
        ((451,), (11, 41)),
        ((1, 1), (1,)),
    ],
)
def test_digits_of_a_shape_multiply_up_to_it(shape, digits):
    assert digits_of(shape) == digits
    assert math.prod(digits) == math.prod(shape)
    plan_reshape(shape, digits)


def test_a_reshape_that_does_not_fit_is_told_one_that_does():
    with pytest.raises(ValueError, match=r"such as 4,4,4,4,3 \(--reshape auto\)"):
        plan_reshape((16, 16, 3), (4, 4))
