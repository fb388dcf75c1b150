"""Pictures of structures and searches with matplotlib."""

import itertools
import math
import re
import sys

import jax
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import tnjax
from tests.helpers import make_result, random_network
from tnjax import MoveRecord, SearchResult, Structure, draw, plot_pareto, plot_path
from tnjax._install import install_hint

pytestmark = pytest.mark.quick

STRUCTURES = {
    "one node": Structure.rank_one((5,)),
    "rank one": Structure.rank_one((4, 5, 6)),
    "train": Structure.tensor_train((4, 5, 6, 7), (2, 8, 3)),
    "ring": Structure.tensor_ring((4, 5, 6, 7), (2, 3, 4, 5)),
    "fully connected": Structure.fully_connected((3, 4, 5, 6, 7), 2),
    "cp": Structure.cp((4, 5, 6), 3),
    "tucker": Structure.tucker((4, 5, 6), (2, 3, 4)),
    "hierarchical tucker": Structure.hierarchical_tucker((3,) * 8, 2),
    "grid": Structure.peps((3,) * 6, (2, 3), 2),
    "two-leg node": Structure((4, 5, 6), ((0,), (1, 2)), {(0, 1): 3}),
    "internal hyperedge": Structure((4, 5), ((0,), (1,), ()), {(0, 1, 2): 3}),
    "internal node without bonds": Structure.tucker((4, 5), 1),
}


@pytest.fixture
def ax():
    return Figure().subplots()


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def points(ax) -> np.ndarray:
    """Coordinates of all that is drawn."""
    parts = [np.stack(line.get_data(), axis=1) for line in ax.lines]
    parts += [np.asarray(scatter.get_offsets()) for scatter in ax.collections]
    parts += [np.array([text.get_position()]) for text in ax.texts]
    return np.concatenate(parts)


# Structures ---------------------------------------------------------------------------------


def test_draw_takes_whatever_has_a_structure(ax):
    structure = STRUCTURES["internal hyperedge"]
    tensor = random_network(structure)
    result = make_result([(MoveRecord("start"), structure, 0.5)])
    problem = tnjax.Decomposition(np.ones((3, 4)))
    fitted = tnjax.fit(problem, Structure.rank_one((3, 4)), key=jax.random.key(0), max_steps=1)
    draw(structure, ax)
    for value in (tensor, result, result.path[0], *result.archive):
        other = Figure().subplots()
        assert draw(value, other) is other
        assert texts(other) == texts(ax)
        assert np.array_equal(points(other), points(ax))
    draw(fitted, ax)


@pytest.mark.parametrize("value", [np.ones(3), "run", None, object()])
@pytest.mark.usefixtures("unchecked")
def test_draw_says_what_it_takes(ax, value):
    with pytest.raises(ValueError, match=f"got {type(value).__name__}") as caught:
        draw(value, ax)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", STRUCTURES)
def test_draw_shows_every_node_size_and_rank(ax, name):
    structure = STRUCTURES[name]
    assert draw(structure, ax) is ax
    expected = [*range(structure.num_nodes), *structure.dims, *structure.ranks]
    assert sorted(texts(ax)) == sorted(map(str, expected))
    hyper = [edge for edge in structure.edges if len(edge) > 2]
    assert len(ax.collections) == structure.num_nodes + len(hyper)
    bonds = sum(1 if len(edge) == 2 else len(edge) for edge in structure.edges)
    assert len(ax.lines) == bonds + len(structure.dims)
    assert ax.get_title() == f"{structure.num_params:,} parameters"


@pytest.mark.parametrize("name", STRUCTURES)
def test_all_of_a_drawing_is_in_view(ax, name):
    draw(STRUCTURES[name], ax)
    found = points(ax)
    assert np.isfinite(found).all()
    for k, (low, high) in enumerate((ax.get_xlim(), ax.get_ylim())):
        assert low < found[:, k].min()
        assert found[:, k].max() < high
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", STRUCTURES)
def test_no_node_hides_another(ax, name):
    structure = STRUCTURES[name]
    draw(structure, ax)
    places = [text.get_position() for text in ax.texts if text.get_fontweight() == "bold"]
    assert len(places) == structure.num_nodes
    for a, b in itertools.combinations(places, 2):
        assert math.dist(a, b) > 0.15


def test_names_of_modes_stand_before_their_sizes(ax):
    ring = Structure.tensor_ring((4, 5, 6), 2)
    words = {text.get_text() for text in draw(ring, ax, names=("row", "column", "color")).texts}
    assert {"row 4", "column 5", "color 6"} < words
    with pytest.raises(ValueError, match="2 names for 3 modes"):
        draw(ring, ax, names=("row", "column"))


def test_lines_grow_with_the_rank(ax):
    widths = []
    for rank in (2, 3, 8, 64):
        ax.clear()
        draw(Structure.tensor_train((4, 5), rank), ax)
        widths.append(max(line.get_linewidth() for line in ax.lines))
    assert widths == sorted(set(widths))
    draw(Structure.tensor_train((4, 5, 6), (2, 32)), ax)
    assert len({line.get_linewidth() for line in ax.lines}) > 2


def test_lines_of_hyperedges_grow_with_the_rank(ax):
    widths = []
    for rank in (2, 3, 8, 64):
        ax.clear()
        draw(Structure.cp((4, 5, 6), rank), ax)
        widths.append(max(line.get_linewidth() for line in ax.lines))
    assert widths == sorted(set(widths))


def test_kinds_of_nodes_and_bonds_have_colors_of_their_own(ax):
    draw(Structure((4, 5), ((0,), (1,), ()), {(0, 2): 2, (0, 1, 2): 3}), ax)
    colors = [to_hex(scatter.get_facecolor()[0]) for scatter in ax.collections]
    assert len(colors) == 4
    assert len(set(colors)) == 3  # hyperedge, internal node, two nodes with a leg


def test_strong_bonds_are_short(ax):
    ring = Structure.tensor_ring((3,) * 6, 4).relabel([0, 3, 1, 4, 2, 5])
    draw(ring, ax)
    bonds = [line for line in ax.lines if line.get_linewidth() > 2]
    lengths = [math.dist(*np.stack(line.get_data(), axis=1)) for line in bonds]
    np.testing.assert_allclose(lengths, lengths[0])
    assert len(lengths) == 6


@pytest.mark.parametrize("plot", ["draw", "plot_path"])
def test_a_new_figure_is_made_by_default(plot, found):
    before = plt.get_fignums()
    ax = draw(found.structure) if plot == "draw" else plot_path(found)
    try:
        assert len(plt.get_fignums()) == len(before) + 1
        assert ax.figure is plt.gcf()
    finally:
        plt.close(ax.figure)


# Searches -----------------------------------------------------------------------------------


START = Structure.rank_one((4, 5, 6))


@pytest.fixture
def found() -> SearchResult:
    return make_result(
        [
            (MoveRecord("start"), START, 0.8),
            (MoveRecord("grow", (0, 1), 1), START.with_rank((0, 1), 2), 0.5),
            (MoveRecord("grow", (1, 2), 1), Structure.tensor_train((4, 5, 6), 2), 0.3),
            (MoveRecord("grow", (0, 1), 1), Structure.tensor_train((4, 5, 6), (3, 2)), 0.1),
            (MoveRecord("prune", (0, 1), 1), Structure.tensor_train((4, 5, 6), 2), 0.2),
        ]
    )


def drawn(ax) -> set[tuple[float, float]]:
    return {tuple(map(float, point)) for line in ax.lines for point in zip(*line.get_data())}


def test_plot_path_shows_every_step_and_the_result(ax, found):
    assert plot_path(found, ax) is ax
    assert {(float(s.num_params), s.error) for s in found.path} == drawn(ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["start", "grow", "prune", "Pareto set", "result"]
    star = ax.lines[-1]
    assert list(zip(*star.get_data())) == [(found.num_params, found.error)]
    assert ax.get_xlabel() == "parameters"
    assert ax.get_ylabel() == "relative error"
    ax.figure.canvas.draw()


def test_plot_path_joins_the_pareto_set(ax, found):
    plot_path(found, ax)
    (line,) = [line for line in ax.lines if line.get_label() == "Pareto set"]
    front = [(s.num_params, s.error) for s in found.pareto]
    assert front == [(15, 0.8), (24, 0.5), (40, 0.2), (54, 0.1)]
    assert list(zip(*line.get_data())) == front


def test_plot_path_shows_swaps(ax):
    result = make_result(
        [
            (MoveRecord("start"), START, 0.8),
            (MoveRecord("grow", (0, 1), 1), START.with_rank((0, 1), 2), 0.5),
            (MoveRecord("swap", (0, 1), 1, ((1, 2),)), START.with_rank((1, 2), 2), 0.4),
            (MoveRecord("grow", (0, 1), 1), Structure.tensor_train((4, 5, 6), 2), 0.3),
        ]
    )
    plot_path(result, ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "swap" in labels
    (line,) = [line for line in ax.lines if line.get_label() == "swap"]
    assert list(zip(*line.get_data())) == [(26, 0.4)]


@pytest.mark.parametrize(
    ("errors", "scale"), [((0.8, 0.5), "linear"), ((0.8, 1e-6), "log"), ((0.8, 0.0), "linear")]
)
def test_errors_are_on_a_logarithmic_axis_if_they_span_much(ax, errors, scale):
    moves = [(MoveRecord("start"), START, errors[0])]
    moves.append((MoveRecord("grow", (0, 1), 1), START.with_rank((0, 1), 2), errors[1]))
    plot_path(make_result(moves), ax)
    assert ax.get_yscale() == scale
    assert ax.get_xscale() == "log"
    ax.figure.canvas.draw()


def test_plot_path_of_a_single_step(ax):
    plot_path(make_result([(MoveRecord("start"), START, 0.0)]), ax)
    ax.figure.canvas.draw()


def test_plot_pareto_compares_searches_by_name(ax, found):
    other = make_result([(MoveRecord("start"), START, 0.7)])
    assert plot_pareto({"one": found, "two": other}, ax) is ax
    lines = {line.get_label(): list(zip(*line.get_data())) for line in ax.lines}
    assert lines == {
        "one": [(s.num_params, s.error) for s in found.pareto],
        "two": [(15, 0.7)],
    }
    colors = {line.get_color() for line in ax.lines}
    assert len(colors) == 2
    ax.figure.canvas.draw()


def test_plot_pareto_of_one_search(ax, found):
    plot_pareto(found, ax)
    (line,) = ax.lines
    assert len(line.get_xdata()) == len(found.pareto)


def test_plot_pareto_of_nothing_is_refused(ax):
    with pytest.raises(ValueError, match="one or more results"):
        plot_pareto({}, ax)


@pytest.mark.parametrize("name", ["draw", "plot_path", "plot_pareto"])
def test_missing_matplotlib_is_an_import_error_with_advice(monkeypatch, found, name):
    for module in ("matplotlib", "matplotlib.pyplot", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=re.escape(install_hint("plot"))):
        getattr(tnjax, name)(START if name == "draw" else found)
