"""The toy in a real browser: its numbers are Python's, and no hand or key can break it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import pytest
import torch

from model.loss import LabelSmoothingCrossEntropy
from model.toy import optimal_confidence, optimal_lead, smooth
from tests.conftest import free_port

TOY = "document.querySelector('.toy').toy"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A page with the toy on its second tab, so that it is mounted late, as in the app."""
    from model.tabs import toy

    with gr.Blocks() as demo:
        with gr.Tab("First"):
            gr.Markdown("Nothing here.")
        with gr.Tab("Toy logits"):
            toy.build()
    _, url, _ = demo.launch(
        prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", server_port=free_port()
    )
    yield url
    demo.close()


class Visit:
    """Open pages, and remember everything that went wrong on them."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address, self.errors, self.contexts = browser, address, [], []

    def __call__(self, query: str = "", **options: Any) -> Any:
        context = self.browser.new_context(**options)
        self.contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        page.goto(self.address + query)
        page.get_by_role("tab", name="Toy logits").click()
        page.locator(".toy svg .softmax").first.wait_for(state="attached")
        return page


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address)
    yield visit
    for context in visit.contexts:
        context.close()
    assert visit.errors == []


def state(page: Any) -> dict[str, Any]:
    return page.evaluate(f"{TOY}.state")


def text(page: Any, name: str) -> str:
    return page.locator(f'.toy [data-text="{name}"]').inner_text()


def random_settings(count: int) -> list[tuple[list[float], int, float]]:
    """Seeded settings of every size, the extremes of ε among them."""
    rng = random.Random(0)
    drawn = []
    for index in range(count):
        n = rng.choice([2, 3, 10, 50, rng.randint(2, 50)])
        spread = rng.choice([0.1, 1, 5, 50])
        epsilon = [0.0, 1.0, 1e-12, 1 - 1e-9, 1e-310][index] if index < 5 else rng.random()
        logits = [max(-50.0, min(50.0, rng.gauss(0, spread))) for _ in range(n)]
        drawn.append((logits, rng.randrange(n), epsilon))
    return drawn


def assert_agree(browser_says: Any, python_says: Any, where: str = "") -> None:
    """The same structure, and every number within 1e-6."""
    if isinstance(python_says, dict):
        assert browser_says.keys() == python_says.keys(), where
        for key, value in python_says.items():
            assert_agree(browser_says[key], value, f"{where}.{key}")
    elif isinstance(python_says, list):
        assert len(browser_says) == len(python_says), where
        for index, value in enumerate(python_says):
            assert_agree(browser_says[index], value, f"{where}[{index}]")
    elif python_says is None:
        assert browser_says is None, where
    else:
        assert browser_says == pytest.approx(python_says, rel=0, abs=1e-6), where


def test_the_browser_computes_what_python_computes(visit: Visit) -> None:
    page = visit()
    settings = random_settings(200)
    answers = page.evaluate(
        "settings => settings.map(s => window.LabelSmoothingToy.compute(...s))", settings
    )
    for answer, setting in zip(answers, settings, strict=True):
        assert_agree(answer, smooth(*setting), str(setting))


def test_the_closed_forms_agree(visit: Visit) -> None:
    page = visit()
    for epsilon in (0.0, 1e-310, 1e-9, 0.1, 0.5, 1 - 1e-12, 1.0):
        for n in (2, 10, 50):
            lead, confidence = page.evaluate(
                "([e, n]) => [window.LabelSmoothingToy.optimalLead(e, n),"
                " window.LabelSmoothingToy.optimalConfidence(e, n)]",
                [epsilon, n],
            )
            assert lead == pytest.approx(optimal_lead(epsilon, n), abs=1e-9)
            assert confidence == pytest.approx(optimal_confidence(epsilon, n), abs=1e-12)


def test_the_lead_curve_is_the_loss_and_its_least_value_the_closed_form(visit: Visit) -> None:
    page = visit()
    for epsilon, n in ((0.0, 10), (0.1, 2), (0.1, 50), (0.7, 5), (1.0, 3)):
        leads = [-30.0, -2.0, 0.0, 1.5, 4.0, 30.0]
        curve = page.evaluate(
            "([leads, n, e]) => leads.map(x => window.LabelSmoothingToy.lossAtLead(x, n, e))",
            [leads, n, epsilon],
        )
        losses = [
            smooth([lead] + [0.0] * (n - 1), 0, epsilon)["smoothed"]["loss"] for lead in leads
        ]
        assert curve == pytest.approx(losses, abs=1e-9)


def test_what_is_shown_is_what_python_says(visit: Visit) -> None:
    page = visit()
    rng = random.Random(1)
    for epsilon in (0.0, 0.37, 1.0):
        page.locator(".epsilon-number").fill(str(epsilon))
        page.locator('[data-preset="random"]').click()
        page.locator(".true-class").select_option(str(rng.randrange(10)))
        now = state(page)
        expected = smooth(now["logits"], now["trueClass"], now["epsilon"])
        assert now["epsilon"] == epsilon
        assert_agree(page.evaluate(f"{TOY}.result"), expected)
        for name, side in (("one-hot", expected["one_hot"]), ("smoothed", expected["smoothed"])):
            assert float(text(page, f"loss-{name}")) == pytest.approx(side["loss"], abs=6e-4)
            assert text(page, f"label-{name}").startswith(f"{side['label_part']:.3f}")
            assert text(page, f"uniform-{name}").startswith(f"{side['uniform_part']:.3f}")


def test_the_words_follow_the_extremes(visit: Visit) -> None:
    page = visit()
    field = page.locator(".epsilon-number")
    assert "minimum at 4.51" in page.locator(".toy svg text.label").first.text_content()
    assert "= 4.51" in text(page, "optimum")  # log 91
    assert "0.910" in text(page, "optimum")
    assert "2.94" in text(page, "classes")  # log 19, N = 2
    assert "6.11" in text(page, "classes")  # log 451, N = 50
    field.fill("0")
    assert "plain cross entropy" in text(page, "verdict")
    assert text(page, "loss-one-hot") == text(page, "loss-smoothed")
    field.fill("1")
    assert "forgets the label" in text(page, "verdict")
    assert "lead is 0 for every N" in text(page, "classes")


def test_training_is_gradient_descent_on_the_loss(visit: Visit) -> None:
    page = visit()
    for _ in range(7):
        page.get_by_role("button", name="+1 step").click()
    now, training = state(page), page.evaluate(f"{TOY}.training")
    assert training["step"] == 7
    label = torch.tensor(now["trueClass"])
    for logits, epsilon in zip(training["logits"], (0.0, now["epsilon"]), strict=True):
        z = torch.tensor(now["logits"], dtype=torch.float64, requires_grad=True)
        descent = torch.optim.SGD([z], lr=now["stepSize"])
        for _ in range(7):
            descent.zero_grad()
            LabelSmoothingCrossEntropy(epsilon)(z, label).backward()
            descent.step()
        assert logits == pytest.approx(z.tolist(), abs=1e-6)


def test_one_hot_runs_away_and_smoothed_settles(visit: Visit) -> None:
    page = visit(reduced_motion="reduce")  # the outcome at once, no animation
    page.get_by_role("button", name="Let it train").click()
    training = page.evaluate(f"{TOY}.training")
    assert (training["step"], training["playing"]) == (10000, False)
    one, two = training["logits"]
    label = state(page)["trueClass"]
    lead = [z[label] - max(z[:label] + z[label + 1 :]) for z in (one, two)]
    assert lead[1] == pytest.approx(math.log(91), abs=1e-6)
    assert lead[0] > 10
    assert "settled" in text(page, "training")
    page.get_by_role("button", name="Rewind").click()
    assert page.evaluate(f"{TOY}.training.step") == 0


def test_the_animation_moves_and_pauses(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="Let it train").click()
    page.wait_for_function(f"{TOY}.training.step > 3")
    page.get_by_role("button", name="Pause").click()
    held = page.evaluate(f"{TOY}.training.step")
    page.wait_for_timeout(300)
    assert page.evaluate(f"{TOY}.training.step") == held
    page.get_by_role("button", name="Go on").click()
    page.wait_for_function(f"{TOY}.training.step > {held}")
    page.locator('[data-preset="undecided"]').click()  # other logits: from the start again
    page.wait_for_function(f"{TOY}.training.step < {held}")


HOSTILE = ["", "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "abc", "--5", "1e", "٣", "9999"]


@pytest.mark.parametrize("selector", [".epsilon-number", ".classes-number", ".fields input"])
def test_no_text_in_a_number_field_breaks_the_page(visit: Visit, selector: str) -> None:
    page = visit()
    field = page.locator(selector).first
    for hostile in HOSTILE:
        before, shown = state(page), field.input_value()
        field.click()
        page.keyboard.press("Control+a")
        page.keyboard.press("Delete")
        page.keyboard.insert_text(hostile)
        now = state(page)
        assert all(map(math.isfinite, [now["epsilon"], *now["logits"]]))
        assert 0 <= now["epsilon"] <= 1
        assert 2 <= len(now["logits"]) <= 50
        assert json.dumps(page.evaluate(f"{TOY}.result"), allow_nan=False)
        assert "NaN" not in page.locator(".toy .sheet").inner_html()
        field.blur()
        assert field.input_value() != ""
        assert float(field.input_value()) == pytest.approx(float(shown)) or now != before
        assert page.evaluate(f"{TOY}.state") == now


def test_a_number_out_of_range_is_answered_in_words_and_loses_nothing(visit: Visit) -> None:
    page = visit()
    before = state(page)
    for selector, values in {
        ".epsilon-number": ["-0.1", "1.1"],
        ".classes-number": ["1", "51", "2.5"],
        ".fields input": ["51", "-1e300"],
    }.items():
        field = page.locator(selector).first
        for value in values:
            field.fill(value)
            assert "keeps the last good one" in text(page, "notice")
            assert field.get_attribute("aria-invalid") == "true"
            assert state(page) == before
        field.blur()
        assert text(page, "notice") == ""


def test_the_keyboard_alone_plays_it(visit: Visit) -> None:
    page = visit()
    page.get_by_role("tab", name="Toy logits").focus()
    reached = []
    for _ in range(40):  # more than the toy has stops
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(() => { const e = document.activeElement;"
                " return e.dataset.action || e.dataset.preset || e.getAttribute('role')"
                " || e.className || e.tagName })()"
            )
        )
        if reached[-1] == "range":  # ε's slider
            page.keyboard.press("ArrowRight")
        elif reached[-1] == "epsilon-number":
            page.keyboard.press("ArrowDown")
        elif reached[-1] == "slider":  # the logits: one stop, arrows from there
            page.keyboard.press("ArrowUp")  # class 2, the true one
            page.keyboard.press("ArrowRight")
            page.keyboard.press("PageDown")  # class 3
            page.keyboard.press("Enter")
        elif reached[-1] == "step":
            page.keyboard.press("Space")
        elif reached[-1] == "step-size":  # the last of the toy
            break
    now = state(page)
    assert {"range", "epsilon-number", "right", "wrong", "undecided", "random"} <= set(reached)
    assert {"reset", "link", "slider", "play", "step", "step-size"} <= set(reached)
    assert now["epsilon"] == pytest.approx(0.1)  # up by 0.01, and down again
    assert now["logits"][2:4] == pytest.approx([3.1, 0.5])
    assert now["trueClass"] == 3
    assert page.evaluate(f"{TOY}.training.step") == 1


def test_a_bar_can_be_dragged(visit: Visit) -> None:
    page = visit()
    handle = page.locator(".toy .slider .handle").nth(4)
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = state(page)["logits"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y - 40, steps=5)  # into the next column: the hand still holds class 4
    page.mouse.move(x, y - 60)
    page.mouse.up()
    page.mouse.move(x, y)
    after = state(page)["logits"]
    plot = page.locator('[data-chart="logits"]').evaluate("e => e.clientHeight") - 36  # its margins
    assert after[4] == pytest.approx(before[4] + 60 * 20 / plot, abs=0.3)
    assert [k for k in range(10) if after[k] != before[k]] == [4]
    assert float(page.locator(".fields input").nth(4).input_value()) == after[4]


def test_the_number_of_classes_keeps_what_it_can(visit: Visit) -> None:
    page = visit()
    first = state(page)
    page.locator(".classes-number").fill("50")
    assert state(page)["logits"][:10] == first["logits"]
    assert page.locator(".toy .slider").count() == 50
    page.locator(".classes-number").fill("2")
    now = state(page)
    assert (now["logits"], now["trueClass"]) == (first["logits"][:2], 1)
    assert page.locator(".toy .slider").count() == 2
    assert page.locator(".true-class option").count() == 2


def test_a_link_reopens_the_same_toy(visit: Visit) -> None:
    page = visit("?other=kept#place")
    page.locator(".epsilon-number").fill("0.25")
    page.locator(".classes-number").fill("7")
    page.locator('[data-preset="random"]').click()
    page.locator(".true-class").select_option("5")
    page.locator(".step-size").select_option("0.5")
    page.wait_for_function("location.search.includes('toy=0.25_5_0.5_')")
    left, url = state(page), urlsplit(page.url)
    assert (parse_qs(url.query)["other"], url.fragment) == (["kept"], "place")
    assert state(visit(f"?{url.query}")) == left
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("!location.search.includes('toy=')")
    assert "other=kept" in page.url
    assert state(page) == state(visit())


@pytest.mark.parametrize(
    "damaged",
    [
        "", "x", "0.1", "0.1_0_1_1", "2_0_1_1_2", "0.1_9_1_1_2", "0.1_0_7_1_2", "NaN_0_1_1_2",
        "0.1_0_1_1e999_2", "0.1_0_1_99_2", "0.1_0.5_1_1_2", "<b>_0_1_1_2", "0.1_0_1" + "_1" * 51,
    ],
)  # fmt: skip
def test_a_damaged_link_gives_the_usual_toy_and_says_so(visit: Visit, damaged: str) -> None:
    page = visit(f"?toy={damaged}")
    assert state(page)["logits"][:3] == [0.5, -1, 3]
    assert "could not be read" in text(page, "notice")


def test_nothing_leaves_the_page_while_the_slider_moves(visit: Visit, address: str) -> None:
    page = visit()
    page.wait_for_timeout(500)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.locator(".epsilon .range").focus()
    for _ in range(50):
        page.keyboard.press("ArrowRight")
    page.locator('[data-preset="wrong"]').click()
    page.wait_for_timeout(600)  # the address is written after a while
    assert state(page)["epsilon"] == pytest.approx(0.6)
    assert page.locator(".toy").get_attribute("data-epsilon") == "0.6"
    assert requests == []


def test_no_foreign_host_is_asked_for_anything(visit: Visit, address: str) -> None:
    page = visit()
    hosts = page.evaluate("performance.getEntriesByType('resource').map(e => new URL(e.name).host)")
    assert {host for host in hosts if host} == {urlsplit(address).netloc}


def test_what_is_drawn_follows_the_slider(visit: Visit) -> None:
    page = visit()
    drawn = [f'[data-chart="{name}"] path.{mark}' for name, mark in [
        ("target-smoothed", "target"), ("gradient-smoothed", "arrows"), ("lead", "curve.smoothed"),
    ]]  # fmt: skip
    still = '[data-chart="target-one-hot"] path.target'
    before = [page.locator(f".toy {mark}").get_attribute("d") for mark in [*drawn, still]]
    page.locator(".epsilon .range").fill("0.8")
    after = [page.locator(f".toy {mark}").get_attribute("d") for mark in [*drawn, still]]
    assert all(a != b for a, b in zip(before[:-1], after[:-1], strict=True))
    assert before[-1] == after[-1]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_sideways(visit: Visit, theme: str, width: int) -> None:
    page = visit(f"?__theme={theme}", viewport={"width": width, "height": 844})
    for n in ("2", "10", "50"):
        page.locator(".classes-number").fill(n)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sticking = page.evaluate(
            "[...document.querySelectorAll('.toy .sheet > *, .toy .panel > *, .toy svg')]"
            ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
        )
        assert sticking == 0


def test_the_endpoint_says_the_same_and_refuses_in_a_sentence(address: str) -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(address, verbose=False)
    logits = [1.0, 3.0, -2.0]
    answer = client.predict(logits, 1, 0.3, api_name="/smooth")
    assert_agree(answer, smooth(logits, 1, 0.3))
    with pytest.raises(AppError, match=r"Epsilon must be a number from 0 to 1\."):
        client.predict(logits, 1, 3, api_name="/smooth")
    with pytest.raises(AppError, match=r"Logit 0 must be a finite number"):
        client.predict(["a", 1.0], 1, 0.1, api_name="/smooth")
