"""The figures of the tab Train it yourself: a live head, the sweep over ε, the geometry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from model.figures import calibration, style
from model.words import Say, english

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

# Further colours of Okabe & Ito (2008), as light as style.py's: the visitor's own head, and breeds.
HEAD = "#1E9E77"
BREEDS = ("#1E9E77", "#C0699B", "#B07D00")
GHOST = style.translucent(style.NEUTRAL, 0.55)
PERCENT = {"tickformat": ".0%"}


def curve(
    steps: Sequence[int],
    train: Sequence[float],
    test: Sequence[float],
    most: int,
    ghost: tuple[Sequence[int], Sequence[float], Sequence[float]] | None = None,
    kept: int | None = None,
    say: Say = english,
) -> go.Figure:
    """The smoothed loss on both halves against optimiser steps.

    Args:
        steps: of the points.
        train: the loss on the photos learned from, one value for each point.
        test: the loss on the photos measured on.
        most: the step at which the axis ends.
        ghost: steps, train and test of the run before.
        kept: the step whose head is kept; marked unless it is the last.
        say: the reader's language.
    """
    figure = go.Figure()
    runs = (
        [] if ghost is None else [(*ghost, GHOST, ("measured (before)", "learned from (before)"))]
    )
    runs += [(steps, train, test, HEAD, ("measured", "learned from"))]
    for x, lower, upper, color, names in runs:
        for y, name, dash in zip((upper, lower), names, ("solid", "dash"), strict=True):
            figure.add_scatter(
                x=list(x),
                y=list(y),
                mode="lines+markers" if len(x) == 1 else "lines",
                name=say(name),
                line={"color": color, "width": 2, "dash": dash},
                showlegend=color == HEAD,
                hovertemplate=say("%{y:.3f} after step %{x}") + f"<extra>{say(name)}</extra>",
            )
    if kept is not None and kept < most:
        figure.add_scatter(
            x=[kept],
            y=[test[list(steps).index(kept)]],
            mode="markers",
            name=say("kept"),
            marker={"color": HEAD, "size": 9},
            hovertemplate=say("%{y:.3f} after step %{x}") + f"<extra>{say('kept')}</extra>",
        )
    longest = max(most, ghost[0][-1] if ghost else 0)
    style.apply(
        figure,
        height=250,
        xaxis={"range": [0, longest * 1.02], "title": {"text": say("optimiser steps")}},
        yaxis={"title": {"text": say("smoothed loss")}, "rangemode": "tozero"},
    )
    return figure


def reliability(
    bins: tuple[Floats, Ints, Floats, Floats],
    interval: tuple[Floats, Floats],
    train: tuple[Floats, Floats],
    ghost: tuple[Floats, Floats] | None = None,
    say: Say = english,
) -> go.Figure:
    """The Calibration tab's reliability diagram, of the live head, with two thin lines more.

    Args:
        bins: edges, photos, confidence and accuracy on the photos measured on.
        interval: the lower and upper end of each bin's accuracy.
        train: confidence and accuracy of the photos learned from; NaN where a bin is empty.
        ghost: the same of the run before, on the photos measured on.
        say: the reader's language.
    """
    figure = calibration.reliability(
        *bins, *interval, title=say("Does it keep its word?"), color=HEAD, say=say
    )
    lines = [(train, "learned from", HEAD, "dash")]
    if ghost is not None:
        lines.append((ghost, "measured (before)", GHOST, "solid"))
    for (x, y), name, color, dash in lines:
        filled = ~np.isnan(y)
        figure.add_scatter(
            x=x[filled],
            y=y[filled],
            mode="lines+markers",
            line={"color": color, "width": 1.5, "dash": dash},
            marker={"size": 4},
            name=say(name),
            hovertemplate=say("confidence %{x:.1%}<br>right %{y:.1%}")
            + f"<extra>{say(name)}</extra>",
        )
    return figure


def confidences(
    train: Floats, test: Floats, ghost: Floats | None = None, say: Say = english
) -> go.Figure:
    """How confident the head is: shares ``(bins,)`` of photos in equal bins from 0 to 1."""
    figure = go.Figure()
    width = 1 / len(test)
    centres = (np.arange(len(test)) + 0.5) * width
    span = np.stack([centres - width / 2, centres + width / 2], axis=-1)
    hover = say("%{y:.1%} of photos from %{customdata[0]:.0%} to %{customdata[1]:.0%}")
    figure.add_bar(
        x=centres,
        y=test,
        width=width,
        name=say("measured"),
        marker={"color": style.translucent(HEAD, 0.55)},
        customdata=span,
        hovertemplate=f"{hover}<extra>{say('measured')}</extra>",
    )
    lines = [(train, "learned from", HEAD, "dash")]
    if ghost is not None:
        lines.append((ghost, "measured (before)", GHOST, "solid"))
    for shares, name, color, dash in lines:
        figure.add_scatter(
            x=centres,
            y=shares,
            mode="lines",
            name=say(name),
            line={"color": color, "width": 2, "dash": dash, "shape": "hvh"},
            customdata=span,
            hovertemplate=f"{hover}<extra>{say(name)}</extra>",
        )
    style.apply(
        figure,
        height=400,
        bargap=0,
        xaxis={"range": [0, 1], **PERCENT, "title": {"text": say("confidence")}},
        yaxis={"rangemode": "tozero", **PERCENT, "title": {"text": say("share of photos")}},
    )
    return figure


def photo(
    probabilities: Floats, names: Sequence[str], labels: Sequence[str], top: int = 5
) -> go.Figure:
    """A photo's distribution under both released classifiers and under the live head.

    Args:
        probabilities: ``(3, N)``: unsmoothed, smoothed, the live head.
        names: the N classes.
        labels: what the legend calls the three.
        top: how many classes to show, by the largest of the three probabilities.
    """
    order = np.argsort(-probabilities.max(axis=0), kind="stable")[:top]
    figure = go.Figure()
    colors = (*style.COLORS.values(), HEAD)
    for row, label, color in zip(probabilities, labels, colors, strict=True):
        figure.add_bar(
            y=[names[i] for i in order],
            x=row[order],
            name=label,
            orientation="h",
            marker={"color": color, "line": {"width": 0}},
            text=[f"{p:.1%}" if p >= 0.001 else "<0.1%" for p in row[order]],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.3%}<extra>" + label + "</extra>",
        )
    style.apply(
        figure,
        height=110 + 62 * len(order),
        barmode="group",
        bargap=0.25,
        bargroupgap=0.06,
        legend_traceorder="normal",
    )
    figure.update_yaxes(autorange="reversed", gridcolor="rgba(0,0,0,0)")
    figure.update_xaxes(range=[0, 1.15], tickvals=[0, 0.25, 0.5, 0.75, 1], **PERCENT)
    return figure


def sweep(
    epsilons: Floats,
    panels: Sequence[tuple[str, Floats, Floats, bool]],
    say: Say = english,
) -> go.Figure:
    """Scores against ε over one another, each with the band of its seeds and its minimum marked.

    Args:
        epsilons: ``(E,)``.
        panels: for each score its name, mean ``(E,)``, standard deviation ``(E,)``, and whether it
            is a share.
        say: the reader's language.
    """
    figure = go.Figure()
    layout = {}
    for i, (name, mean, sd, percent) in enumerate(panels):
        axis = f"y{i + 1}" if i else "y"
        low, high = np.maximum(mean - sd, 0), mean + sd
        figure.add_scatter(
            x=np.concatenate([epsilons, epsilons[::-1]]),
            y=np.concatenate([high, low[::-1]]),
            yaxis=axis,
            fill="toself",
            fillcolor=style.translucent(HEAD, 0.22),
            line={"width": 0},
            mode="lines",
            name=say("{score}, ± one standard deviation", score=name),
            hoverinfo="skip",
        )
        value = ".1%" if percent else ".3f"
        figure.add_scatter(
            x=epsilons,
            y=mean,
            yaxis=axis,
            mode="lines+markers",
            name=name,
            line={"color": HEAD, "width": 2},
            marker={"size": 5},
            customdata=sd,
            hovertemplate=f"ε = %{{x}}: %{{y:{value}}} ± %{{customdata:{value}}}"
            f"<extra>{name}</extra>",
        )
        best = int(mean.argmin())
        figure.add_scatter(
            x=[epsilons[best]],
            y=[mean[best]],
            yaxis=axis,
            mode="markers+text",
            name=say("{score}, lowest", score=name),
            marker={"size": 13, "symbol": "star", "color": HEAD},
            text=[f"  ε = {epsilons[best]:g}  "],
            textposition="top right" if best < len(epsilons) / 2 else "top left",
            cliponaxis=False,
            hoverinfo="skip",
        )
        top = 1 - i / len(panels)
        layout["yaxis" + axis[1:]] = {
            "domain": [top - 1 / len(panels) + 0.06, top],
            "title": {"text": name},
            "nticks": 4,
            "tickformat": ".1~%" if percent else "",
        }
    style.apply(
        figure,
        height=190 * len(panels),
        showlegend=False,
        xaxis={
            "anchor": f"y{len(panels)}" if len(panels) > 1 else "y",
            "title": {"text": "ε"},
            "dtick": 0.1,
        },
        **layout,
    )
    return figure


def projection(
    points: Floats,
    labels: Ints,
    names: Sequence[str],
    breeds: dict[int, str],
    classifier: str,
    say: Say = english,
) -> go.Figure:
    """Photos of three breeds on the plane through their templates, and each breed's mean.

    Args:
        points: ``(m, 2)``.
        labels: ``(m,)``, which breed each is.
        names: ``(m,)``, what hovering says.
        breeds: the three class indices and what the legend calls them.
        classifier: one of ``style.COLORS``.
        say: the reader's language.
    """
    figure = go.Figure()
    for (label, breed), color in zip(breeds.items(), BREEDS, strict=True):
        own = labels == label
        x, y = np.round(points[own], 3).T
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers",
            name=breed,
            marker={"size": 6, "color": style.translucent(color, 0.7)},
            text=[name for name, mine in zip(names, own, strict=True) if mine],
            hovertemplate="%{text}<extra>" + breed + "</extra>",
        )
        figure.add_scatter(
            x=[x.mean()],
            y=[y.mean()],
            mode="markers",
            name=say("{breed}, mean", breed=breed),
            marker={"size": 13, "symbol": "x", "color": color, "line": {"width": 1}},
            showlegend=False,
            hovertemplate="<extra>%{fullData.name}</extra>",
        )
    style.apply(
        figure,
        height=420,
        title={
            "text": say(classifier.capitalize()),
            "font": {"color": style.COLORS[classifier], "size": 15},
            "x": 0,
            "xref": "paper",
        },
        xaxis={"showticklabels": False, "zeroline": False},
        yaxis={"showticklabels": False, "zeroline": False, "scaleanchor": "x"},
    )
    figure.update_layout(legend={"y": -0.04, "yanchor": "top"}, margin={"t": 44, "b": 56})
    return figure
