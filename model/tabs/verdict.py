"""What the Classify tab says of a photo, in words and in its figure, in either language."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from model.calibration import softmax
from model.calibrators import Cures
from model.checkpoint import PAIR
from model.classifier import Pair, Prediction
from model.evaluate import Evaluation
from model.figures import classify as figures
from model.pets import BREEDS
from model.report import CURE_LABELS
from model.tabs import language as words
from model.tabs.language import say

TOP, ALL = "top", "all"
LINEAR, LOGARITHMIC = "linear", "logarithmic"
TOP_BREEDS = 6


def entropy(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    """Shannon entropy in bits of distributions ``(..., N)``."""
    return -np.sum(probabilities * np.log2(np.maximum(probabilities, 1e-300)), axis=-1)


def signed(points: float) -> str:
    """A difference in percentage points, with a true minus sign."""
    return f"{round(points, 1) + 0.0:+.1f}".replace("-", "−")  # + 0.0: never −0.0


def names(pair: Pair, language: str) -> list[str]:
    """What figures and cards call the two classifiers."""
    epsilons = [metadata.epsilon for metadata in pair.metadata]
    return [
        say(language, f"{name} (ε = {{epsilon:g}})", epsilon=epsilon)
        for name, epsilon in zip(PAIR, epsilons, strict=True)
    ]


def summary(
    probabilities: NDArray[np.floating],
    labels: Sequence[str],
    records: Sequence[str],
    language: str = words.ENGLISH,
) -> str:
    """The verdicts ``(2, 37)`` in HTML: the difference in confidence, both answers, entropy.

    ``records`` says of each classifier how often its answers of this confidence were right.
    """
    best = probabilities.argmax(axis=-1)
    breeds = [say(language, BREEDS[i]) for i in best]
    confidence = probabilities.max(axis=-1)
    points = 100 * (confidence[1] - confidence[0])
    if abs(points) < 0.05:
        headline = say(language, "Both are equally confident.")
    elif points > 0:
        headline = say(language, "The smoothed classifier is more confident.")
    else:
        headline = say(language, "The smoothed classifier is less confident.")
    if best[0] == best[1]:
        verdict = say(language, "They agree: {breed}.", breed=breeds[0])
    else:
        verdict = say(language, "They disagree: {one} or {other}.", one=breeds[0], other=breeds[1])
    cards = ""
    for name, label, breed, p, bits, record in zip(
        PAIR, labels, breeds, confidence, entropy(probabilities), records, strict=True
    ):
        spread = say(
            language,
            "entropy {bits:.2f} of {most:.2f} bits",
            bits=bits,
            most=np.log2(len(BREEDS)),
        )
        cards += (
            f'<div class="card {name}"><div class="who">{label}</div>'
            f'<div class="breed">{breed}</div><div class="confidence">{p:.1%}</div>'
            f'<div class="small">{spread}</div><div class="small">{record}</div></div>'
        )
    return (
        f'<div class="verdict" role="status"><div class="headline"><div class="difference">'
        f'<span class="points">{signed(points)}</span> {say(language, "points")}</div>'
        f"<div><strong>{headline}</strong> {verdict}</div></div>"
        f'<div class="cards">{cards}</div></div>'
    )


def empty(language: str = words.ENGLISH) -> str:
    """What stands in the verdict's place before there is a photo."""
    text = say(language, "Upload, paste or take a photo: both answers appear here.")
    return f'<div class="verdict empty">{text}</div>'


def changes(
    cures: Cures, cure: str, logits: NDArray[np.floating], language: str = words.ENGLISH
) -> str:
    """A sentence for each classifier whose answer the cure changed; often empty."""
    after = cures.apply(cure, logits).argmax(axis=-1)
    return " ".join(
        say(
            language,
            "{cure} changed the {name} classifier's answer from {before} to {after}.",
            cure=say(language, CURE_LABELS[cure]),
            name=say(language, name),
            before=say(language, BREEDS[int(row.argmax())]),
            after=say(language, BREEDS[int(now)]),
        )
        for name, row, now, changed in zip(
            PAIR, logits, after, cures.changed_answer(cure, logits), strict=True
        )
        if changed
    )


def measured(evaluation: Evaluation) -> dict[str, float]:
    """Accuracy and mean confidence of both over the whole test split, to read one photo against."""
    values: dict[str, float] = {"photos": len(evaluation.labels)}
    for k, logits in enumerate(evaluation.logits):
        probabilities = softmax(logits)
        values[f"right{k}"] = float((probabilities.argmax(axis=-1) == evaluation.labels).mean())
        values[f"sure{k}"] = float(probabilities.max(axis=-1).mean())
    return values


def distributions(
    probabilities: NDArray[np.floating], pair: Pair, shown: str, axis: str, language: str
) -> go.Figure:
    """The figure of both distributions ``(2, 37)``."""
    return figures.distributions(
        probabilities,
        [say(language, breed) for breed in BREEDS],
        names(pair, language),
        top=TOP_BREEDS if shown == TOP else None,
        logarithmic=axis == LOGARITHMIC,
    )


def verdict_of(
    prediction: Prediction, pair: Pair, cures: Cures | None, cure: str, language: str
) -> tuple[NDArray[np.floating], str]:
    """The cured probabilities ``(2, 37)`` of a photo, and what the page says of them.

    Without cures: the probabilities as trained, and no word on how often they were right.
    """
    if cures is None:
        as_trained = softmax(prediction.logits)
        return as_trained, summary(as_trained, names(pair, language), ("", ""), language)
    both = cures.apply(cure, prediction.logits)
    records = [
        say(language, record.template, **record.values)
        for record in cures.track_records(cure, prediction.logits)
    ]
    text = summary(both, names(pair, language), records, language)
    if changed := changes(cures, cure, prediction.logits, language):
        text += f'<div class="changed">{changed}</div>'
    return both, text


def noted(note: str) -> str:
    """The line under the photo that says what it shows."""
    return f'<p class="note">{escape(note)}</p>' if note else ""
