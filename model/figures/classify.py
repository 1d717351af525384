"""The figure of the Classify tab: both distributions over the breeds, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from model.figures import style

LOG_FLOOR = 1e-6


def distributions(
    probabilities: NDArray[np.floating],
    names: Sequence[str],
    labels: Sequence[str],
    *,
    top: int | None = 6,
    logarithmic: bool = False,
) -> go.Figure:
    """Two probability distributions as grouped horizontal bars, the most probable class on top.

    Args:
        probabilities: ``(2, N)``, the unsmoothed classifier first.
        names: the N classes.
        labels: what the legend calls the two classifiers.
        top: how many classes to show, by the larger of both probabilities; ``None`` for all.
        logarithmic: a logarithmic axis from ``LOG_FLOOR`` to 1 instead of a linear one.
    """
    order = np.argsort(-probabilities.max(axis=0), kind="stable")[:top]
    figure = go.Figure()
    for row, label, color in zip(probabilities, labels, style.COLORS.values(), strict=True):
        shown = row[order]
        figure.add_bar(
            y=[names[i] for i in order],
            x=np.maximum(shown, LOG_FLOOR) if logarithmic else shown,
            customdata=shown,
            name=label,
            orientation="h",
            marker={"color": color, "line": {"width": 0}},
            text=[f"{p:.1%}" if p >= 0.001 else "<0.1%" for p in shown],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{customdata:.3%}<extra>" + label + "</extra>",
        )
    style.apply(
        figure,
        height=110 + 46 * len(order) if len(order) <= 10 else 110 + 30 * len(order),
        barmode="group",
        bargap=0.28,
        bargroupgap=0.06,
        legend_traceorder="normal",
    )
    figure.update_yaxes(autorange="reversed", gridcolor="rgba(0,0,0,0)")
    if logarithmic:
        figure.update_xaxes(
            type="log",
            range=[np.log10(LOG_FLOOR), 0.9],  # room for the labels beyond 1
            tickvals=[1e-6, 1e-4, 1e-2, 1],
            ticktext=["10⁻⁶", "10⁻⁴", "1%", "100%"],
        )
    else:
        figure.update_xaxes(range=[0, 1.13], tickvals=[0, 0.25, 0.5, 0.75, 1], tickformat=".0%")
    return figure
