"""Experiments with tables and coordinates, on made-up data."""

import runpy

import pytest


def test_a_field_between_its_coordinates(tmp_path):
    main = runpy.run_path("experiments/continuous_axis.py")["main"]
    words = ["--made-up", "--seeds", "1", "--knots", "4", "4", "4", "--max-seconds", "2"]
    lines = main([*words, "--out", str(tmp_path / "axis.json")])
    assert [line["method"] for line in lines] == ["tnjax", "neighbors", "boosting"]
    assert lines[0]["between"] < lines[1]["between"]
    assert (tmp_path / "axis.json").exists()


def test_anomalies_of_mixed_columns(tmp_path):
    main = runpy.run_path("experiments/anomalies.py")["main"]
    words = ["--tables", "mixed", "--seeds", "1", "--rows", "60"]
    lines = main([*words, "--out", str(tmp_path / "anomalies.json")])
    assert [line["detector"] for line in lines] == ["tnjax", "Chow-Liu", "forest", "svm"]
    assert lines[0]["auc"] > 0.7
    with pytest.raises(SystemExit, match="no table 'other'"):
        main(["--tables", "other"])
