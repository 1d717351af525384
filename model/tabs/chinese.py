"""The page's Chinese, by its English. A test checks that nothing is missing or left over."""

from __future__ import annotations

from model.calibrators import TRACK_RECORDS

HEAD = {
    "en": "zh",
    "Label Smoothing Lab": "标签平滑实验室",
    "See what label smoothing does to a classifier: to its answers, and to how sure it is.": (
        "看看标签平滑对分类器做了什么：它的回答变了吗，它又有多自信？"
    ),
    "Classify": "分类",
    "Toy logits": "logits 小实验",
    "Calibration": "校准",
    "Train it yourself": "亲手训练",
}

CLASSIFY = {
    "unsmoothed": "未平滑",
    "smoothed": "平滑",
    "unsmoothed (ε = {epsilon:g})": "未平滑（ε = {epsilon:g}）",
    "smoothed (ε = {epsilon:g})": "平滑（ε = {epsilon:g}）",
    "Your photo of a cat or dog": "您的猫或狗的照片",
    "No pet at hand? A cat, two animals that are no pets, two things": (
        "手边没有宠物？一只猫、两种不是宠物的动物、两样东西"
    ),
    "A random test photo": "随机抽一张测试照片",
    "True breed: {breed}. Test photo {name} of the Oxford-IIIT Pet dataset, CC BY-SA 4.0. Neither "
    "classifier was trained on it.": (
        "真实品种：{breed}。Oxford-IIIT Pet 数据集的测试照片 {name}，CC BY-SA 4.0。"
        "两个分类器都没有用它训练过。"
    ),
    "Chelsea, a cat without a pedigree: the breed she resembles is the best answer there is.": (
        "切尔西，一只没有血统证书的猫：最好的回答也只是她像哪个品种。"
    ),
    "A lion is no pet. Neither classifier can say so: the probabilities of 37 breeds add up to "
    "100%, so each must name a breed. Look at how sure it is of it.": (
        "狮子不是宠物，但两个分类器都说不出这一点：37 个品种的概率之和是 100%，"
        "所以它们必须选一个品种。看看它们对此有多自信。"
    ),
    "A cheetah is no pet. Neither classifier can say so: each must name one of 37 breeds. Look at "
    "how sure it is of it.": (
        "猎豹不是宠物，但两个分类器都说不出这一点：它们必须从 37 个品种里选一个。"
        "看看它们对此有多自信。"
    ),
    "A tower is no animal. The classifiers know nothing but 37 breeds: whatever they answer is "
    "wrong, and a high confidence in it is the worse mistake.": (
        "塔不是动物。分类器只认识 37 个品种：无论回答什么都是错的，置信度越高，错得越严重。"
    ),
    "A flower is no animal. The classifiers know nothing but 37 breeds: whatever they answer is "
    "wrong, and a high confidence in it is the worse mistake.": (
        "花不是动物。分类器只认识 37 个品种：无论回答什么都是错的，置信度越高，错得越严重。"
    ),
    "**The classifiers cannot be loaded.** {reason}": "**分类器无法加载。** {reason}",
    "**The measurements cannot be loaded.** {reason}": "**测量结果无法加载。** {reason}",
    "Cure after training": "训练后校准",
    "None": "无",
    "Temperature": "温度缩放",
    "Platt": "Platt 缩放",
    "Isotonic": "保序回归",
    "Fitted on the whole test split: honest for your photo, flattering for a test photo.": (
        "在整个测试集上拟合：对您的照片是公正的，对测试照片则偏乐观。"
    ),
    "Show": "显示",
    "Top breeds": "最可能的品种",
    "All 37": "全部 37 个",
    "Axis": "坐标轴",
    "Linear": "线性",
    "Logarithmic": "对数",
    "**How to read this.** Each breed has two bars, one for each classifier; over all breeds "
    "the bars of one colour add up to 100%. The number on top is the smoothed classifier's "
    "confidence, its largest bar, minus the unsmoothed one's, in percentage points. Entropy "
    "measures how spread out a distribution is. Over all {photos:,} test photos, the unsmoothed "
    "one is right on {right0:.1%} and {sure0:.1%} confident, the smoothed one is right on "
    "{right1:.1%} and {sure1:.1%} confident.": (
        "**怎么读这张图。** 每个品种有两根条，每个分类器一根；全部品种中同色的条加起来是 100%。"
        "最上面的数字是平滑分类器的置信度（它最长的一根条）减去未平滑分类器的置信度，单位是百分点。"
        "熵衡量分布有多分散。在全部 {photos:,} 张测试照片上，未平滑分类器的正确率是 {right0:.1%}，"
        "平均置信度是 {sure0:.1%}；平滑分类器的正确率是 {right1:.1%}，平均置信度是 {sure1:.1%}。"
    ),
    "**The two classifiers** are one network trained twice, on the same photos in the same order. "
    "Only the target differed: all of it on the true breed (ε = {first:g}), or a share ε = "
    "{second:g} of it spread over all {breeds} breeds.": (
        "**两个分类器**是同一个网络训练了两次，照片相同，顺序也相同，只有目标分布不同："
        "全部放在真实品种上（ε = {first:g}），或者把其中 ε = {second:g} 的份额均分给全部 "
        "{breeds} 个品种。"
    ),
    "After training, all layers before the last stage were replaced by the mean of both, so that "
    "they run once for the two; then each got a new head, fitted with its own target. The last "
    "stage and the head are each classifier's own.": (
        "训练之后，最后一个阶段之前的各层都换成了两者的平均值，因此只需为两者计算一次；"
        "然后各自用自己的目标重新拟合分类头。最后一个阶段和分类头是各自的。"
    ),
    "Upload, paste or take a photo: both answers appear here.": (
        "上传、粘贴或拍一张照片，两个回答就会出现在这里。"
    ),
    "There is no photo yet: upload one, paste one or use the camera.": (
        "还没有照片：请上传、粘贴，或用摄像头拍一张。"
    ),
    "No photo": "没有照片",
    "points": "个百分点",
    "Both are equally confident.": "两个分类器同样自信。",
    "The smoothed classifier is more confident.": "平滑分类器更自信。",
    "The smoothed classifier is less confident.": "平滑分类器没那么自信。",
    "They agree: {breed}.": "两者一致：{breed}。",
    "They disagree: {one} or {other}.": "两者不一致：{one}还是{other}？",
    "entropy {bits:.2f} of {most:.2f} bits": "熵 {bits:.2f} 比特，最多 {most:.2f} 比特",
    **dict.fromkeys(
        TRACK_RECORDS,
        "置信度在 {low:.1%} 与 {high:.1%} 之间的测试照片有 {photos:,} 张，其中 {right:,} 张答对了"
        "（{share:.0%}；95% 区间 {below:.0%} 至 {above:.0%}）。",
    ),
    "{cure} changed the {name} classifier's answer from {before} to {after}.": (
        "{cure}把{name}分类器的回答从{before}改成了{after}。"
    ),
}

CALIBRATION = {
    "## What is a confidence worth?": "## 置信度有多可信？",
    "Measuring both classifiers on the test photos …": "正在测试照片上测量两个分类器……",
    "All scores, with 95% bootstrap intervals": "全部指标，附 95% 自助法（bootstrap）区间",
    "**How to read this.** Lower is better, but for mean confidence, and confidence − accuracy, "
    "which should be 0. Small print: what the score is, and the interval that {resamples:,} "
    "bootstrap resamples give it. Marked: lower than the other classifier's by more than chance "
    "explains (95%, resampled in pairs). NLL is the mean of −log of the true breed's probability; "
    "ECE, the expected calibration error, the mean gap between confidence and share right, over "
    "bins of confidence; AURC, the area under the risk–coverage curve, the mean share wrong when "
    "the least confident answers are declined, over all shares declined.": (
        "**怎么读这张表。** 除平均置信度和“置信度 − 准确率”（后者应为 0）以外，越低越好。"
        "小字：指标的含义，以及 {resamples:,} 次自助重采样给出的区间。"
        "有底色的：低于另一个分类器，且差异超出偶然（95%，成对重采样）。"
        "NLL 是真实品种概率的负对数的平均；ECE（期望校准误差）"
        "是各置信度分箱中置信度与正确率之差的平均；"
        "AURC（风险–覆盖率曲线下面积）是从最没把握的回答开始拒答时，对所有拒答比例平均的错误率。"
    ),
    "## Does it keep its word?": "## 它说话算数吗？",
    "Bins": "分箱数",
    "Bins of": "分箱方式",
    "Equal width": "等宽",
    "Equal mass": "等频",
    "**How to read this.** Of the answers given with a confidence of 80%, 80% should be right: the "
    "dotted diagonal. Below it the classifier is over-confident, above it under-confident. The "
    "shaded band is each bin's 95% Wilson interval: a bin whose band touches the diagonal is no "
    "evidence of either. Below: how many photos each bin holds. A cure is fitted on one half of "
    "the test photos and shown on the other, both ways round.": (
        "**怎么读这张图。** 置信度为 80% 的回答里应有 80% 是对的，也就是那条点线对角线。"
        "在线以下是过度自信，在线以上是信心不足。阴影带是每个分箱的 95% Wilson 区间："
        "阴影带碰到对角线的分箱，两者都证明不了。下方：每个分箱里有多少张照片。"
        "校准方法在一半测试照片上拟合，在另一半上展示，两半互换各做一次。"
    ),
    "**How to read this.** The confidence of right answers above, of wrong answers below, each on "
    "its own scale. The further apart the two heaps, the better confidence warns of mistakes.": (
        "**怎么读这张图。** 上面是答对时的置信度，下面是答错时的置信度，各用各的刻度。"
        "两堆离得越远，置信度就越能预警错误。"
    ),
    "## Which cure?": "## 用哪种校准方法？",
    "**Unsmoothed**": "**未平滑**",
    "**Smoothed**": "**平滑**",
    "**Both ways round**": "**两个方向**",
    "**How to read this.** Half A has {first:,} test photos, half B {second:,}: stratified by "
    "breed, seed {seed}. A → B: fitted on half A, reported on half B. Marked: the lowest NLL of "
    "the four. A temperature divides the logits and never changes an answer; Platt scaling and "
    "isotonic regression bend each breed's probability by itself, so they may. Small print: 95% "
    "bootstrap intervals, the fits kept as they are.": (
        "**怎么读这些表。** A 半有 {first:,} 张测试照片，B 半有 {second:,} 张，按品种分层，"
        "随机种子 {seed}。A → B：在 A 半上拟合，在 B 半上报告。有底色的：四种里 NLL 最低的。"
        "温度缩放用一个温度去除 logits，从不改变回答；Platt 缩放和保序回归分别调整每个品种的概率，"
        "所以可能改变回答。小字：95% 自助法区间，拟合结果保持不变。"
    ),
    "## If it may decline some photos": "## 如果允许它拒答一部分照片",
    "It may decline … % of the photos": "允许拒答的照片比例（%）",
    "**How to read this.** The classifier answers the photos it ranks highest and declines the "
    "rest; the lower a curve, the fewer of its answers are wrong. Solid: ranked by confidence. "
    "Dashed: by normalised logits, the largest centred logit over the p-norm of them all "
    "([Cattelan & Silva 2024](https://arxiv.org/abs/2305.15508)), which mends the harm that label "
    "smoothing can do here ([Xia et al. 2025](https://arxiv.org/abs/2403.14715)); p is chosen on "
    "the other half, where confidence itself may win. Dotted: your slider.": (
        "**怎么读这张图。** 分类器只回答排在最前面的照片，其余的拒答；曲线越低，它的回答错得越少。"
        "实线：按置信度排序。虚线：按归一化 logits 排序，即最大的中心化 logit 除以全部 logits 的 "
        "p-范数（[Cattelan & Silva 2024](https://arxiv.org/abs/2305.15508)），"
        "它能弥补标签平滑在这里可能造成的损害"
        "（[Xia et al. 2025](https://arxiv.org/abs/2403.14715)）；p 在另一半照片上选定，"
        "胜出的也可能是置信度本身。点线：您的滑块。"
    ),
    "## What ε does to a whole network": "## ε 对整个网络做了什么",
    "A ResNet-18, fine-tuned as a whole at each ε with {seeds} seeds: {head} + {whole} epochs (the "
    "head alone, then everything) on crops of {size} pixels, measured on the test photos. At one "
    "seed all ε saw the same photos and crops in the same batches. It is not the pair above: "
    "compare its numbers with one another.": (
        "一个 ResNet-18，在每个 ε 下各用 {seeds} 个随机种子微调整个网络：{head} + {whole} 轮"
        "（先只训练分类头，再训练全部），训练用的裁剪边长 {size} 像素，在测试照片上测量。"
        "同一个种子下，所有 ε 看到的照片、裁剪和批次都相同。它不是上面那一对分类器："
        "这里的数只宜彼此比较。"
    ),
    "**How to read this.** Each dot is a trained network, each line joins the means over the "
    "seeds; lower is better. Solid and filled: as trained. Dashed and hollow: after a temperature "
    "that was fitted on the other half of the test photos. Each panel has its own scale, and those "
    "of Wrong and AURC need not begin at 0.": (
        "**怎么读这些图。** 每个点是一个训练好的网络，每条线连接各种子的均值；越低越好。"
        "实线和实心点：训练后未经校准。虚线和空心点：用在另一半测试照片上拟合的温度缩放之后。"
        "每个小图各用各的刻度，其中“错误”和 AURC 的刻度不一定从 0 开始。"
    ),
    "**How to read this.** Mean ± standard deviation over {seeds} seeds, which is all that the "
    "deviation rests on. Cured: after that temperature. Marked: the lowest mean, and of confidence "
    "− accuracy the one closest to 0.": (
        "**怎么读这张表。** {seeds} 个种子的均值 ± 标准差；标准差也只凭这 {seeds} 个种子算出。"
        "校准后：温度缩放之后。有底色的：均值最低的；“置信度 − 准确率”则是最接近 0 的。"
    ),
    "ε = {epsilon:g} lowers the error by {points} points, {spread}.": (
        "ε = {epsilon:g} 使错误率降低 {points} 个百分点，{spread}。"
    ),
    "No ε above 0 lowers the error: the best of them, ε = {epsilon:g}, raises it by {points} "
    "points, {spread}.": (
        "没有哪个大于 0 的 ε 能降低错误率：其中最好的 ε = {epsilon:g} 使它升高 {points} "
        "个百分点，{spread}。"
    ),
    "more than the {spread} by which this difference varies between seeds": (
        "大于这个差值在各种子之间的标准差 {spread}"
    ),
    "no more than the {spread} by which this difference varies between seeds": (
        "不大于这个差值在各种子之间的标准差 {spread}"
    ),
    "{name} is lowest at ε = {epsilon:g}": "{name} 在 ε = {epsilon:g} 时最低",
    "NLL after a temperature": "温度缩放后的 NLL",
    "ECE after a temperature": "温度缩放后的 ECE",
    "as trained": "未校准",
    "after a temperature": "温度缩放后",
    "Wrong, %": "错误，%",
    "NLL, cured": "NLL，校准后",
    "ECE, cured": "ECE，校准后",
    "Confidence − accuracy, points": "置信度 − 准确率，百分点",
    " to ": " 至 ",
    "Score": "指标",
    "Unsmoothed": "未平滑",
    "Smoothed": "平滑",
    "Wrong": "错误",
    "Mean confidence": "平均置信度",
    "the largest probability": "最大的概率",
    "Confidence − accuracy": "置信度 − 准确率",
    "Conf. − acc.": "置信度 − 准确率",
    "points; 0 is right": "百分点；0 最好",
    "nats per photo": "奈特/张",
    "squared distance to the truth": "与真实标签的平方距离",
    "15 bins of equal width": "15 个等宽分箱",
    "ECE, equal mass": "ECE，等频",
    "15 bins of equally many photos": "15 个照片数相等的分箱",
    "Smooth ECE": "平滑 ECE",
    "a kernel instead of bins": "用核代替分箱",
    "Maximum CE": "最大校准误差",
    "the worst of 15 bins": "15 个分箱中最差的",
    "Classwise ECE": "逐类 ECE",
    "every breed's probability, not the answer's alone": "每个品种的概率，而不只是回答的概率",
    "mean share wrong over all coverages": "所有覆盖率上的平均错误比例",
    "Cure": "校准方法",
    "best NLL": "NLL 最低",
    "NLL, A → B": "NLL，A → B",
    "NLL, B → A": "NLL，B → A",
    "Answers changed": "改变的回答",
    "{right} now right, {wrong} now wrong": "{right} 个变对，{wrong} 个变错",
    "Declines by": "拒答依据",
    "Answers": "回答数",
    "Share wrong": "错误比例",
    "Confidence": "置信度",
    "Normalised logits": "归一化 logits",
}

FIGURES = {
    "confidence": "置信度",
    "normalised logits": "归一化 logits",
    "right": "正确",
    "wrong": "错误",
    "photos": "照片数",
    "diagonal": "对角线",
    "95% interval": "95% 区间",
    "confidence %{x:.1%}<br>right %{y:.1%} (%{customdata[1]:.1%} to %{customdata[2]:.1%})"
    "<br>%{customdata[0]:,} photos<extra></extra>": (
        "置信度 %{x:.1%}<br>正确 %{y:.1%}（%{customdata[1]:.1%} 至 %{customdata[2]:.1%}）"
        "<br>%{customdata[0]:,} 张照片<extra></extra>"
    ),
    "%{y:,} photos from %{customdata[0]:.1%} to %{customdata[1]:.1%}<extra></extra>": (
        "%{customdata[0]:.1%} 至 %{customdata[1]:.1%}：%{y:,} 张照片<extra></extra>"
    ),
    **{
        f"%{{y:,}} {truth} answers from %{{customdata[0]:.0%}} to %{{customdata[1]:.0%}}, "
        f"%{{customdata[2]:.1%}} of all {truth} answers<extra></extra>": (
            f"%{{customdata[0]:.0%}} 至 %{{customdata[1]:.0%}}：%{{y:,}} 个{chinese}的回答，"
            f"占全部{chinese}回答的 %{{customdata[2]:.1%}}<extra></extra>"
        )
        for truth, chinese in (("right", "正确"), ("wrong", "错误"))
    },
    "{classifier}, by {ranking}": "{classifier}，按{ranking}",
    "%{y:.2%} wrong of %{x:.0%} answered": "回答 %{x:.0%}，其中错 %{y:.2%}",
    "photos answered (coverage)": "回答的照片（覆盖率）",
    "wrong among them": "其中的错误",
    "measured": "测量用照片",
    "learned from": "学习用照片",
    "measured (before)": "测量用照片（上一次）",
    "learned from (before)": "学习用照片（上一次）",
    "kept": "保留",
    "%{y:.3f} after step %{x}": "第 %{x} 步之后 %{y:.3f}",
    "optimiser steps": "优化步数",
    "smoothed loss": "平滑损失",
    "Does it keep its word?": "它说话算数吗？",
    "confidence %{x:.1%}<br>right %{y:.1%}": "置信度 %{x:.1%}<br>正确 %{y:.1%}",
    "%{y:.1%} of photos from %{customdata[0]:.0%} to %{customdata[1]:.0%}": (
        "%{customdata[0]:.0%} 至 %{customdata[1]:.0%}：%{y:.1%} 的照片"
    ),
    "share of photos": "照片的比例",
    "{score}, ± one standard deviation": "{score}，± 一个标准差",
    "{score}, lowest": "{score}，最低",
    "{breed}, mean": "{breed}，均值",
    "{score}, mean": "{score}，均值",
    "{score}, seed {seed}": "{score}，种子 {seed}",
}

TRAIN = {
    "## Train the last layer at your own ε\n"
    "Move a slider: while it moves, and when you let go, a new linear layer of {breeds} classes is "
    "trained on the frozen activations before it. The backbone learned from the trainval photos, "
    "so its new head learns from {learned:,} *test* photos, a fixed half stratified by breed, and "
    "is measured on the other {measured:,}.": (
        "## 用您自己的 ε 训练最后一层\n"
        "移动滑块，松手后就会在冻结的激活上训练一个新的 {breeds} 类线性层。骨干网络是用 trainval "
        "照片训练的，所以新的分类头用 {learned:,} 张*测试*照片学习（按品种分层的固定一半），"
        "在另外 {measured:,} 张上测量。"
    ),
    "Label smoothing ε": "标签平滑 ε",
    "Label noise, % of training labels": "标签噪声，占训练标签的 %",
    "Training photos per breed ({most}: all)": "每个品种的训练照片数（{most}：全部）",
    "Other regularisers, steps, seed, backbone": "其他正则化、步数、随机种子、骨干网络",
    "Weight decay, as a power of ten": "权重衰减（10 的幂）",
    "Dropout": "Dropout",
    "Of the rotated activations. Adam instead of L-BFGS: give it more steps.": (
        "作用于旋转后的激活。优化器由 L-BFGS 换成 Adam：请多给几步。"
    ),
    "Early stopping": "早停",
    "On {share:.0%} of the training photos, by their NLL.": "看 {share:.0%} 训练照片的 NLL。",
    "Optimiser steps, at most": "优化步数上限",
    "Seed": "随机种子",
    "Of the noise, the choice of photos, dropout and the validation photos. The loss is convex: "
    "without any of these, all seeds agree.": (
        "用于噪声、照片的选取、dropout 和验证照片。损失是凸的，所以这些都不用时，所有种子结果相同。"
    ),
    "Activations of the backbone": "骨干网络的激活",
    "**How to read this.** Solid and filled is what counts, the photos *measured*; dashed are the "
    "photos *learned from*, against the labels it was given, noise included. The gap between the "
    "two is overfitting. Grey: your run before. The loss is what training minimises but for weight "
    "decay, so its curves at two ε cannot be compared; NLL can.": (
        "**怎么读这些图。** 实线和实心是要紧的：*测量*用的照片；虚线是*学习*用的照片，"
        "对照的是给它的标签，包括噪声。两者的差距就是过拟合。灰色：您的上一次训练。"
        "损失是训练所最小化的量（权重衰减除外），所以两个 ε 的损失曲线不能互相比较；NLL 可以。"
    ),
    "## Which ε should I use?": "## 该用哪个 ε？",
    "A head for every ε from 0 to {most:g}, {seeds} seeds each, at the other settings above. Every "
    "seed draws new halves of the same test photos too: the band says what another halving would "
    "have changed, which is less than other photos would.": (
        "从 0 到 {most:g} 的每个 ε 各训练一个分类头，每个用 {seeds} 个随机种子，其余设置同上。"
        "每个种子还会重新划分同一批测试照片的两半：阴影带说明换一种分法会有多大变化，"
        "换一批照片的变化会更大。"
    ),
    "Sweep": "扫描",
    "Stop": "停止",
    "**How to read this.** Each line is the mean over the seeds, its band one standard deviation "
    "to both sides, the star the lowest mean. The sentence above compares the ε seed by seed, on "
    "the same halves: it decides, not whether bands overlap.": (
        "**怎么读这张图。** 每条线是各个种子的平均，阴影带是上下各一个标准差，星号是最低的平均。"
        "上面那句话在同样的两半照片上逐个种子比较各个 ε：要看它，而不是看阴影带是否重叠。"
    ),
    "## What smoothing does to the activations": "## 平滑对激活做了什么",
    "all its steps": "用完了全部步数",
    "converged": "已收敛",
    "stopped early": "提前停止",
    " Kept is the head of step {kept}, the best on the photos that stop it.": (
        "保留的是第 {kept} 步的分类头：它在决定何时停止的照片上最好。"
    ),
    "ε = {epsilon:g}: learned from {learned:,} photos, stopped by {watched:,} more, measured on "
    "{measured:,} others.": (
        "ε = {epsilon:g}：用 {learned:,} 张照片学习，由另外 {watched:,} 张决定何时停止，"
        "在其余 {measured:,} 张上测量。"
    ),
    "ε = {epsilon:g}: learned from {learned:,} photos, measured on {measured:,} others.": (
        "ε = {epsilon:g}：用 {learned:,} 张照片学习，在另外 {measured:,} 张上测量。"
    ),
    " 1 step ({ended}).": "1 步（{ended}）。",
    " {steps} steps ({ended}).": "{steps} 步（{ended}）。",
    "Step {step} of {steps} …": "第 {step} 步，共 {steps} 步……",
    "{done} of {total} heads …": "{done} 个分类头，共 {total} 个……",
    "before {value}": "上一次 {value}",
    "Measured": "测量用照片",
    "Learned from": "学习用照片",
    "Norm of the logits": "logits 的范数",
    "## The photo on the Classify tab, under your head": "## “分类”页上的照片，用您的分类头",
    "your head (ε = {epsilon:g})": "您的分类头（ε = {epsilon:g}）",
    "**How to read this.** The breeds that any of the three finds most probable, a bar each: both "
    "released classifiers as trained, and your head on the activations of the backbone chosen "
    "above. It learned from at most half as many photos as they did.": (
        "**怎么读这张图。** 三者认为最可能的品种，各画一根条：两个发布的分类器（未经校准），"
        "以及您的分类头（用的是上面所选骨干网络的激活）。它学习的照片最多只有前两者的一半。"
    ),
    "{name} backbone": "{name}骨干网络",
    "{share:.0%} label noise": "{share:.0%} 标签噪声",
    "all photos": "全部照片",
    "{photos} photos per breed": "每个品种 {photos} 张照片",
    "weight decay {decay:.1g}": "权重衰减 {decay:.1g}",
    "dropout {share:g}": "dropout {share:g}",
    "{points} points": "{points} 个百分点",
    "{size} below ε = 0, {spread}": "比 ε = 0 低 {size}，{spread}",
    "ε = {next:g} has {size} more, {spread}": "ε = {next:g} 高出 {size}，{spread}",
    "the error": "错误率",
    "{name} is lowest at ε = {epsilon:g} ({value}; {against})": (
        "{name}在 ε = {epsilon:g} 时最低（{value}；{against}）"
    ),
    "{one}, {two}, {three}.": "{one}；{two}；{three}。",
    "is {before:.2f} for both classifiers": "两个分类器都是 {before:.2f}",
    "rises from {before:.2f} (unsmoothed) to {after:.2f} (smoothed)": (
        "从 {before:.2f}（未平滑）升到 {after:.2f}（平滑）"
    ),
    "falls from {before:.2f} (unsmoothed) to {after:.2f} (smoothed)": (
        "从 {before:.2f}（未平滑）降到 {after:.2f}（平滑）"
    ),
    "Both say that smoothing made the clusters tighter, as in the paper.": (
        "两个数都说明平滑使各簇更紧密，与论文一致。"
    ),
    "Neither says that smoothing made the clusters tighter, unlike in the paper.": (
        "两个数都没有说明平滑使各簇更紧密，与论文不同。"
    ),
    "These three are tighter, as in the paper; all breeds together are not.": (
        "这三个品种更紧密，与论文一致；全部品种合起来则不然。"
    ),
    "All breeds together are tighter, as in the paper; these three are not.": (
        "全部品种合起来更紧密，与论文一致；这三个品种则不然。"
    ),
    "Variance within breeds over variance between them {plane} for these three breeds on the "
    "plane, and {space} for all {breeds} breeds in all directions; 0 is tightest. {verdict}": (
        "品种内方差与品种间方差之比：这三个品种在平面上，{plane}；"
        "全部 {breeds} 个品种在所有方向上，{space}；0 最紧密。{verdict}"
    ),
    "No picture": "没有图",
    "Breed 1": "品种 1",
    "Breed 2": "品种 2",
    "Breed 3": "品种 3",
    "**How to read this.** Each dot is a test photo, as the last layer receives it, on the plane "
    "through the three breeds' templates (their rows of the released head's weights); crosses are "
    "the breeds' means. It is figure 1 of [Müller, Kornblith & Hinton "
    "2019](https://arxiv.org/abs/1906.02629) for our pair, without their training photos: only "
    "test activations are kept. Each picture has its own scale. The breeds to begin with are the "
    "two that the classifiers confuse most (by the mean probability that photos of one give the "
    "other), and one far from both.": (
        "**怎么读这些图。** 每个点是一张测试照片，即最后一层所收到的激活，投影到三个品种的模板"
        "（发布的分类头里它们各自的权重行）所张成的平面上；叉号是各品种的均值。"
        "这是 [Müller、Kornblith 和 Hinton 2019](https://arxiv.org/abs/1906.02629) 的图 1，"
        "用的是我们这一对分类器，但没有训练照片：我们只保存了测试照片的激活。每张图各有各的刻度。"
        "一开始选的是分类器最容易混淆的两个品种（按一个品种的照片给另一个品种的平均概率），"
        "以及离两者都远的一个。"
    ),
}

BREEDS = {
    "Abyssinian": "阿比西尼亚猫",
    "American Bulldog": "美国斗牛犬",
    "American Pit Bull Terrier": "美国比特斗牛梗",
    "Basset Hound": "巴吉度猎犬",
    "Beagle": "比格犬",
    "Bengal": "孟加拉豹猫",
    "Birman": "伯曼猫",
    "Bombay": "孟买猫",
    "Boxer": "拳师犬",
    "British Shorthair": "英国短毛猫",
    "Chihuahua": "吉娃娃",
    "Egyptian Mau": "埃及猫",
    "English Cocker Spaniel": "英国可卡犬",
    "English Setter": "英国雪达犬",
    "German Shorthaired": "德国短毛指示犬",
    "Great Pyrenees": "大白熊犬",
    "Havanese": "哈瓦那犬",
    "Japanese Chin": "日本狆",
    "Keeshond": "荷兰毛狮犬",
    "Leonberger": "莱昂贝格犬",
    "Maine Coon": "缅因猫",
    "Miniature Pinscher": "迷你杜宾犬",
    "Newfoundland": "纽芬兰犬",
    "Persian": "波斯猫",
    "Pomeranian": "博美犬",
    "Pug": "巴哥犬",
    "Ragdoll": "布偶猫",
    "Russian Blue": "俄罗斯蓝猫",
    "Saint Bernard": "圣伯纳犬",
    "Samoyed": "萨摩耶犬",
    "Scottish Terrier": "苏格兰梗",
    "Shiba Inu": "柴犬",
    "Siamese": "暹罗猫",
    "Sphynx": "斯芬克斯猫",
    "Staffordshire Bull Terrier": "斯塔福郡斗牛梗",
    "Wheaten Terrier": "爱尔兰软毛麦色梗",
    "Yorkshire Terrier": "约克夏梗",
}

# What the page says when it refuses something. Their values are filled in where they are raised.
REFUSALS = {
    "The server has no room to open another photo: try again in a moment.": (
        "服务器暂时无法再打开一张照片：请稍后再试。"
    ),
    "No test photo came: this server's copy of the dataset cannot be read. Upload a photo, or "
    "click an example.": (
        "没有取到测试照片：读不到这台服务器上的数据集。请上传照片，或点一张示例。"
    ),
    "No test photo came: the public dataset cannot be reached from here. Upload a photo, click an "
    "example, or try again later.": (
        "没有取到测试照片：从这里连不上公开数据集。请上传照片，点一张示例，或稍后再试。"
    ),
    "This file is empty: choose a photo, for example a JPEG or PNG.": (
        "这个文件是空的：请选一张照片，例如 JPEG 或 PNG。"
    ),
    "This file has {size} MB: choose a photo of at most {most} MB.": (
        "这个文件有 {size} MB：请选一张不超过 {most} MB 的照片。"
    ),
    "This file is not a photo that we can read: save it as JPEG or PNG and try again.": (
        "这个文件不是我们读得了的照片：请存成 JPEG 或 PNG 再试。"
    ),
    "This photo takes too long to read: scale it down, or save it anew as JPEG.": (
        "读这张照片要花太长时间：请把它缩小，或重新存成 JPEG。"
    ),
    "This photo takes too much memory to open: scale it down, or save it anew as JPEG.": (
        "打开这张照片要用太多内存：请把它缩小，或重新存成 JPEG。"
    ),
    "This photo is damaged or incomplete: upload it again, or save it anew as JPEG or PNG.": (
        "这张照片已损坏或不完整：请重新上传，或重新存成 JPEG 或 PNG。"
    ),
    "This photo has more than {most} million pixels: scale it down and try again.": (
        "这张照片超过 {most} 百万像素：请缩小后再试。"
    ),
    "This photo of {width} × {height} pixels takes too much memory to open: scale it down to "
    "{most} million pixels, or save it as JPEG.": (
        "打开这张 {width} × {height} 像素的照片要用太多内存：请缩小到 {most} 百万像素，"
        "或存成 JPEG。"
    ),
    "{path} is missing: restore it from the repository, or measure it anew with `python -m "
    "model.study`.": "缺少 {path}：请从仓库恢复，或用 `python -m model.study` 重新测量。",
    "{path} is damaged or cannot be read (after line {line}): restore it from the repository, or "
    "delete it and measure it anew with `python -m model.study`.": (
        "{path} 已损坏或无法读取（第 {line} 行之后）：请从仓库恢复，或将它删除后用 "
        "`python -m model.study` 重新测量。"
    ),
    "The study is not finished: it needs ε = 0, another ε and two seeds of each; give `python -m "
    "model.study` again.": (
        "这项研究尚未完成：需要 ε = 0、另一个 ε，且各有两个种子；请再次运行 "
        "`python -m model.study`。"
    ),
    "Choose three different breeds: two of yours are the same.": (
        "请选三个不同的品种：您选的有两个相同。"
    ),
}

CHINESE: dict[str, str] = {
    **HEAD,
    **CLASSIFY,
    **CALIBRATION,
    **FIGURES,
    **TRAIN,
    **BREEDS,
    **REFUSALS,
}
