"""The report in a real browser: Chromium moves the slider and reads the page, in light and dark,
on a phone and on a desk. Skipped where Chromium or its driver is not installed."""

import json
import shutil

import numpy as np
import pytest

from tests.helpers import make_result
from tests.report.test_report import png
from tnjax import MoveRecord, Structure, report
from tnjax._report import Curves, HeatMaps, Table

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
VIEWS = [(390, "light"), (390, "dark"), (1400, "light"), (1400, "dark")]

START = Structure.rank_one((4, 5, 6, 7))
MOVES = [
    (MoveRecord("start"), START, 0.8),
    (MoveRecord("grow", (0, 1), 1), START.with_rank((0, 1), 2), 0.5),
    (MoveRecord("grow", (1, 2), 1), Structure.tensor_train((4, 5, 6, 7), (2, 2, 1)), 0.3),
    (MoveRecord("grow", (2, 3), 9), Structure.tensor_train((4, 5, 6, 7), (2, 2, 10)), 0.1),
    (MoveRecord("split", None, 0), Structure.tucker((4, 5, 6, 7), (2, 2, 2, 3)), 0.12),
    (MoveRecord("prune", (3, 4), 1), Structure.tucker((4, 5, 6, 7), 2), 0.15),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if not (BROWSER and DRIVER):
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER)) as driver:
        yield driver


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    report(
        make_result(MOVES),
        path,
        title="a-rather-long-name-of-an-input-file-without-any-place-to-break-it.tensor.npy",
        images={"Original": png(), "Reconstruction": png((0, 80, 160))},
        details={"tensor": "4x5x6x7"},
        sections=[
            Table("Sets", ("set", "entries", "error", "of what"), [("test", 1000, 0.25, "x" * 90)]),
            Curves("Errors", "step", "error", {"train": [(0, 1), (1, 0.1)], "test": [(0, 1)]}),
            HeatMaps("Maps", {"a map": np.outer(np.arange(-3.0, 3.0), np.ones(40))}),
        ],
        options={"target_error": 0.2, "seed": 0},
        versions={"jax": "0"},
    )
    return path.as_uri()


@pytest.fixture(params=VIEWS, ids=lambda view: f"{view[0]}-{view[1]}")
def view(driver, page, request):
    """The page opened afresh in one of the views."""
    width, theme = request.param
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": theme}]},
    )
    driver.get(page)
    return width, theme


def run(driver, script, *arguments):
    return driver.execute_script(script, *arguments)


def slide(driver, step):
    run(
        driver,
        "const s = document.querySelector('input[type=range]'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input', {bubbles: true}))",
        step,
    )


def shown(driver) -> dict:
    """What a reader sees of the step: words, ranks, nodes, where the ring is."""
    return json.loads(
        run(
            driver,
            """
            const seen = (e) => e.getAttribute("display") !== "none";
            const text = (list) => [...list].filter(seen).map((e) => e.textContent.trim());
            return JSON.stringify({
              words: document.querySelector("output").textContent,
              label: document.querySelector("svg.tn-network").getAttribute("aria-label"),
              ranks: text(document.querySelectorAll(".tn-bond, .tn-hyper")),
              nodes: [...document.querySelectorAll(".tn-at")].filter(seen)
                .map((e) => e.querySelector(".tn-name").textContent),
              places: [...document.querySelectorAll(".tn-at")].slice(0, 4)
                .map((e) => e.getAttribute("transform")),
              ring: document.querySelector(".tn-ring").getAttribute("transform"),
              box: Number(document.querySelector(".tn-box").getAttribute("x")),
              row: text(document.querySelectorAll("tr.now th")),
            })
            """,
        )
    )


def test_the_slider_moves_every_picture(driver, view):
    seen = []
    for step, (move, structure, error) in enumerate(MOVES):
        slide(driver, step)
        state = shown(driver)
        seen.append(state)
        assert state["words"].startswith(f"Step {step} of 5: {move}")
        assert state["words"].endswith(f"{structure.num_params:,} parameters, error {error:.4g}")
        assert sorted(state["ranks"]) == sorted(map(str, structure.ranks))
        assert state["nodes"] == [str(k) for k in range(structure.num_nodes)]
        assert f"{structure.num_params:,} parameters" in state["label"]
        assert state["row"] == [str(step)]
    assert len({tuple(state["places"]) for state in seen}) == 1  # nodes do not jump
    assert len({state["ring"] for state in seen}) == len(MOVES)
    boxes = [state["box"] for state in seen]
    assert boxes == sorted(set(boxes))


def test_keys_and_buttons_move_the_slider(driver, view):
    keys = webdriver.Keys
    slider = driver.find_element("css selector", "input[type=range]")
    assert slider.get_attribute("value") == "5"  # the result
    slider.send_keys(keys.ARROW_LEFT)
    assert shown(driver)["words"].startswith("Step 4 of 5")
    assert slider.get_attribute("aria-valuetext") == shown(driver)["words"]
    slider.send_keys(keys.HOME)
    back, forth = driver.find_elements("css selector", ".stepper button")
    assert (back.is_enabled(), forth.is_enabled()) == (False, True)
    forth.click()
    assert shown(driver)["words"].startswith("Step 1 of 5")
    summary = driver.find_element("css selector", "details summary")
    summary.click()
    row = driver.find_element("css selector", "tr[data-step='3']")
    run(driver, "arguments[0].scrollIntoView({block: 'center'})", row)
    row.click()
    assert shown(driver)["words"].startswith("Step 3 of 5")


def test_nothing_runs_over_the_side_and_the_console_is_silent(driver, view):
    width, _ = view
    for summary in driver.find_elements("css selector", "details summary"):
        run(driver, "arguments[0].parentElement.open = true", summary)
    assert run(driver, "return document.documentElement.scrollWidth") <= width
    over = run(
        driver,
        """
        const wide = document.documentElement.clientWidth;
        return [...document.querySelectorAll("main *")].filter((e) =>
          !e.closest(".scroll, svg, .hidden") && e.getBoundingClientRect().right > wide + 1)
          .map((e) => e.outerHTML.slice(0, 80));
        """,
    )
    assert over == []
    assert driver.get_log("browser") == []


def luminance(color: str) -> float:
    channels = [float(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_text_can_be_read_in_both_themes(driver, view):
    _, theme = view
    background = luminance(run(driver, "return getComputedStyle(document.body).backgroundColor"))
    assert (background > 0.5) == (theme == "light")
    pairs = run(
        driver,
        """
        const paper = (e) => {
          for (; e; e = e.parentElement) {
            const color = getComputedStyle(e).backgroundColor;
            if (!/rgba\\(.*, 0\\)|color\\(/.test(color)) return color;
          }
        };
        return [...document.querySelectorAll("h1, h2, h3, p, strong, a, dt, dd, small, th, td, "
          + "figcaption, output, li, summary, .tn-chart text:not(.tn-ink), .tn-size")].map((e) => {
          const style = getComputedStyle(e);
          return [e.closest("svg") ? style.fill : style.color, paper(e), e.outerHTML.slice(0, 60)];
        });
        """,
    )
    assert len(pairs) > 50
    for ink, paper, what in pairs:
        light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, what


def test_what_can_be_pressed_is_large_enough_for_a_finger(driver, view):
    for button in driver.find_elements("css selector", ".stepper button"):
        assert min(button.size["width"], button.size["height"]) >= 44


def test_pictures_are_loaded_and_named(driver, view):
    images = run(
        driver, "return [...document.images].map((e) => [e.alt, e.complete, e.naturalWidth])"
    )
    assert len(images) == 2 + 1 + 4
    assert all(alt and complete and width > 0 for alt, complete, width in images)
