"""The figures of the study of ε: scores over ε, every seed's and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from model.figures import style
from model.words import Say, english

Floats = NDArray[np.floating]

# Reddish purple of Okabe & Ito (2008), as light as style.py's: this network is none of the pair.
COLOR = "#C0699B"
HEADROOM = 0.12  # of a panel's height, for what is written above a line


class Line(NamedTuple):
    """One score."""

    name: str
    values: Floats  # (E, S), a row for each ε and a column for each seed
    label: str = ""  # written at its end
    dashed: bool = False


class Panel(NamedTuple):
    """Scores on one axis."""

    title: str
    lines: Sequence[Line]
    percent: bool = False  # they are shares
    from_zero: bool = False  # where its axis begins


def extent(panel: Panel) -> tuple[float, float]:
    """From where to where a panel's axis goes: all points, and some room on both sides."""
    low = 0.0 if panel.from_zero else min(float(line.values.min()) for line in panel.lines)
    high = max(float(line.values.max()) for line in panel.lines)
    room = HEADROOM * ((high - low) or abs(high) or 1.0)
    return low if panel.from_zero else low - room, high + 2 * room


def scores(
    epsilons: Floats, seeds: Sequence[int], panels: Sequence[Panel], say: Say = english
) -> go.Figure:
    """Scores over ε in panels over one another that share the axis of ε.

    Args:
        epsilons: ``(E,)``, ascending.
        seeds: what the S columns of each line's values are called.
        panels: from the top.
        say: the reader's language.
    """
    figure = go.Figure()
    layout = {}
    for i, panel in enumerate(panels):
        axis = f"y{i + 1}" if i else "y"
        hover = "ε = %{x}: %{y:.1%}" if panel.percent else "ε = %{x}: %{y:.4f}"
        for line in panel.lines:
            dash, symbol = ("dash", "circle-open") if line.dashed else ("solid", "circle")
            mean = line.values.mean(axis=1)
            name = say("{score}, mean", score=line.name)
            figure.add_scatter(
                x=epsilons,
                y=mean,
                yaxis=axis,
                mode="lines",
                name=name,
                line={"color": COLOR, "width": 2, "dash": dash},
                hovertemplate=f"{hover}<extra>{name}</extra>",
            )
            for seed, values in zip(seeds, line.values.T, strict=True):
                name = say("{score}, seed {seed}", score=line.name, seed=seed)
                figure.add_scatter(
                    x=epsilons,
                    y=values,
                    yaxis=axis,
                    mode="markers",
                    name=name,
                    marker={"size": 7, "symbol": symbol, "color": style.translucent(COLOR, 0.75)},
                    cliponaxis=False,
                    hovertemplate=f"{hover}<extra>{name}</extra>",
                )
            if line.label:
                figure.add_annotation(
                    x=epsilons[-1],
                    y=line.values[-1].max(),
                    yref=axis,
                    text=line.label,
                    showarrow=False,
                    xanchor="right",
                    yanchor="bottom",
                    yshift=5,
                )
        top = 1 - i / len(panels)
        layout["yaxis" + axis[1:]] = {
            "domain": [top - 1 / len(panels) + 0.04, top],
            "title": {"text": panel.title},
            "range": extent(panel),
            "nticks": 5,
            "tickformat": ".0%" if panel.percent else "",
        }
    margin = 0.03 * float(epsilons[-1] - epsilons[0])
    style.apply(
        figure,
        height=200 * len(panels),
        showlegend=False,
        xaxis={
            "anchor": f"y{len(panels)}" if len(panels) > 1 else "y",
            "title": {"text": "ε"},
            "range": [epsilons[0] - margin, epsilons[-1] + margin],
            "tickvals": epsilons,
            "tickangle": 0,
            "zeroline": False,
        },
        **layout,
    )
    figure.update_layout(margin={"t": 16})  # there is no legend
    return figure
