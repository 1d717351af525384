"""What all figures share: the two classifiers' colours, and a layout for light and dark pages."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

# Vermilion and blue of Okabe & Ito (2008), distinguishable in every common colour blindness, a
# little lighter than printed so that both reach 3:1 against white and against Gradio's dark page.
UNSMOOTHED = "#D9632B"
SMOOTHED = "#2F86C6"
NEUTRAL = "#7A818C"
COLORS = {"unsmoothed": UNSMOOTHED, "smoothed": SMOOTHED}
FONT = "IBM Plex Sans, system-ui, PingFang SC, Microsoft YaHei, sans-serif"  # as on the page
GRID = "rgba(128, 134, 145, 0.25)"


def translucent(color: str, alpha: float) -> str:
    """A ``#RRGGBB`` colour as ``rgba(…)`` with an opacity from 0 to 1."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha})"


def apply(figure: go.Figure, *, height: int = 360, **layout: Any) -> go.Figure:
    """Give ``figure`` the shared look: see-through, mid-grey text and grid, a legend on top.

    Args:
        figure: changed in place and returned.
        height: pixels.
        layout: further arguments of ``update_layout``.
    """
    figure.update_layout(
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": NEUTRAL, "size": 13, "family": FONT},
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"namelength": -1},
        dragmode=False,  # a finger that scrolls the page must not zoom the figure
        **layout,
    )
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "automargin": True}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure
