"""The Calibration tab's story in Chinese: what `model/report.py` says, from the same numbers."""

from __future__ import annotations

from model.calibrators import CURES, ISOTONIC, NONE, PLATT, TEMPERATURE
from model.checkpoint import PAIR
from model.report import CONFIDENCE, Lab, direction, number, points, span

NAMES = ("未平滑", "平滑")
CURE_WORDS = {TEMPERATURE: "温度缩放", PLATT: "Platt 缩放", ISOTONIC: "保序回归"}
CHANGE = ("降低了", "没有明显改变", "提高了")


def interval(text: str) -> str:
    """``low to high``, as the report writes it."""
    return text.replace(" to ", " 至 ")


def headline(lab: Lab) -> str:
    parts = []
    for gap in lab.scores()["overconfidence"][:2]:
        size = f"{abs(100 * gap.value):.1f} 个百分点"
        verdict = {
            1: f"过度自信，高出 {size}",
            -1: f"信心不足，低了 {size}",
            0: "既不过度自信，也不信心不足",
        }
        parts.append(verdict[direction(gap)])
    return f"未平滑分类器{parts[0]}；平滑分类器{parts[1]}。"


def on_confidence(lab: Lab, classifier: int) -> str:
    before = lab.scores()["overconfidence"][classifier]
    accuracy = 1 - lab.scores()["error"][classifier].value
    confidence = lab.scores()["mean_confidence"][classifier].value
    if direction(before) == 0:
        verdict = (
            f"就 {lab.n:,} 张照片所能分辨的而言，既不过度自信，也不信心不足"
            f"（{points(before.value)} 个百分点；95% 区间 "
            f"{interval(span('overconfidence', before))}）"
        )
    else:
        nearest, farthest = sorted(abs(100 * bound) for bound in before[1:])
        word, way = ("过度自信", "高出") if before.value > 0 else ("信心不足", "低了")
        verdict = (
            f"**{word}**，{way} {abs(100 * before.value):.1f} 个百分点"
            f"（95% 区间 {nearest:.1f} 至 {farthest:.1f}）"
        )
    cure = lab.cured(TEMPERATURE)[classifier]
    after = cure.scores["overconfidence"]
    first, second = (f"{value:.2f}" for value in cure.temperatures)
    temperature = first if first == second else f"{first}（另一半得到 {second}）"
    if direction(before) == 0:
        effect = "没有破坏这一点" if direction(after) == 0 else "破坏了这一点"
    elif direction(after) == 0:
        effect = "纠正了这一偏差"
    elif direction(after) != direction(before):
        effect = "矫枉过正"
    elif abs(after.value) < abs(before.value):
        effect = "纠正了一部分偏差"
    else:
        effect = "没有纠正这一偏差"
    nll_before = lab.cured(NONE)[classifier].scores["nll"].value
    return (
        f"**{NAMES[classifier]}**分类器在测试照片上的正确率是 {accuracy:.1%}，平均置信度是 "
        f"{confidence:.1%}：{verdict}。温度 {temperature} {effect}：在没有参与拟合的照片上，还剩 "
        f"{points(after.value)} 个百分点（区间 {interval(span('overconfidence', after))}）；"
        f"它{CHANGE[direction(cure.nll_change) + 1]} NLL（之前 {nll_before:.3f}，之后 "
        f"{cure.scores['nll'].value:.3f}）。"
    )


def on_cures(lab: Lab) -> str:
    sentences = []
    for classifier, name in enumerate(NAMES):
        best = lab.best_cure(classifier)
        if best == NONE:
            text = f"对{name}分类器，没有一种校准方法能降低 NLL"
        else:
            cured = lab.cured(best)[classifier]
            clearly = "" if direction(cured.nll_change) < 0 else "，但优势并不明显"
            text = (
                f"对{name}分类器，**{CURE_WORDS[best]}**的 NLL 最低，为 "
                f"{cured.scores['nll'].value:.3f}{clearly}"
            )
        hurt = [c for c in CURES if direction(lab.cured(c)[classifier].nll_change) > 0]
        if hurt:
            text += "；" + "，".join(
                f"{CURE_WORDS[c]}使它升到 {lab.cured(c)[classifier].scores['nll'].value:.3f}"
                for c in hurt
            )
        sentences.append(text + "。")
    first, second = (lab.cured(ISOTONIC)[k].ruled_out for k in (0, 1))
    if first or second:
        sentences.append(
            f"保序回归在未平滑分类器的 {first} 张照片和平滑分类器的 {second} 张照片上"
            "排除了真实品种（概率为 0）；每张在 NLL 中计 36 奈特。"
        )
    eces = [lab.cured(TEMPERATURE)[k].scores["ece"].value for k in (0, 1)]
    chance = lab.ece_by_chance(TEMPERATURE)
    sentences.append(
        f"温度缩放之后，ECE 是 {eces[0]:.3f} 和 {eces[1]:.3f}；即使两者的正确率恰好等于置信度，"
        f"在同样多的照片上，仅凭偶然也会有 {chance[0]:.3f} 和 {chance[1]:.3f}。"
    )
    return "".join(sentences)


def on_declining(lab: Lab) -> str:
    difference = lab.scores()["aurc"][2]
    first, second = (lab.ranking(k, CONFIDENCE).aurc.value for k in (0, 1))
    verdict = {
        1: "**标签平滑损害了**这里的选择性分类",
        0: "标签平滑没有明显改变这里的选择性分类",
        -1: "标签平滑改善了这里的选择性分类",
    }[direction(difference)]
    text = (
        f"如果允许拒答最没把握的照片，{verdict}：不平滑时 AURC 是 {first:.4f}，平滑时是 "
        f"{second:.4f}（差 {number('aurc', difference.value)}，区间 "
        f"{interval(span('aurc', difference))}）。AURC 也计入总共错了多少：不平滑时 "
        f"{lab.scores()['error'][0].value:.1%}，平滑时 {lab.scores()['error'][1].value:.1%}。"
    )
    for classifier, name in enumerate(NAMES):
        norms = [lab.cures.normalisation(classifier, half).p for half in (0, 1)]
        if norms == [None, None]:
            text += (
                f"对{name}分类器，没有哪个 p-范数在任何一半照片上排得比 softmax 置信度更好："
                "这种补救办法不改动它。"
            )
            continue
        change = lab.remedy_change(classifier)
        chosen = " 和 ".join(dict.fromkeys("无" if p is None else str(p) for p in norms))
        text += (
            f"归一化 logits（p = {chosen}）{CHANGE[direction(change) + 1]}{name}分类器的 AURC"
            f"（{number('aurc', change.value)}，区间 {interval(span('aurc', change))}）。"
        )
    return text


def story(lab: Lab) -> list[str]:
    """A headline and paragraphs in Markdown, as ``report.story``."""
    return [
        f"### {headline(lab)}",
        *(on_confidence(lab, classifier) for classifier in range(len(PAIR))),
        on_cures(lab),
        on_declining(lab),
    ]
