"""How the page looks: paper and ink, so that the only colours are the two classifiers'."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils import sizes
from gradio.themes.utils.fonts import Font, LocalFont

ASSETS = Path(__file__).parents[2] / "assets"
STYLE = [ASSETS / "style.css"]
# Around the tabs, where Gradio applies no STYLE: on a phone less margin, and no dot before the only
# link left at the foot.
FRAME = """@media (max-width: 640px) {
  .gradio-container .main.app { padding: .75rem !important; }
  footer .divider { display: none !important; }
}"""
SCRIPT = (ASSETS / "page.js").read_text(encoding="utf-8")
HEAD = f"<style>{FRAME}</style><script>{SCRIPT}</script>"

# One-hot and smoothed targets of four classes, in the two classifiers' colours.
MARK = (
    '<svg class="mark" viewBox="0 0 44 44" width="44" height="44" aria-hidden="true">'
    '<g fill="#D9632B"><rect x="4" y="2" width="8" height="40" rx="1.5"/></g>'
    '<g fill="#2F86C6"><rect x="14" y="12" width="8" height="30" rx="1.5"/>'
    '<rect x="24" y="33" width="8" height="9" rx="1.5"/>'
    '<rect x="34" y="33" width="8" height="9" rx="1.5"/></g></svg>'
)

# Bundled with Gradio, so nothing is fetched. (The semi-bold there lacks most of the alphabet.)
# Chinese falls through to the system's own.
FONT: list[Font | str] = [
    LocalFont("IBM Plex Sans", weights=(400, 700)),
    "system-ui",
    "PingFang SC",
    "Microsoft YaHei",
    "sans-serif",
]
MONO: list[Font | str] = [
    LocalFont("IBM Plex Mono", weights=(400, 700)),
    "ui-monospace",
    "monospace",
]

INK = gr.themes.Color(
    name="ink",
    c50="#F7F6F2",
    c100="#EFEDE6",
    c200="#DEDBD1",
    c300="#C4C0B4",
    c400="#8F8C82",
    c500="#6B6962",
    c600="#575650",
    c700="#3B3B38",
    c800="#262724",
    c900="#1B1C1B",
    c950="#121313",
)

THEME = gr.themes.Base(
    primary_hue=INK,
    secondary_hue=INK,
    neutral_hue=INK,
    font=FONT,
    font_mono=MONO,
    text_size=sizes.text_md,
    radius_size=sizes.radius_md,
).set(
    body_background_fill="#FBFAF7",
    body_background_fill_dark="#141514",
    body_text_color="*neutral_800",
    body_text_color_dark="#ECEAE4",
    body_text_color_subdued="#5E5C55",
    body_text_color_subdued_dark="#B3B0A6",
    background_fill_primary="#FFFFFF",
    background_fill_primary_dark="#1D1E1D",
    background_fill_secondary="*neutral_100",
    background_fill_secondary_dark="#262725",
    border_color_primary="*neutral_200",
    border_color_primary_dark="#3A3B38",
    color_accent="*neutral_700",
    color_accent_soft="*neutral_100",
    color_accent_soft_dark="#2D2E2B",
    link_text_color="#1F6FAB",
    link_text_color_dark="#7DB8E6",
    link_text_color_hover="#164F7A",
    link_text_color_hover_dark="#A9D2F1",
    link_text_color_visited="#1F6FAB",
    link_text_color_visited_dark="#7DB8E6",
    link_text_color_active="#1F6FAB",
    link_text_color_active_dark="#7DB8E6",
    block_background_fill="#FFFFFF",
    block_background_fill_dark="#1D1E1D",
    block_info_text_color="#5E5C55",
    block_info_text_color_dark="#B3B0A6",
    block_label_text_color="*neutral_700",
    block_label_text_color_dark="#D8D5CC",
    block_title_text_color="*neutral_800",
    block_title_text_color_dark="#ECEAE4",
    block_title_text_weight="600",
    block_shadow="none",
    input_background_fill="#FFFFFF",
    input_background_fill_dark="#262725",
    input_placeholder_color="#5E5C55",
    input_placeholder_color_dark="#B3B0A6",
    slider_color="*neutral_700",
    slider_color_dark="#D8D5CC",
    loader_color="*neutral_700",
    checkbox_background_color_selected="*neutral_800",
    checkbox_background_color_selected_dark="#5E5C55",
    checkbox_border_color="*neutral_400",
    checkbox_border_color_dark="#8F8C82",
    checkbox_border_color_selected="*neutral_800",
    checkbox_border_color_selected_dark="#ECEAE4",
    checkbox_label_background_fill="transparent",
    checkbox_label_background_fill_dark="transparent",
    checkbox_label_background_fill_selected="*neutral_100",
    checkbox_label_background_fill_selected_dark="#2D2E2B",
    checkbox_label_border_color="*neutral_200",
    checkbox_label_border_color_dark="#3A3B38",
    button_primary_background_fill="*neutral_800",
    button_primary_background_fill_dark="#ECEAE4",
    button_primary_background_fill_hover="*neutral_700",
    button_primary_background_fill_hover_dark="#FFFFFF",
    button_primary_text_color="#FFFFFF",
    button_primary_text_color_dark="#141514",
    button_secondary_background_fill="*neutral_100",
    button_secondary_background_fill_dark="#2D2E2B",
    button_secondary_text_color="*neutral_800",
    button_secondary_text_color_dark="#ECEAE4",
)
