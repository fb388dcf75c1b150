"""What results say of themselves: in one line, and to whom they owe their methods."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import tnjax
from tnjax import Decomposition, Density, MoveRecord, Structure, fit, init, search
from tnjax._citations import bibtex
from tnjax._report.record import result_of, result_record
from tnjax.strategies import make_strategy, strategy_names

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def problem():
    ring = Structure.tensor_ring((4, 5, 4), 2)
    return Decomposition(tnjax.TensorNetwork.random(ring, key=jax.random.key(1)).to_dense())


@pytest.fixture(scope="module")
def result(problem):
    return search(problem, key=KEY, target_error=0.3, strategy=tnjax.Greedy(infer=False))


def keys_of(text: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),$", text, re.M)


def test_values_show_themselves_in_one_short_line(problem, result):
    found = fit(problem, Structure.rank_one(problem.shape), key=KEY, max_steps=2)
    state = init(problem, key=KEY, target_error=0.3)
    values = (result, result.archive, result.structure, result.network, found, state)
    for value, name in zip(
        values,
        ("SearchResult", "Archive", "Structure", "TensorNetwork", "FitResult", "SearchState"),
        strict=True,
    ):
        text = repr(value)
        assert text.startswith(f"{name}(")
        assert "\n" not in text
        assert len(text) < 250


def test_a_step_prints_as_one_short_line(result, capsys):
    print(result.path[0])
    assert re.fullmatch(r"start: 13 parameters, error 0\.\d+, \d+\.\d s\n", capsys.readouterr().out)
    held = tnjax.Step(MoveRecord("grow", (0, 1), 1), result.structure, 1234, 0.25, 2, 1, 1)
    assert str(held) == "grow 0-1: 1,234 parameters, error 0.25, 2.0 s"


def test_choose_names_its_limits(result):
    record = result.choose(by="error", max_params=result.path[0].num_params)
    assert record.num_params == result.path[0].num_params
    with pytest.raises(TypeError, match="max_param"):
        result.choose(max_param=3)


def test_what_was_used_is_cited(result):
    assert keys_of(result.citation()) == ["tnjax", "hashemizadeh2020", "evci2022"]
    again = result_of(result_record(result), result.network, result.archive, Path("run"))
    assert again.citation() == result.citation()


@pytest.mark.parametrize("name", strategy_names())
def test_every_strategy_cites_what_is_known(name):
    keys = keys_of(bibtex(make_strategy(name).cites, "0.2"))
    assert keys[0] == "tnjax"
    assert len(keys) > 1 or name.startswith(("random", "svd", "fixed")), keys


def test_networks_in_closed_form_and_problems_are_cited(problem):
    found = search(problem, key=KEY, target_error=0.3, strategy=tnjax.FixedFormat("tucker"))
    assert keys_of(found.citation())[1:] == ["vannieuwenhoven2012"]
    rows = np.random.default_rng(0).integers(2, size=(50, 3))
    assert keys_of(bibtex(Density(rows, kind="born").cites, "0.2")) == ["tnjax", "han2018"]


def test_braces_of_every_entry_are_balanced_and_own_entries_are_taken():
    own = "@misc{mine,\n  title = {Mine},\n}"
    text = bibtex(["li2020", own, "li2020"], "0.2")
    assert keys_of(text) == ["tnjax", "li2020", "mine"]
    assert text.count("{") == text.count("}")
    with pytest.raises(ValueError, match="unknown reference 'nobody2020'"):
        bibtex(["nobody2020"], "0.2")
