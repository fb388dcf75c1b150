"""The command line: run folders, what is printed, and the refusal of bad input."""

import base64
import contextlib
import csv
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.io
import yaml
from PIL import Image

import tnjax
from tests.cli_helpers import check_refusal, run, snapshot, strict_json, without_progress
from tests.helpers import dense_oracle
from tnjax import Structure, load, load_metadata
from tnjax._report import run as _run
from tnjax.cli import main
from tnjax.io import plan_reshape

pytestmark = pytest.mark.quick

FILES = {
    "checkpoints",
    "network.safetensors",
    "archive.safetensors",
    "result.json",
    "path.csv",
    "config.yaml",
    "report.html",
    "network.svg",
    "path.svg",
}
IMAGE_FILES = {"original.png", "reconstruction.png", "difference.png"}


def picture() -> np.ndarray:
    """A bright corner on a slope: 8 x 8 greys of low, but not lowest, rank."""
    slope = np.add.outer(20 * np.arange(8), 8 * np.arange(8))
    slope[:3, :2] += 60
    return slope.astype(np.uint8)


def tensor(dims=(4, 4, 4), rank=2) -> np.ndarray:
    """A tensor train of N(0, 1) cores."""
    rng = np.random.default_rng(1)
    structure = Structure.tensor_train(dims, rank)
    cores = [rng.standard_normal(structure.core_shape(k)) for k in range(structure.num_nodes)]
    return dense_oracle(structure, cores)


def relative_error(x, y) -> float:
    return float(np.linalg.norm(np.asarray(x) - y) / np.linalg.norm(y))


def dense(folder) -> np.ndarray:
    """The network of a run folder as an array, contracted by NumPy."""
    network = load(folder / "network.safetensors")
    return dense_oracle(network.structure, [np.asarray(core) for core in network.cores])


class Run:
    """A finished run: its folder, result and what it printed."""

    def __init__(self, folder, source, *arguments):
        self.folder, self.source = folder, source
        command = ("decompose", source, *arguments, "--out", folder)
        self.status, self.out, self.err = run(*command)
        if self.status == 0:
            self.result = strict_json(folder / "result.json")


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Run:
    """The run that most tests look at: an image in 2x2x2x2x2x2."""
    folder = tmp_path_factory.mktemp("found")
    Image.fromarray(picture()).save(folder / "a <b> & 'c'.png")
    return Run(
        folder / "run",
        folder / "a <b> & 'c'.png",
        *("--reshape", "2,2,2,2,2,2", "--target-error", "0.03", "--seed", "3"),
    )


@pytest.fixture
def files(tmp_path):
    """A folder with a sound image and a sound array."""
    Image.fromarray(picture()).save(tmp_path / "x.png")
    np.save(tmp_path / "x.npy", tensor())
    return tmp_path


# A run folder -------------------------------------------------------------------------------


def test_decompose_prints_one_line_and_is_quiet_off_a_terminal(found):
    assert found.status == 0
    assert found.err == ""
    assert found.out.count("\n") == 1
    assert f"{found.result['num_params']} parameters" in found.out
    assert f"{found.result['error']:.4g}" in found.out
    assert str(found.folder / "report.html") in found.out


def test_a_run_folder_holds_all_its_files_and_nothing_is_left_beside_it(found):
    assert {p.name for p in found.folder.iterdir()} == FILES | IMAGE_FILES
    assert {p.name for p in found.folder.parent.iterdir()} == {"run", found.source.name}


def test_axes_of_an_image_have_names(found):
    names = [f"{axis}.{digit}" for axis in ("row", "column") for digit in (1, 2, 3)]
    assert found.result["tensor"]["modes"] == names
    for file in ("network.svg", "report.html"):
        text = (found.folder / file).read_text()
        assert all(f">{name}<" in text for name in names)


def test_names_of_axes_may_be_given(tmp_path):
    np.save(tmp_path / "x.npy", tensor())
    words = ("--max-params", "20", "--max-steps", "1", "--reshape", "4,2,2,4")
    done = Run(tmp_path / "run", tmp_path / "x.npy", *words, "--names", "time, sensor,color")
    assert done.result["tensor"]["modes"] == ["time", "sensor.1", "sensor.2", "color"]
    for names in ("time,sensor", "a,a,b", "a,,b"):
        words = ("decompose", tmp_path / "x.npy", "--max-params", "9", "--names", names)
        check_refusal(tmp_path, *words, "--out", tmp_path / "no")


@pytest.mark.usefixtures("double")
def test_the_network_has_the_stated_error_against_the_input(found):
    x = picture().astype(float)
    error = relative_error(dense(found.folder).reshape(8, 8), x)
    assert error <= 0.03
    assert found.result["error"] == pytest.approx(error, rel=1e-9)
    assert found.result["error_in_source_shape"] == pytest.approx(error, rel=1e-9)


@pytest.mark.usefixtures("double")
def test_result_json_describes_the_network(found):
    result, network = found.result, load(found.folder / "network.safetensors")
    assert result["format"] == "tnjax.result"
    assert result["version"] == 1
    assert result["status"] == "target_reached"
    structure = Structure.from_json(json.dumps(result["structure"]))
    assert network.structure == structure
    assert network.dtype == np.float64
    assert result["num_params"] == structure.num_params == sum(c.size for c in network.cores)
    assert result["compression_ratio"] == pytest.approx(64 / structure.num_params)
    assert 0 <= result["compile_seconds"] <= result["seconds"]
    assert result["tensor"] == load_metadata(found.folder / "network.safetensors")
    assert result["tensor"]["source_shape"] == [8, 8]
    assert result["tensor"]["dims"] == [2] * 6
    assert result["versions"]["tnjax"] == tnjax.__version__


@pytest.mark.usefixtures("double")
def test_path_csv_agrees_with_result_json(found):
    text = (found.folder / "path.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == found.result["steps"] > 1
    assert [int(row["step"]) for row in rows] == list(range(len(rows)))
    assert rows[0]["move"] == "start"
    assert int(rows[0]["num_params"]) == 12
    assert float(rows[-1]["error"]) == found.result["error"]
    assert int(rows[-1]["num_params"]) == found.result["num_params"]
    for row in rows:
        edges = {
            tuple(map(int, name.split("-"))): rank
            for name, rank in json.loads(row["edges"]).items()
        }
        legs = tuple(map(tuple, json.loads(row["legs"])))
        structure = Structure((2,) * 6, legs, edges)
        assert structure.num_params == int(row["num_params"])
        assert float(row["compression_ratio"]) == pytest.approx(structure.compression_ratio)
    assert edges == dict(load(found.folder / "network.safetensors").structure.edges)


def test_config_yaml_holds_every_option(found):
    config = yaml.safe_load((found.folder / "config.yaml").read_text(encoding="utf-8"))
    assert config["command"] == "decompose"
    assert config["input"] == str(found.source)
    assert config["out"] == str(found.folder)
    assert config["reshape"] == "2,2,2,2,2,2"
    assert config["target_error"] == 0.03
    assert config["max_params"] is None
    assert config["seed"] == 3
    assert config["dtype"] == "float64"
    assert config["cache"] == "none"


def test_report_html_is_self_contained(found):
    text = (found.folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg\")|<link|@import|url\(", text)
    sources = re.findall(r'src="([^"]*)"', text)
    factors = sum(bool(legs) for legs in found.result["structure"]["legs"])
    assert len(sources) == text.count("<img") == 3 + factors  # images, and cores with modes
    pictures = []
    for source in sources:
        head, data = source.split(",")
        assert head == "data:image/png;base64"
        pictures.append(base64.b64decode(data, validate=True))
        assert pictures[-1].startswith(b"\x89PNG")
    for name in IMAGE_FILES:
        assert (found.folder / name).read_bytes() in pictures
    assert found.source.name not in text  # it has < and &
    assert "a &lt;b&gt; &amp; &#x27;c&#x27;.png" in text
    assert f"{found.result['num_params']:,}" in text


@pytest.mark.usefixtures("double")
def test_images_show_input_network_and_difference(found):
    def read(name):
        with Image.open(found.folder / name) as image:
            return np.asarray(image).astype(float)

    x, y = picture().astype(float), dense(found.folder).reshape(8, 8)
    np.testing.assert_array_equal(read("original.png"), x)
    assert np.abs(read("reconstruction.png") - np.clip(y, 0, 255)).max() <= 0.5 + 1e-6
    assert np.abs(read("difference.png") - np.abs(x - y)).max() <= 0.5 + 1e-6


def test_the_same_seed_gives_the_same_network(found):
    again = Run(
        found.folder.parent / "again",
        found.source,
        *("--reshape", "2,2,2,2,2,2", "--target-error", "0.03", "--seed", "3"),
    )
    network = "network.safetensors"
    assert (again.folder / network).read_bytes() == (found.folder / network).read_bytes()
    for key in ("error", "structure", "steps", "seed_key"):
        assert again.result[key] == found.result[key]


# Other inputs and options -------------------------------------------------------------------


def test_an_array_within_a_parameter_budget_into_a_folder_that_is_there(files):
    (files / "out").mkdir()
    done = Run(files / "out", files / "x.npy", "--max-params", "26")
    assert done.status == 0
    assert done.err == ""
    assert {p.name for p in done.folder.iterdir()} == FILES
    assert done.result["status"] == "max_params"
    assert done.result["num_params"] <= 26
    assert done.result["num_params"] > 12
    assert done.result["error"] == pytest.approx(relative_error(dense(done.folder), tensor()))


def test_interleaved_digits_and_padding_of_one_of_several_matlab_arrays(tmp_path):
    x = tensor((7, 6))
    scipy.io.savemat(tmp_path / "x.mat", {"other": np.eye(3), "wanted": x})
    done = Run(
        tmp_path / "out",
        tmp_path / "x.mat",
        *("--variable", "wanted", "--reshape", "4,4,4", "--digits", "interleaved"),
        *("--fit", "pad", "--max-params", "32"),
    )
    assert done.status == 0
    plan = plan_reshape((7, 6), (4, 4, 4), digits="interleaved", fit="pad")
    assert done.result["tensor"]["padded_shape"] == [8, 8]
    assert done.result["tensor"]["splits"] == [[2, 2]] * 3
    y = dense(done.folder)
    assert done.result["error"] == pytest.approx(relative_error(y, plan.apply(x)))
    assert done.result["error_in_source_shape"] == pytest.approx(relative_error(plan.undo(y), x))


def test_color_images_in_single_precision_cropped(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    Image.fromarray(x).save(tmp_path / "x.png")
    done = Run(
        tmp_path / "out",
        tmp_path / "x.png",
        *("--reshape", "4,4,3", "--fit", "crop", "--dtype", "float32", "--max-params", "20"),
    )
    assert done.status == 0
    assert load(done.folder / "network.safetensors").dtype == np.float32
    y = dense(done.folder)
    cropped = x[:4].astype(float)
    assert done.result["error"] == pytest.approx(relative_error(y, cropped), rel=1e-4)
    with Image.open(done.folder / "original.png") as image:
        np.testing.assert_array_equal(np.asarray(image), x[:4])
    with Image.open(done.folder / "reconstruction.png") as image:
        found = np.asarray(image).astype(float)
    assert np.abs(found - np.clip(y, 0, 255)).max() <= 0.51


def test_complex_arrays_keep_their_kind(tmp_path):
    x = tensor((3, 3, 3)) + 1j * tensor((3, 3, 3), 1)
    np.save(tmp_path / "x.npy", x)
    done = Run(tmp_path / "out", tmp_path / "x.npy", "--target-error", "0.2")
    assert done.status == 0
    assert load(done.folder / "network.safetensors").dtype == np.complex128
    assert relative_error(dense(done.folder), x) == pytest.approx(done.result["error"])


def test_out_may_be_the_working_folder(files, monkeypatch):
    (files / "here").mkdir()
    monkeypatch.chdir(files / "here")
    status, _, err = run("decompose", "../x.npy", "--max-params", 16, "--out", ".")
    assert (status, err) == (0, "")
    assert {p.name for p in (files / "here").iterdir()} == FILES
    assert {p.name for p in files.iterdir()} == {"here", "x.npy", "x.png"}


def test_out_may_be_a_link_to_an_empty_folder(files):
    (files / "real").mkdir()
    (files / "link").symlink_to("real")
    done = Run(files / "link", files / "x.npy", "--max-params", "16")
    assert (done.status, done.err) == (0, "")
    assert {p.name for p in (files / "link").iterdir()} == FILES


def test_a_terminal_shows_a_line_for_each_step(files):
    from tests.terminal import run_in_terminal  # where there are pseudo-terminals

    (files / "x.npy").rename(files / "[red]x.npy")
    words = ["decompose", "[red]x.npy", "--max-params", "26", "--out", "out", "--cache", "none"]
    done = run_in_terminal(words, 100, folder=files)
    assert done.status == 0
    assert "[red]x.npy: 4x4x4" in done.text
    with (files / "out" / "path.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            move = " ".join(filter(None, (row["move"], row["edge"])))
            assert re.search(rf"{move}.* {row['num_params']} ", done.text), row


def test_a_run_needs_no_matplotlib(files, monkeypatch):
    for module in ("matplotlib", "matplotlib.pyplot", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    done = Run(files / "out", files / "x.npy", "--max-params", "16")
    assert (done.status, done.err) == (0, "")
    assert {p.name for p in done.folder.iterdir()} == FILES


# report -------------------------------------------------------------------------------------


def test_report_is_written_again_from_the_run_folder(tmp_path, found):
    before = snapshot(found.folder)
    status, out, err = run("report", found.folder, "--out", tmp_path / "again.html")
    assert (status, err) == (0, "")
    assert out == f"{tmp_path / 'again.html'}\n"
    assert (tmp_path / "again.html").read_bytes() == before["report.html"]
    assert run("report", found.folder)[:2] == (0, f"{found.folder / 'report.html'}\n")
    assert snapshot(found.folder) == before


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_report_refuses_what_is_no_run(tmp_path, found, damage):
    path = tmp_path / "run"
    if damage != "missing":
        path.mkdir()
    if damage == "cut":
        for name in ("network.safetensors", "archive.safetensors", "result.json"):
            data = (found.folder / name).read_bytes()
            (path / name).write_bytes(data[: len(data) // 2])
    check_refusal(tmp_path, "report", path)


# show ---------------------------------------------------------------------------------------


def test_show_prints_what_was_found(found):
    before = snapshot(found.folder)
    for path in (found.folder, found.folder / "network.safetensors"):
        status, out, err = run("show", path)
        assert (status, err) == (0, "")
        assert "dims=2x2x2x2x2x2" in out
        assert str(found.result["error"]) in out
        assert "target_reached" in out
        assert found.source.name in out
    assert snapshot(found.folder) == before


def test_show_reads_a_network_without_a_run(tmp_path, found):
    path = tmp_path / "alone.safetensors"
    path.write_bytes((found.folder / "network.safetensors").read_bytes())
    status, out, err = run("show", path)
    assert (status, err) == (0, "")
    assert "dims=2x2x2x2x2x2" in out


@pytest.mark.parametrize("damage", ["missing", "empty", "no network", "no safetensors", "cut"])
def test_show_refuses_what_is_no_run(tmp_path, found, damage):
    path = tmp_path / "run"
    if damage != "missing":
        path.mkdir()
    if damage == "no network":
        (path / "result.json").write_text("{}")
    if damage == "no safetensors":
        (path / "network.safetensors").write_text("text")
    if damage == "cut":
        data = (found.folder / "network.safetensors").read_bytes()
        (path / "network.safetensors").write_bytes(data[:-1])
    check_refusal(tmp_path, "show", path)


@pytest.mark.parametrize("text", ["[]", "7", "{", "", '{"status": '])
def test_show_refuses_a_damaged_result(tmp_path, found, text):
    (tmp_path / "run").mkdir()
    data = (found.folder / "network.safetensors").read_bytes()
    (tmp_path / "run" / "network.safetensors").write_bytes(data)
    (tmp_path / "run" / "result.json").write_text(text)
    assert "result.json" in check_refusal(tmp_path, "show", tmp_path / "run")


# Bad input ----------------------------------------------------------------------------------


def array(name, values):
    return lambda folder: np.save(folder / name, np.asarray(values))


def data(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def archive(folder):
    np.savez(folder / "x.npz", first=tensor(), second=np.eye(3))


def cut(name, save):
    def make(folder):
        save(folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return make


def noise(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)).save(path)


TARGET = ("--target-error", "0.1")

# What to put into the folder, the input, options, and a word of the message.
BAD_INPUT = {
    "missing file": (None, "nowhere.npy", TARGET, "nowhere.npy"),
    "a folder": (lambda folder: (folder / "d.npy").mkdir(), "d.npy", TARGET, "d.npy"),
    "unknown kind": (data("x.txt", b"1 2 3"), "x.txt", TARGET, "txt"),
    "not an image": (data("text.png", b"only text"), "text.png", TARGET, "text.png"),
    "half a png": (cut("half.png", noise), "half.png", TARGET, "half.png"),
    "half a tiff": (cut("half.tif", noise), "half.tif", TARGET, "half.tif"),
    "half an npy": (
        cut("half.npy", lambda path: np.save(path, tensor())),
        "half.npy",
        TARGET,
        "half.npy",
    ),
    "text as npy": (data("text.npy", b"only text"), "text.npy", TARGET, "text.npy"),
    "empty file as mat": (data("empty.mat", b""), "empty.mat", TARGET, "empty.mat"),
    "nan": (array("nan.npy", [[1.0, np.nan], [2.0, 3.0]]), "nan.npy", TARGET, "1 of 4 .*NaN"),
    "infinity": (array("inf.npy", [[np.inf, 1], [-np.inf, 2]]), "inf.npy", TARGET, "2 of 4 "),
    "complex nan": (array("nan.npy", [[1j, np.nan * 1j]]), "nan.npy", TARGET, "NaN"),
    "zero": (array("zero.npy", np.zeros((3, 3))), "zero.npy", TARGET, "zero"),
    "text": (array("text.npy", ["a", "b"]), "text.npy", TARGET, "numbers"),
    "a number": (array("scalar.npy", 3.0), "scalar.npy", TARGET, r"\[\]"),
    "a vector": (array("vector.npy", [1.0, 2.0]), "vector.npy", TARGET, "one mode"),
    "nothing": (
        array("empty.npy", np.zeros((0, 3))),
        "empty.npy",
        TARGET,
        "empty|positive|no entries",
    ),
    "nothing, padded": (
        array("empty.npy", np.zeros((0, 3))),
        "empty.npy",
        ("--reshape", "6", "--fit", "pad", *TARGET),
        "empty|positive|entries",
    ),
    "too large for float32": (
        array("large.npy", [[1e50, 1e40], [1e30, 1e50]]),
        "large.npy",
        ("--dtype", "float32", *TARGET),
        "float32|infinit",
    ),
    "several arrays": (archive, "x.npz", TARGET, "first, second"),
    "unknown array": (archive, "x.npz", ("--variable", "third", *TARGET), "third"),
    "wrong product": (None, "x.png", ("--reshape", "4,4,5", *TARGET), "80.*64"),
    "too small to pad": (
        None,
        "x.png",
        ("--reshape", "4,4", "--fit", "pad", *TARGET),
        "4 x 4",
    ),
    **{
        f"reshape {text!r}": (None, "x.png", (f"--reshape={text}", *TARGET), "--reshape")
        for text in ("4,x", "", "4;16", "4,,16", "0,64", "-8,-8", "8x8", "4.0,16", "nan")
    },
    **{
        f"target error {text}": (None, "x.png", ("--target-error", text), "--target-error")
        for text in ("0", "-0.1", "nan", "inf")
    },
    **{
        f"{name} {text}": (None, "x.png", (f"--{name}", text, *TARGET), name)
        for name, text in (
            ("max-params", "0"),
            ("max-params", "-5"),
            ("max-steps", "0"),
            ("max-seconds", "nan"),
            ("max-seconds", "-1"),
        )
    },
    "no criterion": (None, "x.png", (), "--target-error.*--max-params"),
    "no criterion but time": (None, "x.png", ("--max-seconds", "1"), "--target-error"),
    "max-params below rank one": (None, "x.png", ("--max-params", "15"), "16 parameters.*15"),
    "unknown strategy": (None, "x.png", ("--strategy", "annealing", *TARGET), "annealing.*greedy"),
    "negative power": (None, "x.png", ("--power", "-1", *TARGET), "power"),
    "no increment": (None, "x.png", ("--increment", "0", *TARGET), "increment"),
    "no rank": (None, "x.png", ("--max-rank", "0", *TARGET), "max_rank|max-rank"),
    "seed out of range": (None, "x.png", ("--seed", str(10**30), *TARGET), "seed"),
    "little memory": (
        array("large.npy", np.random.default_rng(0).random((16, 16, 16)) - 0.5),
        "large.npy",
        ("--memory-limit", "1KiB", *TARGET),
        "1 KiB",
    ),
    **{
        f"memory limit {text!r}": (None, "x.png", (f"--memory-limit={text}", *TARGET), "limit")
        for text in ("", "lots", "0", "-1GiB", "1XiB", "nan", "inf")
    },
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_ends_in_one_line_and_nothing_written(files, name):
    make, source, options, word = BAD_INPUT[name]
    if make is not None:
        make(files)
    err = check_refusal(files, "decompose", files / source, *options, "--out", files / "out")
    assert re.search(word, err), err


def test_too_little_memory_is_refused_before_anything_is_fitted(files, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("fitted")

    monkeypatch.setattr(tnjax.Greedy, "init", fail)
    np.save(files / "large.npy", np.ones((16, 16, 16)))
    options = ("--memory-limit", "1KiB", *TARGET, "--out", files / "out")
    check_refusal(files, "decompose", files / "large.npy", *options)


def test_a_folder_that_is_not_empty_is_left_alone(files):
    (files / "out" / "deep").mkdir(parents=True)
    (files / "out" / "deep" / "precious.txt").write_text("precious")
    options = (*TARGET, "--out", files / "out")
    assert "empty" in check_refusal(files, "decompose", files / "x.npy", *options)


def test_a_file_in_the_place_of_the_folder_is_left_alone(files):
    (files / "out").write_text("precious")
    options = (*TARGET, "--out", files / "out")
    assert "file" in check_refusal(files, "decompose", files / "x.npy", *options)


@pytest.mark.parametrize("parent", ["nowhere", "nowhere/at/all", "x.npy"])
def test_a_folder_without_a_parent_is_refused(files, parent):
    options = (*TARGET, "--out", files / parent / "out")
    assert parent in check_refusal(files, "decompose", files / "x.npy", *options)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("decompse",),
        ("decompose",),
        ("decompose", "{}/x.npy", "--target-error", "0.1"),
        ("decompose", "{}/x.npy", "--target-error", "0.1", "--out", "{}/out", "--colour", "red"),
        ("decompose", "{}/x.npy", "--target-error", "low", "--out", "{}/out"),
        ("decompose", "{}/x.npy", "--max-params", "1.5", "--out", "{}/out"),
        ("decompose", "{}/x.npy", "--max-params", "9", "--out", "{}/out", "--digits", "random"),
        ("show",),
        ("show", "{}", "{}"),
    ],
    ids=" ".join,
)
def test_arguments_that_cannot_be_parsed_exit_with_status_2(files, arguments):
    before = snapshot(files)
    with contextlib.redirect_stderr(io.StringIO()) as err, pytest.raises(SystemExit) as end:
        main([word.format(files) for word in arguments])
    assert end.value.code == 2
    assert err.getvalue() != ""
    assert "Traceback" not in err.getvalue()
    assert snapshot(files) == before


# Ends that nobody wants ---------------------------------------------------------------------


def test_a_failed_write_leaves_nothing_half_written_and_can_be_resumed(files, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    command = ["decompose", str(files / "x.npy"), "--max-params", "16", "--cache", "none"]
    command += ["--out", str(files / "out")]
    with monkeypatch.context() as full:
        full.setattr(_run, "save", fail)
        assert main(command) == 2
    lines = without_progress(capsys.readouterr().err).splitlines()
    assert len(lines) == 1
    assert "No space" in lines[0]
    assert [path.name for path in (files / "out").iterdir()] == ["checkpoints"]
    assert main([*command, "--resume"]) == 0
    assert {path.name for path in (files / "out").iterdir()} >= FILES


def test_an_interruption_leaves_nothing_behind(files, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(tnjax, "search", interrupt)
    before = snapshot(files)
    options = ("--max-params", "16", "--out", files / "out")
    status, out, err = run("decompose", files / "x.npy", *options)
    assert (status, out) == (130, "")
    assert "interrupted" in err
    assert err.count("\n") == 1
    assert snapshot(files) == before


# As a program -------------------------------------------------------------------------------


def program(*arguments):
    command = [sys.executable, "-m", "tnjax.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_help_teaches():
    found = program("--help")
    assert (found.returncode, found.stderr) == (0, "")
    for word in ("decompose", "show", "Example", "--target-error", "--out"):
        assert word in found.stdout
    status, out, _ = run("decompose", "--help")
    assert status == 0
    out = " ".join(out.split())  # whatever the width of the screen
    for word in ("INPUT", "--reshape", "--max-params", "--memory-limit", "not squared", "greedy"):
        assert word in out


def test_the_program_ends_with_status_2_and_no_traceback(files):
    (files / "text.tif").write_bytes(b"II*\0\x08\0\0\0" + b"only text")
    options = (*TARGET, "--out", files / "out", "--cache", "none")
    before = snapshot(files)
    found = program("decompose", files / "text.tif", *options)
    assert found.returncode == 2
    assert found.stdout == ""
    said = without_progress(found.stderr)
    assert said.startswith("tnjax: error: ")
    assert said.count("\n") == 1
    assert snapshot(files) == before


def test_the_report_tells_which_bonds_come_back(tmp_path):
    noise = np.random.default_rng(2).standard_normal((4, 4, 4))
    clean = tensor()
    np.save(
        tmp_path / "x.npy", clean + 0.05 * noise * np.linalg.norm(clean) / np.linalg.norm(noise)
    )
    options = ("--target-error", "0.05", "--stability", "2")
    found = Run(tmp_path / "run", tmp_path / "x.npy", *options)
    assert found.status == 0
    (table,) = [
        s for s in found.result["report"]["sections"] if s.get("title") == "Bonds that come back"
    ]
    assert ["0-1", 2, 1.0] in [row[:3] for row in table["rows"]]
    assert "Bonds that come back" in (tmp_path / "run" / "report.html").read_text()
    check_refusal(
        tmp_path, "decompose", tmp_path / "x.npy", *options[:3], "-1", "--out", tmp_path / "no"
    )
