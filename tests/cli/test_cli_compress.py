"""`tnjax compress` from end to end, and what it says to bad input."""

import json
import re

import pytest
import yaml

from tests.cli_helpers import without_progress
from tnjax.cli import main

pytestmark = pytest.mark.quick

FACTORY = """
import equinox as eqx, jax, jax.numpy as jnp
from tnjax.nn import Calibration, Task

def model(width=12):
    return eqx.nn.MLP(8, 3, width, 1, key=jax.random.key(0), dtype=jnp.float32)

def task():
    x = jnp.ones((4, 8), jnp.float32)
    return Task(lambda model, x: jnp.mean(jax.vmap(model)(x) ** 2), [x])

def calibration():
    x = jax.random.normal(jax.random.key(1), (16, 8), jnp.float32)
    return Calibration(lambda model, x: jax.vmap(model)(x), [x])

def nothing():
    return None
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "some_models.py").write_text(FACTORY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def run(*words):
    return main(["compress", *words])


def test_a_run_leaves_a_model_and_a_report(here, capsys):
    (here / "config.yaml").write_text("model: {width: 16}\n", encoding="utf-8")
    status = run(
        *("some_models:model", "--layers", "layers.0", "--budget", "60", "--out", "run"),
        *("--config", "config.yaml", "--calibration", "some_models:calibration"),
        *("--batch-sizes", "2"),
    )
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "1 layers, 48 parameters for 128" in said.out
    record = json.loads((here / "run" / "result.json").read_text(encoding="utf-8"))
    (layer,) = record["layers"]
    assert layer["name"] == "layers.0"
    assert layer["num_params"] == record["num_params"] == 48
    (cost,) = layer["costs"]
    assert cost["network"]["batch"] == 2
    assert cost["network"]["forward"] > 0 < cost["dense"]["backward_bytes"]
    page = (here / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    assert "layers.0" in page
    config = yaml.safe_load((here / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert config["budget"] == 60
    assert main(["show", "run"]) == 0
    shown = capsys.readouterr().out
    assert "parameters: 48 for 128" in shown
    assert re.search(r"layers\.0 +linear +16x8 +128 +48 ", shown)

    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import some_models

    from tnjax.nn import load_model

    again = load_model(here / "run" / "model.safetensors", some_models.model(16))
    assert again.layers[0].layout.num_params == 48
    dense = eqx.tree_at(
        lambda m: (m.layers[0].weight, m.layers[0].bias),
        some_models.model(16),
        (again.layers[0].weight, again.layers[0].bias),
    )
    x = jax.random.normal(jax.random.key(2), (8,), jnp.float32)
    assert jnp.allclose(again(x), dense(x), atol=1e-5)


def test_growth_on_the_command_line(here, capsys):
    status = run(
        *("some_models:model", "--layers", "layers.*", "--budget", "0.7", "--out", "run"),
        *("--task", "some_models:task", "--steps", "1", "--final-steps", "1"),
        *("--batch-sizes", "1", "--method", "grow"),
    )
    said = capsys.readouterr()
    assert status == 0, said.err
    record = json.loads((here / "run" / "result.json").read_text(encoding="utf-8"))
    assert record["num_params"] <= 0.7 * record["dense_params"]
    assert len(record["path"]) > 1
    assert "Growth" in (here / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["some_models"], "expected module:function"),
        (["no_such_module_here:make"], "cannot be imported"),
        (["some_models:no_such"], "has no 'no_such'"),
        (["some_models:model", "--task", "some_models:nothing"], "returned NoneType, not Task"),
        (["some_models:model", "--config", "bad.yaml"], "expected the keys model, task"),
        (["some_models:model", "--config", "wide.yaml"], "the call failed"),
        (["some_models:model", "--layers", "conv*"], "no layer is named 'conv\\*'"),
        (["some_models:model", "--budget", "3"], "less than rank one"),
    ],
)
def test_bad_input_is_one_line(here, capsys, words, message):
    (here / "bad.yaml").write_text("width: 3\n", encoding="utf-8")
    (here / "wide.yaml").write_text("model: {height: 3}\n", encoding="utf-8")
    base = {"--layers": "layers.0", "--budget": "60", "--out": "run"}
    for flag, value in base.items():
        if flag not in words:
            words = [*words, flag, value]
    assert run(*words) == 2
    said = without_progress(capsys.readouterr().err)
    assert said.count("\n") == 1
    assert re.search(message, said)
    assert not (here / "run").exists()
