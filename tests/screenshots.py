"""The pictures of README.md and the Space's card, made anew: `python tests/screenshots.py`.

Starts the app, opens each tab in Chromium, light and dark, and writes `assets/*.webp` and
`assets/thumbnail.png`. No photo is on them: the animal on the Classify tab is drawn below, and the
examples, which other packages carry, are hidden.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from model.calibrators import NONE
from model.evaluate import load
from model.figures import style
from model.report import Lab
from tests.conftest import ROOT, chromium
from tests.serving import served

ASSETS = ROOT / "assets"
THEMES = ("light", "dark")
SIZE = {"width": 1280, "height": 860}
SCALE = 1.25  # sharper than the page is wide, and still small
READY = {
    "classify": "#distributions .save",
    "toy": ".toy svg",
    "calibration": "#risk-coverage .save",
    "train": "#activations-smoothed .save",
}
# What to scroll to, so that the picture says what the tab is for.
SHOWN = {"calibration": "text=Does it keep its word?"}


def cat() -> Image.Image:
    """A cat's face of a few ellipses and triangles, 640 × 480: a picture of our own."""
    image = Image.new("RGB", (640, 480), "#B9C7B4")
    draw = ImageDraw.Draw(image)
    fur, dark, inner = "#C98F55", "#8F5E2F", "#E6B8A2"
    for side in (-1, 1):
        x = 320 + side * 105
        draw.polygon([(x - 62, 190), (x + side * 48, 40), (x + 62, 200)], fill=fur)
        draw.polygon([(x - 34, 178), (x + side * 36, 82), (x + 34, 184)], fill=inner)
    draw.ellipse((150, 110, 490, 430), fill=fur)
    for x, length in ((270, 46), (320, 60), (370, 46)):  # stripes
        draw.rounded_rectangle((x - 9, 122, x + 9, 122 + length), 9, fill=dark)
    for side in (-1, 1):
        x = 320 + side * 78
        draw.ellipse((x - 40, 212, x + 40, 282), fill="#E9E48C")
        draw.ellipse((x - 11, 214, x + 11, 280), fill="#1D1E1D")
        draw.ellipse((x - 4, 224, x + 6, 236), fill="white")
        for y in (322, 342, 362):  # whiskers
            tip = (320 + side * 235, y - 30 + 1.6 * (y - 342))
            draw.line([(320 + side * 58, y), tip], fill="#F7F6F2", width=4)
    draw.ellipse((252, 300, 324, 372), fill="#EAD2B4")
    draw.ellipse((316, 300, 388, 372), fill="#EAD2B4")
    draw.polygon([(296, 292), (344, 292), (320, 322)], fill="#A8564A")
    draw.arc((286, 306, 320, 350), 20, 120, fill=dark, width=4)
    draw.arc((320, 306, 354, 350), 60, 160, fill=dark, width=4)
    return image


def opened(page: Page, url: str, theme: str, tab: str) -> None:
    """A tab, with everything drawn."""
    page.goto(f"{url}/?__theme={theme}&tab={tab}")
    page.locator(READY[tab]).first.wait_for(timeout=180_000)
    if tab == "classify":
        page.add_style_tag(content="#examples { display: none !important; }")
        content = io.BytesIO()
        cat().save(content, "PNG")
        page.get_by_label("Remove Image").first.click()
        page.locator("#verdict .empty").wait_for(timeout=60_000)
        file = {"name": "cat.png", "mimeType": "image/png", "buffer": content.getvalue()}
        page.locator("#photo input[type=file]").set_input_files(file)  # type: ignore[arg-type]
        page.locator("#verdict .points").wait_for(timeout=60_000)
        page.locator("#distributions .save").wait_for(timeout=60_000)
    if tab == "toy":
        page.get_by_role("button", name="Let it train").click()
        page.wait_for_function(
            "document.querySelector('.toy').toy.training.step >= 10000", timeout=60_000
        )
    if tab in SHOWN:
        page.locator(SHOWN[tab]).first.evaluate("node => node.scrollIntoView()")
    page.wait_for_timeout(1500)  # Plotly's and the page's fades


def shoot(browser: Browser, url: str) -> None:
    """A picture of each tab in each theme."""
    for theme in THEMES:
        page = browser.new_page(viewport=SIZE, device_scale_factor=SCALE)  # type: ignore[arg-type]
        for tab in READY:
            opened(page, url, theme, tab)
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.convert("RGB").save(ASSETS / f"{tab}-{theme}.webp", quality=80, method=6)
        page.close()


def thumbnail(browser: Browser) -> None:
    """Both reliability diagrams of the test split as one drawing, 1200 × 630 pixels."""

    def at(x: float, y: float) -> str:
        return f"{640 + 480 * x:.1f},{555 - 480 * y:.1f}"

    lines = ""
    for bins, color in zip(
        Lab(load()).reliability(NONE, 15, False), style.COLORS.values(), strict=True
    ):
        filled = bins.photos > 0
        points = list(zip(bins.confidence[filled], bins.accuracy[filled], strict=True))
        path = " ".join(at(x, y) for x, y in points)
        lines += f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="6"/>'
        for point in points:
            x, y = at(*point).split(",")
            lines += f'<circle cx="{x}" cy="{y}" r="9" fill="{color}"/>'
    ends = at(0, 0), at(1, 1)
    page = browser.new_page(viewport={"width": 1200, "height": 630})
    page.set_content(
        f"""<body style="margin:0"><svg width="1200" height="630" font-family="sans-serif">
        <rect width="1200" height="630" fill="#FBFAF7"/>
        <g fill="#262724"><text x="70" y="190" font-size="76" font-weight="700">Label</text>
        <text x="70" y="275" font-size="76" font-weight="700">Smoothing</text>
        <text x="70" y="360" font-size="76" font-weight="700">Lab</text></g>
        <g font-size="30"><text x="70" y="440" fill="{style.UNSMOOTHED}">unsmoothed</text>
        <text x="70" y="484" fill="{style.SMOOTHED}">smoothed</text>
        <text x="880" y="608" fill="#5E5C55" text-anchor="middle">confidence</text>
        <text transform="translate(618 315) rotate(-90)" fill="#5E5C55" text-anchor="middle">right
        </text></g>
        <rect x="640" y="75" width="480" height="480" fill="none" stroke="#C4C0B4"/>
        <polyline points="{ends[0]} {ends[1]}" stroke="#8F8C82" stroke-width="3"
        stroke-dasharray="4 10"/>{lines}</svg></body>"""
    )
    page.screenshot(path=ASSETS / "thumbnail.png")
    page.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = chromium(playwright)
        thumbnail(browser)
        with served(Path(folder)) as server:
            shoot(browser, server.url)
        browser.close()


if __name__ == "__main__":
    main()
