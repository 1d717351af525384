"""The figures of the Calibration tab: reliability, histograms, risk and coverage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from model.figures import style
from model.words import Say, english

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

NARROWEST_LABELLED = 1 / 20  # bins with their count written on them; beyond, counts collide
MOST_POINTS = 300  # per risk–coverage curve; more than a screen resolves
PERCENT = {"tickformat": ".0%"}


def two_panels(upper: float, title: str, color: str, height: int, say: Say) -> go.Figure:
    """A figure of two panels over one another that share the confidence axis from 0 to 1.

    ``upper`` is the share of the height that the upper panel has. Laid out by hand, which is far
    faster than ``make_subplots``: these figures are redrawn while a slider moves.
    """
    figure = go.Figure()
    style.apply(
        figure,
        height=height,
        title={"text": title, "font": {"color": color, "size": 15}, "x": 0, "xref": "paper"},
        showlegend=False,
        bargap=0,
        xaxis={
            "anchor": "y2",
            "range": [0, 1],
            **PERCENT,
            "title": {"text": say("confidence")},
            "ticks": "outside",  # unseen, they keep both zeros apart
            "tickcolor": "rgba(0,0,0,0)",
        },
        yaxis={"domain": [1 - upper + 0.03, 1]},
        yaxis2={"domain": [0, 1 - upper - 0.03]},
    )
    return figure


def reliability(
    edges: Floats,
    photos: Ints,
    confidence: Floats,
    accuracy: Floats,
    low: Floats,
    high: Floats,
    *,
    title: str,
    color: str,
    say: Say = english,
) -> go.Figure:
    """A reliability diagram: accuracy against confidence, and how many photos each bin has.

    Args:
        edges: ``(bins + 1,)`` of the bins.
        photos: ``(bins,)``, how many are in each.
        confidence: ``(bins,)``, their mean confidence; NaN where there is none.
        accuracy: ``(bins,)``, the share of them that is right; NaN where there is none.
        low: ``(bins,)``, the lower end of the 95 % interval of ``accuracy``.
        high: ``(bins,)``, the upper end.
        title: of the figure.
        color: ``#RRGGBB``.
        say: the reader's language.
    """
    filled = photos > 0
    x, y = confidence[filled], accuracy[filled]
    below, above = low[filled], high[filled]
    figure = two_panels(0.72, title, color, 400, say)
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([above, below[::-1]]),
        fill="toself",
        fillcolor=style.translucent(color, 0.22),
        line={"width": 0},
        mode="lines",
        name=say("95% interval"),
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": style.NEUTRAL, "dash": "dot", "width": 1.5},
        name=say("diagonal"),
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": color, "width": 2},
        marker={"size": 7},
        error_y={
            "array": above - y,
            "arrayminus": y - below,
            "thickness": 1,
            "width": 0,
            "color": color,
        },
        customdata=np.stack([photos[filled], below, above], axis=-1),
        name=say("right"),
        hovertemplate=say(
            "confidence %{x:.1%}<br>right %{y:.1%} (%{customdata[1]:.1%} to %{customdata[2]:.1%})"
            "<br>%{customdata[0]:,} photos<extra></extra>"
        ),
    )
    labelled = bool(np.diff(edges).min() > NARROWEST_LABELLED - 1e-9)
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=photos,
        width=np.diff(edges),
        yaxis="y2",
        marker={
            "color": style.translucent(color, 0.55),
            "line": {"color": style.NEUTRAL, "width": 0.5},
        },
        text=[f"{count:,}" for count in photos] if labelled else None,
        textposition="outside",
        textangle=0 if len(photos) <= 6 else -90,
        cliponaxis=False,
        customdata=np.stack([edges[:-1], edges[1:]], axis=-1),
        name=say("photos"),
        hovertemplate=say(
            "%{y:,} photos from %{customdata[0]:.1%} to %{customdata[1]:.1%}<extra></extra>"
        ),
    )
    figure.update_layout(
        yaxis={"range": [0, 1.02], **PERCENT, "title": {"text": say("right")}},
        yaxis2={
            "range": [0, float(photos.max(initial=1)) * (1.7 if labelled else 1.08)],
            "nticks": 3,
            "title": {"text": say("photos")},
        },
    )
    return figure


def histogram(right: Ints, wrong: Ints, *, title: str, color: str, say: Say = english) -> go.Figure:
    """How confident right and wrong answers are, in panels of their own scale.

    Args:
        right: ``(bins,)``, right answers in equal bins of confidence from 0 to 1.
        wrong: ``(bins,)``, wrong answers.
        title: of the figure.
        color: ``#RRGGBB``.
        say: the reader's language.
    """
    figure = two_panels(0.5, title, color, 320, say)
    width = 1 / len(right)
    centres = (np.arange(len(right)) + 0.5) * width
    for counts, axis, truth in ((right, "y", "right"), (wrong, "y2", "wrong")):
        total = max(int(counts.sum()), 1)
        figure.add_bar(
            x=centres,
            y=counts,
            width=width,
            yaxis=axis,
            marker={
                "color": color if truth == "right" else style.translucent(color, 0.2),
                "line": {"color": color, "width": 0 if truth == "right" else 1.5},
            },
            customdata=np.stack([centres - width / 2, centres + width / 2, counts / total], -1),
            name=say(truth),
            hovertemplate=say(
                "%{y:,} right answers from %{customdata[0]:.0%} to %{customdata[1]:.0%}, "
                "%{customdata[2]:.1%} of all right answers<extra></extra>"
                if truth == "right"
                else "%{y:,} wrong answers from %{customdata[0]:.0%} to %{customdata[1]:.0%}, "
                "%{customdata[2]:.1%} of all wrong answers<extra></extra>"
            ),
        )
    for axis, counts, truth in (("yaxis", right, "right"), ("yaxis2", wrong, "wrong")):
        figure.update_layout(
            {axis: {"title": {"text": say(truth)}, "nticks": 4, "rangemode": "tozero"}},
        )
        figure.layout[axis].range = [0, max(float(counts.max(initial=0)), 1) * 1.08]
    return figure


def risk_coverage(
    risks: Sequence[Sequence[Floats]],
    classifiers: Sequence[str],
    rankings: Sequence[str],
    declined: float,
    say: Say = english,
) -> go.Figure:
    """The share wrong among the answers given, against the share of photos answered.

    Args:
        risks: for each of the two classifiers and each ranking ``(n,)``, the share wrong among the
            k highest ranked photos, k = 1 … n.
        classifiers: what the legend calls them, unsmoothed first.
        rankings: what the legend calls the rankings; the first is drawn solid, the second dashed.
        declined: the share of photos declined now, drawn as a vertical line.
        say: the reader's language.
    """
    figure = go.Figure()
    for curves, classifier, color in zip(risks, classifiers, style.COLORS.values(), strict=True):
        for risk, by, dash in zip(curves, rankings, ("solid", "dash"), strict=True):
            n = len(risk)
            # The first few photos' risk jumps between 0 and 1 and says nothing.
            shown = np.unique(np.linspace(max(n // 50, 1), n, MOST_POINTS).astype(int))
            figure.add_scatter(
                x=shown / n,
                y=risk[shown - 1],
                mode="lines",
                name=say("{classifier}, by {ranking}", classifier=classifier, ranking=by),
                line={"color": color, "width": 2, "dash": dash},
                hovertemplate=say("%{y:.2%} wrong of %{x:.0%} answered") + f"<extra>{by}</extra>",
            )
    style.apply(
        figure,
        height=400,
        xaxis={"range": [0, 1.0], **PERCENT, "title": {"text": say("photos answered (coverage)")}},
        yaxis={
            "rangemode": "tozero",
            "tickformat": ".1~%",
            "title": {"text": say("wrong among them")},
        },
        shapes=[
            {
                "type": "line",
                "x0": 1 - declined,
                "x1": 1 - declined,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": style.NEUTRAL, "width": 1.5, "dash": "dot"},
            }
        ],
    )
    return figure
