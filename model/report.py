"""Every number of the Calibration tab, from evaluation.npz: `python -m model.report`.

Prints Markdown: the story, the scores, the cures, the reliability diagrams' bins, the histograms
and the risk–coverage curves, at the page's settings or at those of the flags.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model import calibration
from model.calibration import Bins, Floats, Interval, Ints, wilson
from model.calibrators import CURES, ISOTONIC, NONE, PLATT, TEMPERATURE, Cures, Temperature, cached
from model.evaluate import CHECKPOINTS, PAIR, Evaluation, load
from model.pets import HALVES_SEED
from model.words import Say, english

HISTOGRAM_BINS = 20
CONFIDENCE, NORMALISED = RANKINGS = ("confidence", "normalised logits")
TRUTHS = ("right", "wrong")
CURE_LABELS = {NONE: "None", TEMPERATURE: "Temperature", PLATT: "Platt", ISOTONIC: "Isotonic"}
CURE_WORDS = {
    NONE: "no cure",
    TEMPERATURE: "a temperature",
    PLATT: "Platt scaling",
    ISOTONIC: "isotonic regression",
}


class Score(NamedTuple):
    """How a score is called and written."""

    label: str
    meaning: str
    percent: bool = False
    lower_is_better: bool = True


SCORES = {
    "error": Score("Wrong", "share of photos", percent=True),
    "mean_confidence": Score(
        "Mean confidence", "the largest probability", percent=True, lower_is_better=False
    ),
    "overconfidence": Score(
        "Confidence − accuracy", "points; 0 is right", percent=True, lower_is_better=False
    ),
    "nll": Score("NLL", "nats per photo"),
    "brier": Score("Brier", "squared distance to the truth"),
    "ece": Score("ECE", f"{calibration.BINS} bins of equal width"),
    "ece_equal_mass": Score("ECE, equal mass", f"{calibration.BINS} bins of equally many photos"),
    "smooth_ece": Score("Smooth ECE", "a kernel instead of bins"),
    "max_ce": Score("Maximum CE", f"the worst of {calibration.BINS} bins"),
    "classwise_ece": Score("Classwise ECE", "every breed's probability, not the answer's alone"),
    "aurc": Score("AURC", "mean share wrong over all coverages"),
}
CURED_SCORES = ["nll", "ece", "brier", "overconfidence", "error"]


@dataclass(frozen=True)
class Cured:
    """What one cure does to one classifier, each photo cured by the fit on the other half."""

    scores: dict[str, Interval]
    nll_change: Interval  # against no cure, on the same resamples
    nll_halves: tuple[float, float]  # reported on the second half, on the first
    temperatures: tuple[float, ...]  # fitted on the first half, on the second; () without any
    changed: tuple[int, int, int]  # answers that became right, became wrong, stayed wrong
    ruled_out: int  # photos whose true class got probability 0


@dataclass(frozen=True)
class Ranking:
    """One classifier's photos, ranked by one score, for declining the lowest."""

    risk: Floats  # (n,), the share wrong among the k highest
    aurc: Interval
    areas: Floats  # (resamples,)


@dataclass(frozen=True)
class Remainder:
    """What is left when a share of photos is declined."""

    photos: int
    wrong: float  # a whole number, unless photos tie at the border
    share: Interval  # Wilson


class Cell(NamedTuple):
    """A cell of a table: what it says, smaller print below, and whether the data mark it."""

    text: str
    small: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table for the page and for Markdown."""

    header: list[str]
    rows: list[list[Cell]] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header)]
        for row in self.rows:
            texts = [f"**{cell.text}**" if cell.marked else cell.text for cell in row]
            lines.append(
                [f"{t} ({c.small})" if c.small else t for t, c in zip(texts, row, strict=True)]
            )
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


class Lab:
    """The numbers of the Calibration tab; each is computed when first asked for, then kept."""

    def __init__(self, evaluation: Evaluation, cures: Cures | None = None) -> None:
        """Take the evaluation, and the ``Cures`` of it if there are some to share."""
        self.labels = evaluation.labels
        self.n = len(evaluation.labels)
        self.cures = cures or Cures(evaluation.logits, evaluation.labels)

    @cached
    def drawn(self) -> Ints:
        return calibration.draws(self.n)

    @cached
    def resampled(self) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Of each classifier, every score of every bootstrap resample."""
        first, second = (
            calibration.resampled(list(SCORES), probabilities, self.labels, self.drawn())
            for probabilities in self.cures.crossed(NONE)
        )
        return first, second

    @cached
    def scores(self) -> dict[str, tuple[Interval, Interval, Interval]]:
        """Each score of both classifiers, and their difference, smoothed − unsmoothed."""
        result = {}
        for name in SCORES:
            values = [
                calibration.score(name, probabilities, self.labels)
                for probabilities in self.cures.crossed(NONE)
            ]
            spread = [resampled[name] for resampled in self.resampled()]
            result[name] = (
                calibration.interval(values[0], spread[0]),
                calibration.interval(values[1], spread[1]),
                calibration.interval(values[1] - values[0], spread[1] - spread[0]),
            )
        return result

    @cached
    def cured(self, cure: str) -> tuple[Cured, Cured]:
        """What a cure does to each classifier."""
        first, second = (self._cured(cure, classifier) for classifier in (0, 1))
        return first, second

    def _cured(self, cure: str, classifier: int) -> Cured:
        before = self.cures.crossed(NONE)[classifier]
        after = self.cures.crossed(cure)[classifier]
        spread = calibration.resampled(CURED_SCORES, after, self.labels, self.drawn())
        scores = {
            name: calibration.interval(calibration.score(name, after, self.labels), spread[name])
            for name in CURED_SCORES
        }
        change = scores["nll"].value - calibration.nll(before, self.labels)
        nll = calibration.losses(after, self.labels)["nll"]
        fits = [self.cures.fitted(cure, classifier, half) for half in (0, 1)]
        was, now = before.argmax(axis=-1), after.argmax(axis=-1)
        return Cured(
            scores=scores,
            nll_change=calibration.interval(
                change, spread["nll"] - self.resampled()[classifier]["nll"]
            ),
            nll_halves=(
                float(nll[self.cures.halves[1]].mean()),
                float(nll[self.cures.halves[0]].mean()),
            ),
            temperatures=tuple(fit.temperature for fit in fits if isinstance(fit, Temperature)),
            changed=(
                int(((was != now) & (now == self.labels)).sum()),
                int(((was != now) & (was == self.labels)).sum()),
                int(((was != now) & (was != self.labels) & (now != self.labels)).sum()),
            ),
            ruled_out=int((after[np.arange(self.n), self.labels] == 0).sum()),
        )

    def best_cure(self, classifier: int) -> str:
        """The cure of least NLL on photos it was not fitted on; the first in ``CURES`` on a tie."""
        return min(CURES, key=lambda cure: self.cured(cure)[classifier].scores["nll"].value)

    @cached
    def ece_by_chance(self, cure: str) -> tuple[float, float]:
        """What ECE each classifier would have after a cure if it were right as often as it says."""
        first, second = (
            calibration.ece_by_chance(probabilities.max(axis=-1))
            for probabilities in self.cures.crossed(cure)
        )
        return first, second

    @cached
    def ranking(self, classifier: int, by: str) -> Ranking:
        """Photos ranked by softmax confidence or by normalised logits."""
        score, right = self.cures.top1(NONE)[classifier]
        if by == NORMALISED:
            score = self.cures.normalised_scores(classifier)
        risk = calibration.risk_coverage(score, right)
        areas = np.concatenate(
            [
                calibration.aurc_of_top1(score[chunk], right[chunk])
                for chunk in np.array_split(self.drawn(), 20)
            ]
        )
        return Ranking(risk, calibration.interval(float(risk.mean()), areas), areas)

    @cached
    def remedy_change(self, classifier: int) -> Interval:
        """AURC by normalised logits less AURC by confidence, on the same resamples."""
        by, before = self.ranking(classifier, NORMALISED), self.ranking(classifier, CONFIDENCE)
        return calibration.interval(by.aurc.value - before.aurc.value, by.areas - before.areas)

    def remainder(self, classifier: int, by: str, declined: float) -> Remainder:
        """What is left when the share ``declined`` of photos, the lowest ranked, is declined."""
        photos = max(1, round(self.n * (1 - declined)))
        share = float(self.ranking(classifier, by).risk[photos - 1])
        low, high = wilson(share * photos, photos)
        return Remainder(photos, share * photos, Interval(share, float(low), float(high)))

    def reliability(self, cure: str, bins: int, equal_mass: bool) -> tuple[Bins, Bins]:
        """The bins of both reliability diagrams."""
        first, second = (
            calibration.reliability(*answers, bins, equal_mass) for answers in self.cures.top1(cure)
        )
        return first, second

    def histogram(self, cure: str) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
        """Of each classifier, right and wrong answers per twentieth of confidence."""
        counted = []
        for confidence, right in self.cures.top1(cure):
            index = np.clip(np.ceil(confidence * HISTOGRAM_BINS).astype(int) - 1, 0, None)
            counted.append(
                tuple(
                    np.bincount(index[right == truth], minlength=HISTOGRAM_BINS) for truth in (1, 0)
                )
            )
        return counted[0], counted[1]  # type: ignore[return-value]


# Words and tables, for the page and for the command.


def points(value: float) -> str:
    """A difference of shares in signed percentage points."""
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")  # + 0.0: never −0.0


def number(name: str, value: float) -> str:
    """A score as it is written: percent, signed points or four decimals."""
    if name == "overconfidence":
        return points(value)
    if SCORES[name].percent:
        return f"{value:.1%}"
    return f"{round(value, 4) + 0.0:.4f}".replace("-", "−")


def span(name: str, interval: Interval) -> str:
    """The interval of a score in words."""
    return f"{number(name, interval.low)} to {number(name, interval.high)}"


def temperatures(values: tuple[float, ...]) -> str:
    """The temperatures of the two halves: one number if they agree as written."""
    first, second = (f"{value:.2f}" for value in values)
    return first if first == second else f"{first} ({second} from the other half)"


def direction(interval: Interval) -> int:
    """1 if the whole interval is above 0, −1 if below, 0 if it holds 0."""
    return int(interval.low > 0) - int(interval.high < 0)


def on_confidence(lab: Lab, classifier: int) -> str:
    """Whether a classifier is over- or under-confident, and what a temperature does about it."""
    before = lab.scores()["overconfidence"][classifier]
    accuracy = 1 - lab.scores()["error"][classifier].value
    confidence = lab.scores()["mean_confidence"][classifier].value
    measured = f"is right on {accuracy:.1%} of the test photos and {confidence:.1%} confident"
    if direction(before) == 0:
        verdict = (
            f"neither over- nor under-confident as far as {lab.n:,} photos can tell "
            f"({points(before.value)} points; 95% interval {span('overconfidence', before)})"
        )
    else:
        nearest, farthest = sorted(abs(100 * bound) for bound in before[1:])
        verdict = (
            f"**{'over' if before.value > 0 else 'under'}-confident** by "
            f"{abs(100 * before.value):.1f} points (95% interval {nearest:.1f} to {farthest:.1f})"
        )
    cure = lab.cured(TEMPERATURE)[classifier]
    after = cure.scores["overconfidence"]
    value = temperatures(cure.temperatures)
    left = f"{points(after.value)} points (interval {span('overconfidence', after)})"
    if direction(before) == 0:
        effect = "leaves that so" if direction(after) == 0 else "spoils that"
    elif direction(after) == 0:
        effect = "repairs it"
    elif direction(after) != direction(before):
        effect = "overshoots"
    elif abs(after.value) < abs(before.value):
        effect = "mends part of it"
    else:
        effect = "does not repair it"
    change = ("lowers", "does not clearly change", "raises")[direction(cure.nll_change) + 1]
    nll_before = lab.cured(NONE)[classifier].scores["nll"].value
    return (
        f"The **{PAIR[classifier]}** classifier {measured}: {verdict}. "
        f"A temperature of {value} {effect}, with {left} on photos it was not fitted on, "
        f"and {change} NLL ({nll_before:.3f} before, {cure.scores['nll'].value:.3f} after)."
    )


def on_cures(lab: Lab) -> str:
    """Which cure is best for each classifier, which helps, which hurts."""
    sentences = []
    for classifier, name in enumerate(PAIR):
        best = lab.best_cure(classifier)
        if best == NONE:
            text = f"For the {name} classifier no cure lowers NLL"
        else:
            cured = lab.cured(best)[classifier]
            clearly = "" if direction(cured.nll_change) < 0 else ", though not clearly"
            text = (
                f"For the {name} classifier **{CURE_WORDS[best]}** has the lowest NLL, "
                f"{cured.scores['nll'].value:.3f}{clearly}"
            )
        hurt = [c for c in CURES if direction(lab.cured(c)[classifier].nll_change) > 0]
        if hurt:
            text += "; " + " and ".join(
                f"{CURE_WORDS[c]} raises it to {lab.cured(c)[classifier].scores['nll'].value:.3f}"
                for c in hurt
            )
        sentences.append(text + ".")
    ruled_out = [lab.cured(ISOTONIC)[k].ruled_out for k in (0, 1)]
    if any(ruled_out):
        sentences.append(
            f"Isotonic regression ruled the true breed out, with probability 0, on {ruled_out[0]} "
            f"photos of the unsmoothed and {ruled_out[1]} of the smoothed classifier; NLL charges "
            "36 nats for each."
        )
    eces = [lab.cured(TEMPERATURE)[k].scores["ece"].value for k in (0, 1)]
    chance = lab.ece_by_chance(TEMPERATURE)
    sentences.append(
        f"After a temperature ECE is {eces[0]:.3f} and {eces[1]:.3f}; if both were right exactly "
        f"as often as they say, it would be {chance[0]:.3f} and {chance[1]:.3f} on as many photos, "
        "by chance alone."
    )
    return " ".join(sentences)


def on_declining(lab: Lab) -> str:
    """What smoothing does to selective classification, and whether normalising mends it."""
    difference = lab.scores()["aurc"][2]
    first, second = (lab.ranking(k, CONFIDENCE).aurc.value for k in (0, 1))
    verdict = {
        1: "**smoothing harms** selective classification here",
        0: "smoothing does not clearly change selective classification here",
        -1: "smoothing helps selective classification here",
    }[direction(difference)]
    text = (
        f"Allowed to decline its least confident answers, {verdict}: AURC is {first:.4f} without "
        f"and {second:.4f} with smoothing (difference {number('aurc', difference.value)}, "
        f"interval {span('aurc', difference)}). AURC also counts how many are wrong at all: "
        f"{lab.scores()['error'][0].value:.1%} without, {lab.scores()['error'][1].value:.1%} with."
    )
    for classifier, name in enumerate(PAIR):
        norms = [lab.cures.normalisation(classifier, half).p for half in (0, 1)]
        if norms == [None, None]:
            text += (
                f" For the {name} classifier no p-norm ranks either half's photos better than "
                "softmax confidence does: the remedy leaves it alone."
            )
            continue
        change = lab.remedy_change(classifier)
        effect = ("lowers", "does not clearly change", "raises")[direction(change) + 1]
        chosen = " and ".join(dict.fromkeys("none" if p is None else str(p) for p in norms))
        text += (
            f" Normalising the logits (p = {chosen}) {effect} the AURC of the {name} classifier "
            f"({number('aurc', change.value)}, interval {span('aurc', change)})."
        )
    return text


def headline(lab: Lab) -> str:
    """Over-confident, under-confident or neither, in one line."""
    parts = []
    for gap in lab.scores()["overconfidence"][:2]:
        size = f"-confident by {abs(100 * gap.value):.1f} points"
        verdict = {1: f"over{size}", -1: f"under{size}", 0: "neither over- nor under-confident"}
        parts.append(verdict[direction(gap)])
    return f"The unsmoothed classifier is {parts[0]}, the smoothed one {parts[1]}."


def story(lab: Lab) -> list[str]:
    """What the tab shows: a headline and paragraphs, in Markdown."""
    return [
        f"### {headline(lab)}",
        on_confidence(lab, 0),
        on_confidence(lab, 1),
        on_cures(lab),
        on_declining(lab),
    ]


def halving(lab: Lab) -> str:
    """How the test split was halved."""
    first, second = (len(half) for half in lab.cures.halves)
    return (
        f"Half A has {first:,} test photos, half B {second:,}: stratified by breed, "
        f"seed {HALVES_SEED}."
    )


def score_table(lab: Lab) -> Table:
    """All scores of both classifiers; the lower is marked if the difference excludes 0."""
    table = Table(["Score", *(name.capitalize() for name in PAIR)])
    for name, score in SCORES.items():
        pair, difference = lab.scores()[name][:2], lab.scores()[name][2]
        lower = {-1: 1, 1: 0}.get(direction(difference)) if score.lower_is_better else None
        table.rows.append(
            [Cell(score.label, score.meaning)]
            + [Cell(number(name, i.value), span(name, i), k == lower) for k, i in enumerate(pair)]
        )
    return table


def cure_table(lab: Lab, classifier: int) -> Table:
    """The four cures of one classifier; the lowest NLL is marked."""
    table = Table(["Cure", *(SCORES[name].label for name in CURED_SCORES)])
    table.header[table.header.index("Confidence − accuracy")] = "Conf. − acc."
    best = lab.best_cure(classifier)
    for cure in CURES:
        cells = [
            Cell(
                number(name, interval.value),
                span(name, interval),
                name == "nll" and cure == best,
            )
            for name, interval in lab.cured(cure)[classifier].scores.items()
        ]
        table.rows.append([Cell(CURE_LABELS[cure], "best NLL" if cure == best else ""), *cells])
    return table


def halves_table(lab: Lab, say: Say = english) -> Table:
    """NLL of every cure, both ways round, and the answers it changed."""
    table = Table(["Cure", "NLL, A → B", "NLL, B → A", "Answers changed"])
    for classifier, name in enumerate(PAIR):
        for cure in CURES:
            cured = lab.cured(cure)[classifier]
            fits = [f"T = {t:.3f}" for t in cured.temperatures] if cure == TEMPERATURE else ["", ""]
            righted, spoiled, _ = cured.changed
            table.rows.append(
                [
                    Cell(CURE_LABELS[cure], name),
                    *(Cell(f"{n:.4f}", t) for n, t in zip(cured.nll_halves, fits, strict=True)),
                    Cell(
                        str(sum(cured.changed)),
                        say("{right} now right, {wrong} now wrong", right=righted, wrong=spoiled)
                        if sum(cured.changed)
                        else "",
                    ),
                ]
            )
    return table


def decline_table(lab: Lab, declined: float) -> Table:
    """What is left wrong after declining a share of photos, for both classifiers and rankings."""
    table = Table(["Declines by", "Answers", "Wrong", "Share wrong"])
    for classifier, name in enumerate(PAIR):
        for by in RANKINGS:
            rest = lab.remainder(classifier, by, declined)
            table.rows.append(
                [
                    Cell(by.capitalize(), name),
                    Cell(f"{rest.photos:,}"),
                    Cell(f"{rest.wrong:.0f}"),
                    Cell(
                        f"{rest.share.value:.2%}", f"{rest.share.low:.2%} to {rest.share.high:.2%}"
                    ),
                ]
            )
    return table


def bin_table(bins: Bins) -> Table:
    """The bins of one reliability diagram."""
    table = Table(["Confidence", "Photos", "Mean confidence", "Right", "95% interval"])
    low, high = wilson(np.nan_to_num(bins.accuracy) * bins.photos, bins.photos)
    for i, count in enumerate(bins.photos):
        texts = [f"{bins.edges[i]:.4f} to {bins.edges[i + 1]:.4f}", f"{count:,}"]
        if count:
            texts += [f"{bins.confidence[i]:.4f}", f"{bins.accuracy[i]:.4f}"]
            texts += [f"{low[i]:.4f} to {high[i]:.4f}"]
        else:
            texts += ["–", "–", "–"]
        table.rows.append([Cell(text) for text in texts])
    return table


def histogram_table(lab: Lab, cure: str) -> Table:
    """Right and wrong answers of both classifiers per twentieth of confidence."""
    table = Table(["Confidence", *(f"{name}, {truth}" for name in PAIR for truth in TRUTHS)])
    (first, second) = lab.histogram(cure)
    for i in range(HISTOGRAM_BINS):
        edges = f"{i / HISTOGRAM_BINS:.2f} to {(i + 1) / HISTOGRAM_BINS:.2f}"
        counts = [str(counted[i]) for counted in (*first, *second)]
        table.rows.append([Cell(edges), *map(Cell, counts)])
    return table


def risk_table(lab: Lab) -> Table:
    """The risk–coverage curves at every twentieth of coverage, and the area under them."""
    ranked = [(k, name, by) for k, name in enumerate(PAIR) for by in RANKINGS]
    table = Table(["Coverage", *(f"{name}, {by}" for _, name, by in ranked)])
    for percent in range(5, 101, 5):
        rest = [lab.remainder(k, by, 1 - percent / 100) for k, _, by in ranked]
        table.rows.append([Cell(f"{percent}%"), *(Cell(f"{r.share.value:.2%}") for r in rest)])
    areas = [lab.ranking(k, by).aurc for k, _, by in ranked]
    table.rows.append(
        [Cell("AURC"), *(Cell(number("aurc", a.value), span("aurc", a)) for a in areas)]
    )
    return table


def report(lab: Lab, bins: int, equal_mass: bool, cure: str, declined: float) -> str:
    """All of the tab as Markdown."""
    kind = "equal mass" if equal_mass else "equal width"
    sections = ["# Calibration on the test split", *story(lab), halving(lab)]
    sections += ["## Scores, with 95% bootstrap intervals", score_table(lab).markdown()]
    for classifier, name in enumerate(PAIR):
        sections += [f"## Cures of the {name} classifier", cure_table(lab, classifier).markdown()]
    sections += ["## Both ways round", halves_table(lab).markdown()]
    sections += [f"## Declining {declined:.0%} of photos", decline_table(lab, declined).markdown()]
    sections += ["## Risk and coverage", risk_table(lab).markdown()]
    for name, shown in zip(PAIR, lab.reliability(cure, bins, equal_mass), strict=True):
        sections.append(f"## Reliability of the {name} classifier ({bins} bins of {kind}, {cure})")
        sections.append(bin_table(shown).markdown())
    sections += [f"## Answers by confidence ({cure})", histogram_table(lab, cure).markdown()]
    return "\n\n".join(sections) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    default = CHECKPOINTS / "evaluation.npz"
    add("--evaluation", type=Path, default=default, help="the evaluation (%(default)s)")
    add("--bins", type=int, default=calibration.BINS, help="of the diagrams (%(default)s)")
    add("--equal-mass", action="store_true", help="bins of equally many photos, not equal width")
    add("--cure", choices=CURES, default=NONE, help="in diagrams and histograms (%(default)s)")
    add("--decline", type=float, default=10, help="percent of photos declined (%(default)s)")
    add("--out", type=Path, help="write the Markdown there instead of printing it")
    args = parser.parse_args()
    if args.bins < 1:
        parser.error("--bins must be at least 1.")
    if not 0 <= args.decline < 100:
        parser.error("--decline must be at least 0 and less than 100.")
    try:
        lab = Lab(load(args.evaluation))
    except ValueError as problem:
        parser.error(str(problem))
    text = report(lab, args.bins, args.equal_mass, args.cure, args.decline / 100)
    if args.out:
        args.out.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
