"""Protects the tab Train it yourself on a real server and in a real browser."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Page, expect

from model import head
from model.calibration import softmax
from model.evaluate import Evaluation, load
from model.figures import head as figures
from model.head import Bench, Result, Settings
from model.pets import BREEDS
from model.tabs import head as tab
from model.tabs.classify import PhotoStates
from tests.conftest import ROOT, free_port

TAB = "Train it yourself"
DRAWN = "() => document.querySelectorAll('.js-plotly-plot .main-svg').length >= 10"
PHOTO = 17


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return load()


@pytest.fixture(scope="module")
def bench(evaluation: Evaluation) -> Bench:
    return Bench(evaluation.penultimate[0], evaluation.labels)


def activations(evaluation: Evaluation) -> np.ndarray:
    """The unrotated activations ``(2, D)`` of one test photo."""
    return np.stack(
        [p.features[PHOTO].astype(float) @ p.rotation.T + p.mean for p in evaluation.penultimate]
    )


@pytest.fixture(scope="module")
def url(evaluation: Evaluation) -> Iterator[str]:
    """The tab beside another, on which a button puts a photo's activations, as Classify does."""
    with gr.Blocks() as demo:
        with gr.Tab("First"):
            states = PhotoStates(gr.State(None), gr.State(None))
            values = activations(evaluation), softmax(evaluation.logits[:, PHOTO])
            gr.Button("Put a photo").click(
                lambda: values,
                None,
                [states.features, states.probabilities],
                api_visibility="private",
            )
        with gr.Tab(TAB):
            tab.build(evaluation, states)
    _, address, _ = demo.launch(
        prevent_thread_lock=True,
        server_port=free_port(),
        quiet=True,
        css_paths=[ROOT / "assets" / "style.css"],
    )
    yield address
    demo.close()


def finish(bench: Bench, settings: Settings) -> Result:
    *_, last = head.run(bench, settings)
    assert last is not None
    assert last.result is not None
    return last.result


DEFAULTS = ["en", "unsmoothed", 0.1, 0, 1000, -3, 0, False, 40, 0]  # the controls come last


def with_values(**changed: float) -> list:
    names = [
        "language",
        "backbone",
        "epsilon",
        "noise",
        "photos",
        "decay",
        "dropout",
        "stopping",
        "steps",
    ]
    return [changed.get(n, v) for n, v in zip([*names, "seed"], DEFAULTS, strict=True)]


def test_a_program_gets_what_the_head_measures(url: str, bench: Bench) -> None:
    most = int(np.bincount(bench.train_labels).max())
    client = Client(url, verbose=False)
    values = with_values(epsilon=0.3, noise=20, photos=most)
    *_, last = client.submit(*values, api_name="/head_train")
    result = finish(bench, Settings(epsilon=0.3, noise=0.2))
    assert f"{result.test.scores['nll']:.4f}" in last[1]
    assert f"{result.train.scores['nll']:.4f}" in last[1]
    assert "before" not in last[1]
    values = with_values(epsilon=0.0, photos=most)
    *_, again = client.submit(*values, api_name="/head_train")
    assert f"before {result.test.scores['nll']:.4f}" in again[1]


def test_four_visitors_each_get_their_own(url: str, bench: Bench) -> None:
    most = int(np.bincount(bench.train_labels).max())
    answers: dict[float, str] = {}

    def visit(epsilon: float) -> None:
        values = with_values(epsilon=epsilon, photos=most)
        *_, last = Client(url, verbose=False).submit(*values, api_name="/head_train")
        answers[epsilon] = last[1]

    epsilons = [0.0, 0.2, 0.5, 0.9]
    threads = [threading.Thread(target=visit, args=(epsilon,)) for epsilon in epsilons]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    for epsilon in epsilons:
        scores = finish(bench, Settings(epsilon=epsilon)).test.scores
        assert f"{scores['nll']:.4f}" in answers[epsilon]
        assert "before" not in answers[epsilon]


def test_a_value_out_of_range_is_explained(url: str) -> None:
    with pytest.raises(Exception, match="epsilon"):
        tab.settings_of(with_values(epsilon=1.5)[2:], 50)
    assert Client(url, verbose=False).view_api(return_format="dict")["named_endpoints"] == {}


def test_a_run_that_is_not_wanted_any_more_ends(evaluation: Evaluation) -> None:
    """The same check that a newer release makes fail, without the browser's timing."""
    with gr.Blocks() as demo, gr.Tab(TAB):
        tab.build(evaluation)
    train = next(f.fn for f in demo.fns.values() if f.api_name == "head_train")
    want = next(f.fn for f in demo.fns.values() if f.name == "want")
    visit = tab.Visit()
    values = with_values(epsilon=0.0)
    running = train(visit, None, None, None, *values)
    assert next(running)
    want(visit, *values)
    assert next(running), "asking for the same again lets it go on"
    want(visit, *with_values(epsilon=0.5))
    assert list(running) == []


def trace_names(figure: object) -> list[str]:
    return [trace["name"] for trace in json.loads(figure.to_json())["data"]]  # type: ignore[attr-defined]


def test_the_sweep_marks_the_minimum() -> None:
    epsilons = np.array([0.0, 0.1, 0.2])
    mean, sd = np.array([0.3, 0.1, 0.2]), np.full(3, 0.15)
    figure = figures.sweep(epsilons, [("NLL", mean, sd, False), ("ECE", mean[::-1], sd, False)])
    stars = [trace for trace in figure.data if trace.marker.symbol == "star"]
    assert [star.x[0] for star in stars] == [0.1, 0.1]
    band = figure.data[0]
    np.testing.assert_allclose(band.y, [0.45, 0.25, 0.35, 0.05, 0, 0.15])


def test_the_photo_figure_shows_three_distributions() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(37), size=3)
    figure = figures.photo(p, BREEDS, ["a", "b", "c"], top=37)
    assert trace_names(figure) == ["a", "b", "c"]
    for trace, row in zip(figure.data, p, strict=True):
        assert sum(trace.x) == pytest.approx(1)
        assert trace.x[0] == row[BREEDS.index(trace.y[0])]


# In the browser.


def opened(browser: Browser, url: str, theme: str = "light", width: int = 1280) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.errors = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.errors.append(str(error)))  # type: ignore[attr-defined]
    page.goto(f"{url}?__theme={theme}")
    return page


def select(page: Page) -> None:
    page.get_by_role("tab", name=TAB).click()
    expect(page.locator("#head-numbers td").first).to_be_visible(timeout=60_000)
    page.wait_for_function(DRAWN, timeout=60_000)


def slide(page: Page, label: str, share: float) -> None:
    """Press and let go at a share of the slider's width."""
    box = page.get_by_role("slider", name=label).bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


def nll(page: Page) -> tuple[float, float | None]:
    """The measured NLL on the page, and that of the run before."""
    text = page.locator("#head-numbers tr", has_text="NLL").locator("td").nth(1).inner_text()
    now, *before = (float(value) for value in re.findall(r"\d+\.\d+", text))
    return now, before[0] if before else None


def test_moving_epsilon_changes_the_numbers_and_leaves_a_ghost(
    browser: Browser, url: str, bench: Bench
) -> None:
    page = opened(browser, url)
    select(page)
    first, none = nll(page)
    assert first == pytest.approx(finish(bench, Settings()).test.scores["nll"], abs=2e-3)
    assert none is None
    slide(page, "Label smoothing", 0.6)
    expect(page.locator("#head-numbers")).to_contain_text("before", timeout=30_000)
    page.wait_for_timeout(1500)
    now, before = nll(page)
    assert before == first
    shown = page.locator(".head-status").first.inner_text()
    epsilon = re.match(r"ε = (0\.\d+): learned from", shown)
    assert epsilon is not None
    assert 0.5 < float(epsilon[1]) < 0.6
    expected = finish(bench, Settings(epsilon=float(epsilon[1]))).test.scores["nll"]
    assert now == pytest.approx(expected, abs=2e-3)
    ghosts = page.evaluate(
        """() => document.querySelector('#head-curve .js-plotly-plot').data
            .filter(trace => trace.name.includes('before')).length"""
    )
    assert ghosts == 2
    assert page.errors == []  # type: ignore[attr-defined]
    page.close()


def test_dragging_ends_at_the_last_setting(browser: Browser, url: str) -> None:
    page = opened(browser, url)
    select(page)
    box = page.get_by_role("slider", name="Label smoothing").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 5, y)
    page.mouse.down()
    for share in np.linspace(0.1, 0.95, 25):
        page.mouse.move(box["x"] + share * box["width"], y)
        page.wait_for_timeout(15)
    page.mouse.up()
    value = page.get_by_role("slider", name="Label smoothing").input_value()
    assert float(value) > 0.8
    expect(page.locator(".head-status").first).to_contain_text(
        f"ε = {float(value):g}: learned from", timeout=30_000
    )
    page.wait_for_timeout(1000)
    expect(page.locator(".head-status").first).to_contain_text(f"ε = {float(value):g}: learned")
    page.close()


def test_the_keyboard_trains_too(browser: Browser, url: str) -> None:
    page = opened(browser, url)
    select(page)
    page.get_by_role("slider", name="Label smoothing").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".head-status").first).to_contain_text("ε = 0.11: learned", timeout=30_000)
    page.close()


def test_a_photo_on_the_first_tab_is_shown_under_the_head(
    browser: Browser, url: str, evaluation: Evaluation, bench: Bench
) -> None:
    page = opened(browser, url)
    select(page)
    expect(page.locator("#head-photo")).to_be_hidden()
    page.get_by_role("tab", name="First").click()
    page.get_by_role("button", name="Put a photo").click()
    page.wait_for_timeout(1000)
    select(page)
    expect(page.locator("#head-photo .main-svg").first).to_be_visible(timeout=30_000)
    shown = page.evaluate(
        """() => document.querySelector('#head-photo .js-plotly-plot')._fullData
            .map(trace => ({x: Array.from(trace.x), y: Array.from(trace.y)}))"""
    )
    own = head.probabilities_of(
        finish(bench, Settings()).head, evaluation.penultimate[0], activations(evaluation)[0]
    )
    released = softmax(evaluation.logits[:, PHOTO])
    assert len(shown) == 3
    for trace, expected in zip(shown, [*released, own], strict=True):
        for breed, value in zip(trace["y"], trace["x"], strict=True):
            assert value == pytest.approx(expected[BREEDS.index(breed)], abs=2e-3)
    page.close()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_the_sweep_runs_and_the_page_fits(
    browser: Browser, url: str, theme: str, width: int
) -> None:
    page = opened(browser, url, theme, width)
    select(page)
    page.get_by_role("button", name="Sweep").click()
    expect(page.locator("#head-sweep .main-svg").first).to_be_visible(timeout=120_000)
    expect(page.locator("#head-sweep-table tbody tr")).to_have_count(10)
    expect(page.get_by_text("is lowest at ε =")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.errors == []  # type: ignore[attr-defined]
    page.close()


def test_the_geometry_follows_the_breeds(
    browser: Browser, url: str, evaluation: Evaluation
) -> None:
    page = opened(browser, url)
    select(page)
    read = """name => document.querySelector(`#activations-${name} .js-plotly-plot`).data
        .filter(trace => trace.text).map(trace => [trace.name, Array.from(trace.text)])"""
    page.wait_for_function("document.querySelector('#activations-smoothed .main-svg')")
    begin = head.telling_breeds(evaluation)
    shown = dict(page.evaluate(read, "smoothed"))
    assert sorted(shown) == sorted(BREEDS[i] for i in begin)
    for breed, names in shown.items():
        own = evaluation.names[evaluation.labels == BREEDS.index(breed)]
        assert sorted(names) == sorted(own)
    other = next(i for i in range(37) if i not in begin)
    page.get_by_label("Breed 1").click()
    page.get_by_role("option", name=BREEDS[other], exact=True).click()
    page.wait_for_function(
        f"() => ({read})('unsmoothed').some(([name]) => name === {BREEDS[other]!r})",
        timeout=30_000,
    )
    page.close()
