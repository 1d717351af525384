// The toy: what label smoothing asks of a handful of logits, answered while the hand moves.
//
// A plain script without dependencies. It talks to no server. Reading order: mathematics, state
// and its form in the address, drawing, the page. The mathematics is the same as model/toy.py's
// (tests/test_toy_browser.py compares the two), so a change here needs the same change there.

(() => {
  "use strict";

  // ------------------------------------------------------------------------------ mathematics

  /** Log of the sum of exponentials, safe for large values. */
  function logSumExp(values) {
    const top = Math.max(...values);
    let sum = 0;
    for (const value of values) sum += Math.exp(value - top);
    return top + Math.log(sum);
  }

  /** Smoothed target over N classes: 1 - ε + ε/N on the true class, ε/N elsewhere. */
  function smoothedTarget(numClasses, trueClass, epsilon) {
    const target = new Array(numClasses).fill(epsilon / numClasses);
    target[trueClass] = 1 - epsilon + epsilon / numClasses;
    return target;
  }

  /** The lead of the true-class logit at the loss's minimum, other logits equal; may be Infinity. */
  function optimalLead(epsilon, numClasses) {
    if (epsilon === 0) return Infinity;
    const odds = (numClasses * (1 - epsilon)) / epsilon;
    if (Number.isFinite(odds)) return Math.log1p(odds);
    return Math.log(numClasses) - Math.log(epsilon);
  }

  /** The true class's probability where the loss is least. */
  function optimalConfidence(epsilon, numClasses) {
    return 1 - epsilon + epsilon / numClasses;
  }

  /** The probabilities: softmax of the logits. */
  function softmax(logits) {
    const top = Math.max(...logits);
    const exponentials = logits.map((logit) => Math.exp(logit - top));
    const sum = exponentials.reduce((a, b) => a + b, 0);
    return exponentials.map((value) => value / sum);
  }

  /**
   * Everything one-hot and smoothed targets say about `logits`: the same fields as the server's
   * endpoint /smooth. `optimum_lead` is null where the minimum lies at infinity.
   */
  function compute(logits, trueClass, epsilon) {
    const numClasses = logits.length;
    const top = Math.max(...logits);
    const logSum = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0));
    const crossEntropies = logits.map((logit) => logSum - (logit - top));
    const mean = crossEntropies.reduce((a, b) => a + b, 0) / numClasses;
    const probabilities = softmax(logits);
    const side = (strength) => {
      const target = smoothedTarget(numClasses, trueClass, strength);
      const labelPart = (1 - strength) * crossEntropies[trueClass];
      const uniformPart = strength * mean;
      const lead = optimalLead(strength, numClasses);
      return {
        target,
        loss: labelPart + uniformPart,
        label_part: labelPart,
        uniform_part: uniformPart,
        gradient: probabilities.map((p, k) => p - target[k]),
        optimum_lead: Number.isFinite(lead) ? lead : null,
        optimum_confidence: optimalConfidence(strength, numClasses),
      };
    };
    return {
      epsilon,
      num_classes: numClasses,
      true_class: trueClass,
      probabilities,
      one_hot: side(0),
      smoothed: side(epsilon),
    };
  }

  /**
   * How far the true-class logit leads: its value minus the log of the mean exponential of the
   * others, so that the true class's probability is that of N - 1 equal rivals at this lead.
   */
  function leadOf(logits, trueClass) {
    const others = logits.filter((_, k) => k !== trueClass);
    return logits[trueClass] - (logSumExp(others) - Math.log(others.length));
  }

  /** The loss where the true-class logit leads N - 1 equal others by `lead`. */
  function lossAtLead(lead, numClasses, epsilon) {
    // log(1 + (N-1) exp(-lead)), arranged so that no exponential overflows
    const rivals = Math.log(numClasses - 1) - lead;
    const crossEntropy = rivals > 0 ? rivals + Math.log1p(Math.exp(-rivals)) : Math.log1p(Math.exp(rivals));
    return crossEntropy + (epsilon * lead * (numClasses - 1)) / numClasses;
  }

  /** One step of gradient descent on the logits, in place: z ← z - η (softmax(z) - target). */
  function descend(logits, target, stepSize) {
    const probabilities = softmax(logits);
    for (let k = 0; k < logits.length; k++) logits[k] -= stepSize * (probabilities[k] - target[k]);
  }

  // ------------------------------------------------------------------------ state and address

  const MIN_CLASSES = 2;
  const MAX_CLASSES = 50;
  const MAX_LOGIT = 50;
  const STEP_SIZES = [0.1, 0.5, 1, 2];
  const PARAMETER = "toy";

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const round = (value, digits) => Number(value.toFixed(digits)) + 0; // + 0 turns -0 into 0
  const isIndex = (value, size) => Number.isInteger(value) && value >= 0 && value < size;

  const defaultState = () => ({
    epsilon: 0.1,
    trueClass: 2,
    stepSize: 1,
    logits: [0.5, -1, 3, 1.5, 0, -0.5, 2, -2, 1, -1.5],
  });

  /** ε, true class, step size and logits, joined by characters that no address escapes. */
  const formatState = (state) =>
    [state.epsilon, state.trueClass, state.stepSize, ...state.logits].join("_");

  /** The state that formatState wrote, or null for anything else. */
  function parseState(text) {
    const parts = String(text).split("_");
    if (parts.some((part) => !/^-?\d+(\.\d+)?(e-\d+)?$/.test(part))) return null;
    const [epsilon, trueClass, stepSize, ...logits] = parts.map(Number);
    const valid =
      logits.length >= MIN_CLASSES &&
      logits.length <= MAX_CLASSES &&
      epsilon >= 0 &&
      epsilon <= 1 &&
      isIndex(trueClass, logits.length) &&
      STEP_SIZES.includes(stepSize) &&
      logits.every((logit) => Math.abs(logit) <= MAX_LOGIT);
    return valid ? { epsilon, trueClass, stepSize, logits } : null;
  }

  /** The page's address with this state in it, and everything else in it untouched. */
  function addressOf(state) {
    const address = new URL(window.location.href);
    const text = formatState(state);
    if (text === formatState(defaultState())) address.searchParams.delete(PARAMETER);
    else address.searchParams.set(PARAMETER, text);
    return address;
  }

  /** Write the state into the address bar, also into that of a Space's enclosing page. */
  function writeAddress(state) {
    const address = addressOf(state);
    try {
      window.history.replaceState(window.history.state, "", address);
    } catch {
      return; // some browsers limit how often the address may change; the next change will do
    }
    if (window.parent !== window) {
      address.searchParams.delete("__sign"); // the key to a private Space is nobody's business
      const message = { queryString: address.search, hash: address.hash };
      window.parent.postMessage(message, "https://huggingface.co");
    }
  }

  const PRESETS = {
    right: (n, i) => Array.from({ length: n }, (_, k) => (k === i ? 7 : 0)),
    wrong: (n, i) => Array.from({ length: n }, (_, k) => (k === (i + 1) % n ? 7 : 0)),
    undecided: (n) => new Array(n).fill(0),
    random: (n) => Array.from({ length: n }, () => round(clamp(2 * gaussian(), -8, 8), 2)),
  };

  /** A standard normal number (Box and Muller). */
  const gaussian = () =>
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

  // ---------------------------------------------------------------------------------- drawing

  const SVG = "http://www.w3.org/2000/svg";
  const number = (value, digits = 2) =>
    value === null || !Number.isFinite(value) ? "∞" : value.toFixed(digits).replace(/^-/, "−").replace(/^−(0\.?0*)$/, "$1");
  const signed = (value, digits = 3) => {
    const text = number(value, digits);
    return text.startsWith("−") || Number(text) === 0 ? text : `+${text}`;
  };
  /** A probability, with more digits where two would read 0. */
  const probability = (p) =>
    p > 0 && p < 0.0005 ? "< 0.001" : p < 1 && p > 0.9995 ? "> 0.999" : p.toFixed(3);
  const ceiling = (value, steps) => steps.find((step) => step >= value) ?? Math.ceil(value);
  const at = (value) => value.toFixed(1);

  function create(tag, attributes = {}, parent = null) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (parent) parent.append(node);
    return node;
  }

  let clips = 0;

  /** An inline SVG with axes and named marks. Marks stay; a redraw only changes attributes. */
  class Chart {
    constructor(host, height, margin = {}) {
      this.host = host;
      this.height = height;
      this.margin = { left: 32, right: 8, top: 10, bottom: 20, ...margin };
      this.svg = create("svg", { role: "img", height, width: "100%" }, host);
      this.axes = create("g", { class: "axes", "aria-hidden": "true" }, this.svg);
      const clip = create("clipPath", { id: `toy-clip-${++clips}` }, this.svg);
      this.window = create("rect", {}, clip);
      this.inside = create("g", { "clip-path": `url(#toy-clip-${clips})` }, this.svg);
      this.outside = create("g", {}, this.svg);
      this.marks = new Map();
      this.drawnAxes = "";
      this.width = 0;
    }

    /** True once the chart has a width, which it has not while its tab is hidden. */
    measure() {
      this.width = this.host.clientWidth;
      return this.width > this.margin.left + this.margin.right;
    }

    domain(x0, x1, y0, y1) {
      const { left, right, top, bottom } = this.margin;
      const [w, h] = [this.width - left - right, this.height - top - bottom];
      Object.assign(this, { x0, x1, y0, y1, plotWidth: w, plotHeight: h });
      this.X = (x) => left + ((x - x0) / (x1 - x0)) * w;
      this.Y = (y) => top + ((y1 - y) / (y1 - y0)) * h;
    }

    /** Grid and labels; `xTicks` and `yTicks` are [value, text, class?] triples. */
    axis(xTicks, yTicks) {
      const key = JSON.stringify([this.width, this.x0, this.x1, this.y0, this.y1, xTicks, yTicks]);
      if (key === this.drawnAxes) return;
      this.drawnAxes = key;
      const { left, right, top, bottom } = this.margin;
      for (const [name, value] of Object.entries({
        x: left, y: top - 2, width: this.plotWidth, height: this.plotHeight + 4,
      })) this.window.setAttribute(name, value);
      this.axes.replaceChildren();
      for (const [y, text] of yTicks) {
        const line = { x1: left, x2: this.width - right, y1: at(this.Y(y)), y2: at(this.Y(y)) };
        create("line", { ...line, class: y === 0 ? "zero" : "grid" }, this.axes);
        const label = { x: left - 5, y: at(this.Y(y)), dy: "0.32em", "text-anchor": "end" };
        create("text", label, this.axes).textContent = text;
      }
      for (const [x, text, kind = ""] of xTicks) {
        const label = { x: at(this.X(x)), y: this.height - bottom + 14, "text-anchor": "middle", class: kind };
        create("text", label, this.axes).textContent = text;
      }
    }

    mark(tag, name, attributes, layer = this.inside) {
      let node = this.marks.get(name);
      if (!node) {
        node = create(tag, { class: name.replace(/\d+$/, "") }, layer);
        this.marks.set(name, node);
      }
      for (const key in attributes) node.setAttribute(key, attributes[key]);
      return node;
    }

    path(name, d) {
      return this.mark("path", name, { d });
    }

    text(name, x, y, content, anchor = "middle") {
      const node = this.mark("text", name, { x: at(x), y: at(y), "text-anchor": anchor }, this.outside);
      if (node.textContent !== content) node.textContent = content;
      return node;
    }

    dot(name, x, y, r = 5) {
      return this.mark("circle", name, { cx: at(this.X(x)), cy: at(this.Y(y)), r }, this.outside);
    }

    describe(text) {
      this.svg.setAttribute("aria-label", text);
    }
  }

  /** Class numbers under columns: as many as fit, the true class always. */
  function classTicks(chart, numClasses, trueClass) {
    const column = chart.plotWidth / numClasses;
    const every = ceiling(20 / column, [1, 2, 5, 10, 25, 50]);
    const ticks = [];
    for (let k = 0; k < numClasses; k++) {
      if (k === trueClass) ticks.push([k + 0.5, `${k}`, "true"]);
      else if (k % every === 0 && Math.abs(k - trueClass) * column >= 16) ticks.push([k + 0.5, `${k}`]);
    }
    return ticks;
  }

  /** One path of boxes from zero, one per value, as parts of each column. */
  function bars(chart, values, from, to) {
    const zero = chart.Y(0);
    return values
      .map((value, k) => {
        const [left, right] = [chart.X(k + from), chart.X(k + to)];
        return `M${at(left)} ${at(zero)}V${at(chart.Y(value))}H${at(right)}V${at(zero)}Z`;
      })
      .join("");
  }

  /** Shade the true class's column, and outline the class at hand. */
  function columns(chart, trueClass, selected) {
    const [top, bottom] = [chart.margin.top - 2, chart.height - chart.margin.bottom + 2];
    const box = (k) => `M${at(chart.X(k))} ${top}H${at(chart.X(k + 1))}V${bottom}H${at(chart.X(k))}Z`;
    chart.path("column-true", box(trueClass));
    chart.path("column-selected", selected === null ? "" : box(selected));
  }

  function drawTarget(chart, view, side, name) {
    if (!chart.measure()) return;
    const { result, state, selected } = view;
    const n = result.num_classes;
    chart.domain(0, n, 0, 1);
    chart.axis(classTicks(chart, n, state.trueClass), [[0, "0"], [0.5, "0.5"], [1, "1"]]);
    columns(chart, state.trueClass, selected);
    chart.path("softmax", bars(chart, result.probabilities, 0.22, 0.78));
    const ticks = side.target.map((q, k) => `M${at(chart.X(k + 0.06))} ${at(chart.Y(q))}H${at(chart.X(k + 0.94))}`);
    chart.path("target", ticks.join(""));
    const i = state.trueClass;
    chart.describe(
      worded("{name}: class {i} has probability {p}, its target is {q}", {
        name, i, p: probability(result.probabilities[i]), q: probability(side.target[i]),
      }),
    );
  }

  function drawGradient(chart, view, side, name) {
    if (!chart.measure()) return;
    const { result, state, selected } = view;
    const n = result.num_classes;
    const largest = Math.max(...result.one_hot.gradient.map(Math.abs), ...result.smoothed.gradient.map(Math.abs));
    const limit = ceiling(largest, [0.1, 0.2, 0.5, 1]);
    chart.domain(0, n, -limit, limit);
    chart.axis(classTicks(chart, n, state.trueClass), [[-limit, `−${limit}`], [0, "0"], [limit, `${limit}`]]);
    columns(chart, state.trueClass, selected);
    const column = chart.plotWidth / n;
    const arrows = side.gradient.map((gradient, k) => {
      const [x, from, to] = [chart.X(k + 0.5), chart.Y(0), chart.Y(gradient)];
      const length = Math.abs(to - from);
      if (length < 1) return `M${at(x - Math.min(2, column / 3))} ${at(from)}h${at(Math.min(4, column / 1.5))}`;
      const head = Math.min(5, length, column / 2.4) * Math.sign(to - from);
      const width = Math.abs(head) * 0.8;
      return `M${at(x)} ${at(from)}V${at(to)}M${at(x - width)} ${at(to - head)}L${at(x)} ${at(to)}L${at(x + width)} ${at(to - head)}`;
    });
    chart.path("arrows", arrows.join("")).style.strokeWidth = column > 14 ? 2.2 : 1.4;
    const i = state.trueClass;
    chart.describe(worded("{name}: the gradient on the logit of class {i} is {gradient}", {
      name, i, gradient: signed(side.gradient[i]),
    }));
  }

  function drawLead(chart, view) {
    if (!chart.measure()) return;
    const { result, state, lead } = view;
    const n = result.num_classes;
    const best = result.smoothed.optimum_lead;
    // an optimum beyond 25 (ε below one in a thousand million) is told in words alone
    const inView = best !== null && best < 25;
    const x0 = clamp(Math.floor(lead) - 1, -20, -4);
    const x1 = clamp(Math.ceil(Math.max(lead + 1, inView ? best + 2 : 0)), 10, 30);
    const points = [result.one_hot.loss, result.smoothed.loss];
    const y1 = ceiling(Math.min(60, 1.1 * Math.max(...points, lossAtLead(-1, n, 0), lossAtLead(x1, n, state.epsilon) / 2)), [2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 60]);
    chart.domain(x0, x1, 0, y1);
    const every = ceiling((x1 - x0) / Math.max(3, chart.plotWidth / 55), [1, 2, 4, 5, 10, 20]);
    const xTicks = [];
    for (let x = Math.ceil(x0 / every) * every; x <= x1; x += every) xTicks.push([x, number(x, 0)]);
    chart.axis(xTicks, [0, 0.25, 0.5, 0.75, 1].map((part) => [part * y1, number(part * y1, y1 < 4 ? 2 : y1 % 4 ? 1 : 0)]));
    const curve = (epsilon) => {
      let d = "";
      for (let s = 0; s <= 120; s++) {
        const x = x0 + ((x1 - x0) * s) / 120;
        d += `${s ? "L" : "M"}${at(chart.X(x))} ${at(chart.Y(lossAtLead(x, n, epsilon)))}`;
      }
      return d;
    };
    chart.path("curve unsmoothed", curve(0));
    chart.path("curve smoothed", curve(state.epsilon));
    const bestLoss = best === null ? 0 : lossAtLead(best, n, state.epsilon);
    chart.path("optimum", inView ? `M${at(chart.X(best))} ${chart.margin.top}V${chart.height - chart.margin.bottom}` : "");
    chart.mark("path", "minimum smoothed", {
      d: inView ? `M${at(chart.X(best) - 6)} ${at(chart.Y(bestLoss) - 6)}l6 6l6 -6` : "",
    });
    chart.text("label smoothed", inView ? clamp(chart.X(best), chart.margin.left + 42, chart.width - 62) : 0, chart.margin.top + 2, inView ? worded("minimum at {best}", { best: number(best) }) : "");
    const [edge, floor] = [chart.width - chart.margin.right, chart.Y(lossAtLead(x1, n, 0))];
    chart.path("minimum unsmoothed", `M${at(edge - 16)} ${at(floor - 9)}h12l-4 -3m4 3l-4 3`);
    chart.text("label unsmoothed", edge - 20, floor - 6, worded(best === null ? "both minima at ∞" : "minimum at ∞"), "end");
    const here = clamp(lead, x0, x1);
    const onCurve = lossAtLead(here, n, state.epsilon);
    chart.path("price", `M${at(chart.X(here))} ${at(chart.Y(onCurve))}V${at(chart.Y(result.smoothed.loss))}`);
    chart.dot("point unsmoothed", here, result.one_hot.loss);
    chart.dot("point smoothed", here, result.smoothed.loss);
    chart.describe(
      worded(
        "Loss against the lead of the true-class logit. One-hot: minimum at ∞. Smoothed: minimum at {best}. Here: lead {lead}, losses {one} and {two}",
        { best: number(best), lead: number(lead), one: number(result.one_hot.loss, 3), two: number(result.smoothed.loss, 3) },
      ),
    );
  }

  const LAST_STEP = 10000;
  const PLAY_SECONDS = 8;
  const decades = (step) => Math.log10(1 + step);

  /** Gradient descent from the same logits under both losses, and its history. */
  class Training {
    constructor(state) {
      const { logits, trueClass, epsilon, stepSize } = state;
      const n = logits.length;
      Object.assign(this, { trueClass, stepSize, step: 0, steps: [] });
      this.runs = [0, epsilon].map((strength) => ({
        target: smoothedTarget(n, trueClass, strength),
        logits: [...logits],
        confidences: [],
      }));
      this.record();
    }

    record() {
      this.steps.push(this.step);
      for (const run of this.runs) run.confidences.push(softmax(run.logits)[this.trueClass]);
    }

    /** Descend until `step`, remembering a point per hundredth of a decade. */
    advance(step) {
      const end = Math.min(step, LAST_STEP);
      while (this.step < end) {
        for (const run of this.runs) descend(run.logits, run.target, this.stepSize);
        this.step += 1;
        const last = this.steps[this.steps.length - 1];
        if (decades(this.step) - decades(last) >= 0.01 || this.step === LAST_STEP) this.record();
      }
    }

    get finished() {
      return this.step >= LAST_STEP;
    }
  }

  function drawConfidence(chart, training, result) {
    if (!chart.measure()) return;
    chart.domain(0, decades(LAST_STEP), 0, 1);
    const ticks = [0, 10, 100, 1000, 10000].map((step) => [decades(step), step < 1000 ? `${step}` : `${step / 1000}k`]);
    chart.axis(ticks, [[0, "0"], [0.5, "0.5"], [1, "1"]]);
    chart.path("optimum", `M${at(chart.X(0))} ${at(chart.Y(result.smoothed.optimum_confidence))}H${at(chart.X(chart.x1))}`);
    training.runs.forEach((run, index) => {
      const kind = index ? "smoothed" : "unsmoothed";
      const now = softmax(run.logits)[training.trueClass];
      const past = training.steps.map((step, s) => `${s ? "L" : "M"}${at(chart.X(decades(step)))} ${at(chart.Y(run.confidences[s]))}`);
      chart.path(`curve ${kind}`, `${past.join("")}L${at(chart.X(decades(training.step)))} ${at(chart.Y(now))}`);
      chart.dot(`point ${kind}`, decades(training.step), now);
    });
    const [one, two] = training.runs.map((run) => softmax(run.logits)[training.trueClass]);
    chart.describe(worded("After {steps} steps the confidence is {one} one-hot and {two} smoothed", {
      steps: training.step, one: probability(one), two: probability(two),
    }));
  }

  function drawTrained(chart, training) {
    if (!chart.measure()) return;
    const [one, two] = training.runs.map((run) => run.logits);
    const n = one.length;
    const high = ceiling(Math.max(...one, ...two), [2, 4, 6, 8, 10, 12, 15, 20, 30, 50, 60]);
    const low = -ceiling(-Math.min(...one, ...two), [2, 4, 6, 8, 10, 12, 15, 20, 30, 50, 60]);
    chart.domain(0, n, low, high);
    chart.axis(classTicks(chart, n, training.trueClass), [[low, number(low, 0)], [0, "0"], [high, `${high}`]]);
    columns(chart, training.trueClass, null);
    chart.path("bars unsmoothed", bars(chart, one, 0.12, 0.48));
    chart.path("bars smoothed", bars(chart, two, 0.52, 0.88));
    chart.describe(
      worded("Logits after {steps} steps: the true class leads by {one} one-hot and {two} smoothed", {
        steps: training.step,
        one: number(leadOf(one, training.trueClass)),
        two: number(leadOf(two, training.trueClass)),
      }),
    );
  }

  // --------------------------------------------------------------------------------- the page

  const SKELETON = `
    <section class="console" aria-label="Controls">
      <div class="epsilon">
        <label for="toy-epsilon"><b>ε</b> smoothing</label>
        <input id="toy-epsilon" class="range" type="range" min="0" max="1" step="0.01">
        <input class="epsilon-number" data-rule="epsilon" type="number" min="0" max="1" step="0.01" aria-label="ε as a number, 0 to 1">
        <div class="ends" aria-hidden="true"><span>0 · one-hot</span><span>1 · label forgotten</span></div>
        <p class="verdict" data-text="verdict"></p>
        <p class="notice" role="status" data-text="notice"></p>
      </div>
      <div class="settings">
        <label class="classes">N classes
          <input class="range classes-range" type="range" min="2" max="50" step="1" aria-label="Number of classes">
          <input class="classes-number" data-rule="classes" type="number" min="2" max="50" step="1" aria-label="Number of classes, 2 to 50"></label>
        <label>True class <select class="true-class"></select></label>
        <div class="presets" role="group" aria-label="Logits">
          <button type="button" data-preset="right">Confident, right</button>
          <button type="button" data-preset="wrong">Confident, wrong</button>
          <button type="button" data-preset="undecided">Undecided</button>
          <button type="button" data-preset="random">Random</button>
        </div>
        <div class="tools">
          <button type="button" data-action="reset">Reset</button>
          <button type="button" data-action="link">Copy link</button>
        </div>
      </div>
    </section>

    <section class="panel logits">
      <h3>Logits <small>yours to move</small></h3>
      <div class="chart" data-chart="logits"></div>
      <p class="how">Drag a bar, or focus one: ↑ ↓ move it, ← → change class, Enter makes it the true class.</p>
      <details class="numbers"><summary>The logits as numbers</summary><div class="fields"></div></details>
      <p data-text="logits"></p>
      <p class="selected" data-text="selected"></p>
    </section>

    <section class="panel unsmoothed">
      <h3>One-hot <span>target</span> <small>ε = 0</small></h3>
      <p class="loss"><output data-text="loss-one-hot"></output> loss</p>
      <div class="parts" aria-hidden="true"><b class="label"></b><b class="uniform"></b></div>
      <p class="sum"><span class="label" data-text="label-one-hot"></span><span class="uniform" data-text="uniform-one-hot"></span></p>
      <h4>Target <i class="key line"></i> and softmax <i class="key box"></i></h4>
      <div class="chart" data-chart="target-one-hot"></div>
      <p data-text="target-one-hot"></p>
      <h4>Gradient on each logit, p − q</h4>
      <div class="chart" data-chart="gradient-one-hot"></div>
      <p data-text="gradient-one-hot"></p>
    </section>

    <section class="panel smoothed">
      <h3>Smoothed <span>target</span> <small data-text="epsilon"></small></h3>
      <p class="loss"><output data-text="loss-smoothed"></output> loss</p>
      <div class="parts" aria-hidden="true"><b class="label"></b><b class="uniform"></b></div>
      <p class="sum"><span class="label" data-text="label-smoothed"></span><span class="uniform" data-text="uniform-smoothed"></span></p>
      <h4>Target <i class="key line"></i> and softmax <i class="key box"></i></h4>
      <div class="chart" data-chart="target-smoothed"></div>
      <p data-text="target-smoothed"></p>
      <h4>Gradient on each logit, p − q</h4>
      <div class="chart" data-chart="gradient-smoothed"></div>
      <p data-text="gradient-smoothed"></p>
    </section>

    <section class="panel lead">
      <h3>How far should the true class lead?</h3>
      <p class="how">Loss against the lead of the true-class logit over equal others;
        <span class="unsmoothed">one-hot</span> and <span class="smoothed">smoothed</span>. The dots are your logits: where the others differ, their log-mean-exp stands for them, which leaves the true class its probability.</p>
      <div class="chart" data-chart="lead"></div>
      <p data-text="lead"></p>
      <p data-text="optimum"></p>
      <p data-text="classes"></p>
    </section>

    <section class="panel training">
      <h3>Let it train</h3>
      <div class="transport" role="group" aria-label="Training">
        <button type="button" class="primary" data-action="play">Let it train</button>
        <button type="button" data-action="step">+1 step</button>
        <button type="button" data-action="rewind">Rewind</button>
        <label>Step size <select class="step-size"></select></label>
      </div>
      <p class="how">Gradient descent on your logits under both losses. Above: the true class's confidence against
        the step (logarithmic); dashes mark the smoothed optimum. Below: the logits now.</p>
      <div class="chart" data-chart="confidence"></div>
      <div class="chart" data-chart="trained"></div>
      <p data-text="training"></p>
    </section>`;

  /** The toy's Chinese, by its English. */
  const CHINESE = {
    "Controls": "控制",
    "smoothing": "平滑",
    "ε as a number, 0 to 1": "ε 的数值，0 到 1",
    "1 · label forgotten": "1 · 忘掉标签",
    "N classes": "类别数 N",
    "Number of classes": "类别数",
    "Number of classes, 2 to 50": "类别数，2 到 50",
    "True class": "真实类别",
    "Confident, right": "自信且正确",
    "Confident, wrong": "自信但错误",
    "Undecided": "犹豫不决",
    "Random": "随机",
    "Reset": "重置",
    "Copy link": "复制链接",
    "yours to move": "由您拖动",
    "Drag a bar, or focus one: ↑ ↓ move it, ← → change class, Enter makes it the true class.":
      "拖动一根条，或选中它：↑ ↓ 移动，← → 换类别，回车把它设为真实类别。",
    "The logits as numbers": "logits 的数值",
    "target": "目标",
    "loss": "损失",
    "Smoothed": "平滑",
    "Target": "目标",
    "and softmax": "与 softmax",
    "Gradient on each logit, p − q": "每个 logit 的梯度，p − q",
    "How far should the true class lead?": "真实类别应该领先多少？",
    "Loss against the lead of the true-class logit over equal others;":
      "损失随真实类别 logit 的领先量而变（其余 logits 相等）；",
    "and": "与",
    "smoothed": "平滑",
    ". The dots are your logits: where the others differ, their log-mean-exp stands for them, which leaves the true class its probability.":
      "。圆点是您的 logits：其余 logits 不相等时，用它们指数的平均值的对数代表，真实类别的概率不变。",
    "Let it train": "开始训练",
    "Train again": "再训练一次",
    "Go on": "继续",
    "Pause": "暂停",
    "Training": "训练",
    "+1 step": "+1 步",
    "Rewind": "倒回",
    "Step size": "步长",
    "Gradient descent on your logits under both losses. Above: the true class's confidence against the step (logarithmic); dashes mark the smoothed optimum. Below: the logits now.":
      "在两种损失下对您的 logits 做梯度下降。上：真实类别的置信度随步数（对数坐标）的变化，虚线是平滑的最优值。下：现在的 logits。",

    // what the numbers say
    "{name}: class {i} has probability {p}, its target is {q}": "{name}：类别 {i} 的概率是 {p}，目标是 {q}",
    "{name}: the gradient on the logit of class {i} is {gradient}": "{name}：类别 {i} 的 logit 上的梯度是 {gradient}",
    "minimum at {best}": "最小值在 {best}",
    "both minima at ∞": "两个最小值都在 ∞",
    "minimum at ∞": "最小值在 ∞",
    "Loss against the lead of the true-class logit. One-hot: minimum at ∞. Smoothed: minimum at {best}. Here: lead {lead}, losses {one} and {two}":
      "损失随真实类别 logit 的领先量而变。one-hot：最小值在 ∞。平滑：最小值在 {best}。这里：领先 {lead}，损失 {one} 和 {two}",
    "After {steps} steps the confidence is {one} one-hot and {two} smoothed": "{steps} 步之后，one-hot 的置信度是 {one}，平滑的是 {two}",
    "Logits after {steps} steps: the true class leads by {one} one-hot and {two} smoothed":
      "{steps} 步之后的 logits：真实类别在 one-hot 下领先 {one}，在平滑下领先 {two}",
    "Logit of class {k}": "类别 {k} 的 logit",
    "Logit of class {k}, the true class": "类别 {k} 的 logit，真实类别",
    "Logits, one slider per class": "logits，每个类别一个滑块",
    "true": "真实",
    "{value}, probability {p}": "{value}，概率 {p}",
    "{part} label: (1−ε) · ce({i})": "{part} 标签：(1−ε) · ce({i})",
    "{part} all classes: ε · mean ce": "{part} 全部类别：ε · ce 的平均",
    "ε = 0 is plain cross entropy: both targets are one-hot, and both sides below agree.":
      "ε = 0 就是普通的交叉熵：两个目标都是 one-hot，下面两边相同。",
    "ε = 1 forgets the label: every one of the {n} classes is asked for 1/{n} = {rest}, and the best logits are all equal.":
      "ε = 1 忘掉了标签：{n} 个类别的目标都是 1/{n} = {rest}，最好的 logits 全部相等。",
    "ε = {epsilon} asks for {q} on class {i} and {rest} on the other class.":
      "ε = {epsilon} 要求类别 {i} 的概率为 {q}，另一个类别为 {rest}。",
    "ε = {epsilon} asks for {q} on class {i} and {rest} on each of the other {others}.":
      "ε = {epsilon} 要求类别 {i} 的概率为 {q}，其余 {others} 个各为 {rest}。",
    "All logits are equal: every class has probability 1/{n} = {p}.": "所有 logits 相等：每个类别的概率都是 1/{n} = {p}。",
    "The true class {i} is on top with probability {p}; its logit leads by {lead}.":
      "真实类别 {i} 排在第一，概率 {p}；它的 logit 领先 {lead}。",
    "Class {top} is on top with probability {p}; the true class {i} has {q}.": "类别 {top} 排在第一，概率 {p}；真实类别 {i} 只有 {q}。",
    "Class {k}: logit {logit}, softmax {p}, targets {one} and {two}, gradients {pull} and {push}.":
      "类别 {k}：logit {logit}，softmax {p}，目标 {one} 和 {two}，梯度 {pull} 和 {push}。",
    "Asks for {q} on class {i} and {others} elsewhere; on class {i} the softmax is {p}.":
      "要求类别 {i} 为 {q}，其余为 {others}；类别 {i} 的 softmax 是 {p}。",
    "{gradient} on class {i}, and leaves it where it is. Descent moves each logit against its arrow; the arrows sum to 0.":
      "类别 {i} 上是 {gradient}，它不再移动。下降使每个 logit 逆着箭头移动；所有箭头之和为 0。",
    "{gradient} on class {i}, so descent raises it. Descent moves each logit against its arrow; the arrows sum to 0.":
      "类别 {i} 上是 {gradient}，所以下降把它抬高。下降使每个 logit 逆着箭头移动；所有箭头之和为 0。",
    "{gradient} on class {i}, so descent lowers it: it is too sure. Descent moves each logit against its arrow; the arrows sum to 0.":
      "类别 {i} 上是 {gradient}，所以下降把它压低：它太自信了。下降使每个 logit 逆着箭头移动；所有箭头之和为 0。",
    "Here the lead is {lead} and the losses are {one} and {two}.": "这里的领先量是 {lead}，损失是 {one} 和 {two}。",
    " The smoothed dot floats {price} above its curve: smoothing also charges for unequal wrong classes.":
      "平滑的圆点浮在曲线之上 {price}：错误类别的 logits 不相等，平滑损失也会增加。",
    "One-hot targets have no best lead: each further step lowers the loss, down to 0 at an infinite lead and confidence 1.":
      "one-hot 目标没有最佳领先量：每多领先一点，损失就更低，直到领先无穷大、置信度为 1 时降到 0。",
    "One-hot: every further lead lowers the loss, the minimum is at infinity. Smoothed: it is at log((1−ε+ε/N)/(ε/N)) = {lead}, where the confidence is 1−ε+ε/N = {confidence}. ":
      "one-hot：领先越多损失越低，最小值在无穷远处。平滑：最小值在 log((1−ε+ε/N)/(ε/N)) = {lead}，那里的置信度是 1−ε+ε/N = {confidence}。",
    "Your lead is there.": "您的领先量正好在那里。",
    "Your lead is {gap} short of it.": "您的领先量还差 {gap}。",
    "Your lead is {gap} beyond it.": "您的领先量超出了 {gap}。",
    "The number of classes changes nothing here: with ε = 0 the best lead is infinite for N = 2 and for N = 50.":
      "类别数在这里不起作用：ε = 0 时，无论 N = 2 还是 N = 50，最佳领先量都是无穷大。",
    "At ε = 1 the best lead is 0 for every N; the confidence is 1/N, {p2} for N = 2 and {p50} for N = 50.":
      "ε = 1 时，对任何 N 最佳领先量都是 0；置信度是 1/N：N = 2 时 {p2}，N = 50 时 {p50}。",
    "N matters because ε is shared: with N = 2 the one wrong class keeps ε/2 = {rest2}, so a lead of {lead2} and a confidence of {p2} are best; with N = 50 each keeps {rest50}, and the best lead is {lead50}, the confidence {p50}.":
      "N 有影响，因为 ε 是大家平分的：N = 2 时唯一的错误类别分到 ε/2 = {rest2}，最佳领先量是 {lead2}，置信度 {p2}；N = 50 时每个分到 {rest50}，最佳领先量是 {lead50}，置信度 {p50}。",
    "{epsilon}: target {q} on the true class": "{epsilon}：真实类别的目标是 {q}",
    "Both start at your logits: confidence {p1}, lead {lead1}.": "两者都从您的 logits 出发：置信度 {p1}，领先 {lead1}。",
    "After 1 step of size {size}: ": "步长 {size}，1 步之后：",
    "After {steps} steps of size {size}: ": "步长 {size}，{steps} 步之后：",
    "one-hot confidence {p1}, lead {lead1}": "one-hot 的置信度 {p1}，领先 {lead1}",
    "; smoothed the same, since ε = 0.": "；平滑的也一样，因为 ε = 0。",
    ", running away; smoothed confidence {p2}, lead {lead2}, settled at its optimum.":
      "，越跑越远；平滑的置信度 {p2}，领先 {lead2}，停在了最优值。",
    ", running away; smoothed confidence {p2}, lead {lead2}, bound for {bestP} and {bestLead}.":
      "，越跑越远；平滑的置信度 {p2}，领先 {lead2}，正走向 {bestP} 和 {bestLead}。",
    "{name} takes a whole number from {low} to {high}; the toy keeps the last good one.":
      "{name} 要填 {low} 到 {high} 的整数；先保留上一个有效值。",
    "{name} takes a number from {low} to {high}; the toy keeps the last good one.":
      "{name} 要填 {low} 到 {high} 的数；先保留上一个有效值。",
    "A logit": "logit",
    "The link to this toy is on the clipboard.": "链接已复制到剪贴板。",
    "The link to this toy: {link}": "链接：{link}",
    "The link's toy could not be read, so this is the usual one.": "链接里的内容读不出来，所以这里是平常的样子。",
  };

  /** `text` in the page's language, with `values` in the place of its {names}. */
  function worded(text, values = {}) {
    const chinese = document.documentElement.lang.startsWith("zh");
    const template = chinese ? (CHINESE[text] ?? text) : text;
    return template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  /** Put everything below `root` into the page's language. */
  function translate(root) {
    const nodes = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (nodes.nextNode()) {
      const text = nodes.currentNode.textContent;
      const key = text.trim().replace(/\s+/g, " ");
      if (worded(key) !== key) nodes.currentNode.textContent = text.replace(text.trim(), worded(key));
    }
    for (const node of root.querySelectorAll("[aria-label]")) {
      node.setAttribute("aria-label", worded(node.getAttribute("aria-label")));
    }
  }

  /**
   * Put a toy into `root`, an element of class "toy". Mounting twice changes nothing. `before` is
   * the state to go on from where the page's language has changed.
   */
  function mount(root, before = null) {
    if (root.toy) return root.toy;
    root.innerHTML = `<div class="sheet">${SKELETON}</div>`;
    const sheet = root.firstElementChild;
    translate(sheet);
    const find = (selector) => root.querySelector(selector);
    const language = document.documentElement.lang;
    const stillness = window.matchMedia("(prefers-reduced-motion: reduce)");

    const linked = new URLSearchParams(window.location.search).get(PARAMETER);
    let state = before ?? ((linked !== null && parseState(linked)) || defaultState());
    let result = null;
    let training = new Training(state);
    let playing = false;
    let selected = state.trueClass;

    const texts = {};
    for (const node of root.querySelectorAll("[data-text]")) texts[node.dataset.text] = node;
    const say = (name, text) => {
      if (texts[name].textContent !== text) texts[name].textContent = text;
    };

    const chartAt = (name, ...rest) => new Chart(find(`[data-chart="${name}"]`), ...rest);
    const charts = {
      logits: chartAt("logits", 236, { top: 14, bottom: 22 }),
      targets: [chartAt("target-one-hot", 128), chartAt("target-smoothed", 128)],
      gradients: [chartAt("gradient-one-hot", 118), chartAt("gradient-smoothed", 118)],
      lead: chartAt("lead", 260, { top: 16 }),
      confidence: chartAt("confidence", 170),
      trained: chartAt("trained", 130),
    };

    const fields = {
      epsilon: find(".epsilon .range"),
      epsilonNumber: find(".epsilon-number"),
      classes: find(".classes-range"),
      classesNumber: find(".classes-number"),
      trueClass: find(".true-class"),
      stepSize: find(".step-size"),
      logits: [],
    };
    for (const size of STEP_SIZES) fields.stepSize.append(new Option(size, size));

    // -- the draggable bars: an SVG group per class that is a slider to assistive technology

    const sliders = [];
    let limit = 10; // the bars' axis runs from -limit to limit

    function buildClasses() {
      const n = state.logits.length;
      const host = find(".fields");
      while (sliders.length > n) {
        sliders.pop().group.remove();
        fields.logits.pop().parentNode.remove();
        fields.trueClass.lastChild.remove();
      }
      for (let k = sliders.length; k < n; k++) {
        const group = create("g", {
          class: "slider", role: "slider", tabindex: -1, "aria-orientation": "vertical", "data-class": k,
        }, charts.logits.outside);
        const hit = create("rect", { class: "hit" }, group);
        const bar = create("rect", { class: "bar" }, group);
        const handle = create("circle", { class: "handle" }, group);
        const grip = create("rect", { class: "grip" }, group);
        sliders.push({ group, hit, bar, handle, grip });

        const label = document.createElement("label");
        label.append(`${k}`);
        const field = document.createElement("input");
        Object.assign(field, { type: "number", step: "any", min: -MAX_LOGIT, max: MAX_LOGIT });
        Object.assign(field.dataset, { class: k, rule: "logit" });
        field.setAttribute("aria-label", worded("Logit of class {k}", { k }));
        label.append(field);
        host.append(label);
        fields.logits.push(field);
        fields.trueClass.append(new Option(k, k));
      }
      find(".numbers").open = n <= 12;
      charts.logits.svg.setAttribute("role", "group");
      charts.logits.svg.setAttribute("aria-label", worded("Logits, one slider per class"));
    }

    const maximumOf = (values) => Math.max(...values.map(Math.abs));

    function drawLogits() {
      const chart = charts.logits;
      if (!chart.measure()) return;
      const n = state.logits.length;
      const needed = ceiling(maximumOf(state.logits), [10, 20, 50]);
      if (!dragging) limit = needed; // the scale stands still under a moving hand
      chart.domain(0, n, -limit, limit);
      const ticks = [-limit, -limit / 2, 0, limit / 2, limit].map((y) => [y, number(y, 0)]);
      chart.axis(classTicks(chart, n, state.trueClass), ticks);
      columns(chart, state.trueClass, selected);
      const column = chart.plotWidth / n;
      const radius = clamp(column * 0.3, 2.5, 7);
      const labelled = chart.margin.top - 4;
      chart.mark("text", "flag", { x: at(chart.X(state.trueClass + 0.5)), y: labelled, "text-anchor": "middle" }, chart.outside).textContent = column > 30 ? worded("true") : "▾";
      sliders.forEach(({ group, hit, bar, handle, grip }, k) => {
        const value = state.logits[k];
        const [zero, y, x] = [chart.Y(0), chart.Y(value), chart.X(k)];
        const set = (node, attributes) => {
          for (const name in attributes) node.setAttribute(name, at(attributes[name]));
        };
        set(hit, { x, y: chart.margin.top, width: column, height: chart.plotHeight });
        set(bar, { x: x + column * 0.2, width: column * 0.6, y: Math.min(zero, y), height: Math.abs(zero - y) });
        set(handle, { cx: x + column / 2, cy: y, r: radius });
        set(grip, { x, y: y - 22, width: column, height: 44 });
        group.classList.toggle("is-true", k === state.trueClass);
        group.setAttribute("tabindex", k === selected ? 0 : -1);
        group.setAttribute("aria-label", worded(
          k === state.trueClass ? "Logit of class {k}, the true class" : "Logit of class {k}", { k },
        ));
        group.setAttribute("aria-valuenow", value);
        group.setAttribute("aria-valuemin", -MAX_LOGIT);
        group.setAttribute("aria-valuemax", MAX_LOGIT);
        group.setAttribute("aria-valuetext", worded("{value}, probability {p}", {
          value: number(value), p: probability(result.probabilities[k]),
        }));
      });
    }

    // -- words and numbers

    function drawLoss() {
      const longest = ceiling(Math.max(result.one_hot.loss, result.smoothed.loss, 1e-9), [0.5, 1, 2, 5, 10, 20, 50, 100, 200]);
      for (const [side, panel, name] of [
        [result.one_hot, ".panel.unsmoothed", "one-hot"],
        [result.smoothed, ".panel.smoothed", "smoothed"],
      ]) {
        say(`loss-${name}`, number(side.loss, 3));
        say(`label-${name}`, worded("{part} label: (1−ε) · ce({i})", { part: number(side.label_part, 3), i: state.trueClass }));
        say(`uniform-${name}`, worded("{part} all classes: ε · mean ce", { part: number(side.uniform_part, 3) }));
        const parts = find(`${panel} .parts`).children;
        parts[0].style.width = `${(100 * side.label_part) / longest}%`;
        parts[1].style.width = `${(100 * side.uniform_part) / longest}%`;
      }
    }

    function verdict() {
      const { epsilon, trueClass, logits } = state;
      const n = logits.length;
      const [q, rest] = [result.smoothed.target[trueClass], epsilon / n];
      const values = { epsilon: shortest(epsilon), n, i: trueClass, q: probability(q), rest: probability(rest), others: n - 1 };
      if (epsilon === 0) return worded("ε = 0 is plain cross entropy: both targets are one-hot, and both sides below agree.");
      if (epsilon === 1) return worded("ε = 1 forgets the label: every one of the {n} classes is asked for 1/{n} = {rest}, and the best logits are all equal.", values);
      return worded(n === 2
        ? "ε = {epsilon} asks for {q} on class {i} and {rest} on the other class."
        : "ε = {epsilon} asks for {q} on class {i} and {rest} on each of the other {others}.", values);
    }

    const shortest = (value) => `${round(value, 4) || value}`;

    function tell(view) {
      const { epsilon, trueClass: i, logits } = state;
      const n = logits.length;
      const p = result.probabilities;
      const { one_hot: one, smoothed: two } = result;
      const top = p.indexOf(Math.max(...p));
      say("verdict", verdict());
      say("epsilon", `ε = ${shortest(epsilon)}`);
      say("logits", p.every((value) => Math.abs(value - p[0]) < 1e-12)
        ? worded("All logits are equal: every class has probability 1/{n} = {p}.", { n, p: probability(p[0]) })
        : top === i
          ? worded("The true class {i} is on top with probability {p}; its logit leads by {lead}.", { i, p: probability(p[i]), lead: number(view.lead) })
          : worded("Class {top} is on top with probability {p}; the true class {i} has {q}.", { top, p: probability(p[top]), i, q: probability(p[i]) }));
      const k = selected;
      say("selected", worded("Class {k}: logit {logit}, softmax {p}, targets {one} and {two}, gradients {pull} and {push}.", {
        k, logit: number(logits[k]), p: probability(p[k]),
        one: probability(one.target[k]), two: probability(two.target[k]),
        pull: signed(one.gradient[k]), push: signed(two.gradient[k]),
      }));
      for (const [name, side] of [["one-hot", one], ["smoothed", two]]) {
        const others = side.target[i === 0 ? 1 : 0];
        say(`target-${name}`, worded("Asks for {q} on class {i} and {others} elsewhere; on class {i} the softmax is {p}.", {
          q: probability(side.target[i]), i, others: probability(others), p: probability(p[i]),
        }));
        const gradient = side.gradient[i];
        say(`gradient-${name}`, worded(
          Math.abs(gradient) < 0.0005
            ? "{gradient} on class {i}, and leaves it where it is. Descent moves each logit against its arrow; the arrows sum to 0."
            : gradient < 0
              ? "{gradient} on class {i}, so descent raises it. Descent moves each logit against its arrow; the arrows sum to 0."
              : "{gradient} on class {i}, so descent lowers it: it is too sure. Descent moves each logit against its arrow; the arrows sum to 0.",
          { gradient: signed(gradient), i },
        ));
      }
      const price = two.loss - lossAtLead(view.lead, n, epsilon);
      say("lead",
        worded("Here the lead is {lead} and the losses are {one} and {two}.", {
          lead: number(view.lead), one: number(one.loss, 3), two: number(two.loss, 3),
        }) + (price > 0.0005
          ? worded(" The smoothed dot floats {price} above its curve: smoothing also charges for unequal wrong classes.", { price: number(price, 3) })
          : ""));
      const gap = two.optimum_lead === null ? 0 : two.optimum_lead - view.lead;
      say("optimum", two.optimum_lead === null
        ? worded("One-hot targets have no best lead: each further step lowers the loss, down to 0 at an infinite lead and confidence 1.")
        : worded("One-hot: every further lead lowers the loss, the minimum is at infinity. Smoothed: it is at log((1−ε+ε/N)/(ε/N)) = {lead}, where the confidence is 1−ε+ε/N = {confidence}. ", {
          lead: number(two.optimum_lead), confidence: probability(two.optimum_confidence),
        }) + worded(
          Math.abs(gap) < 0.005 ? "Your lead is there."
            : gap > 0 ? "Your lead is {gap} short of it." : "Your lead is {gap} beyond it.",
          { gap: number(Math.abs(gap)) },
        ));
      const [few, many] = [MIN_CLASSES, MAX_CLASSES].map((count) => [optimalLead(epsilon, count), optimalConfidence(epsilon, count)]);
      say("classes", worded(
        epsilon === 0
          ? "The number of classes changes nothing here: with ε = 0 the best lead is infinite for N = 2 and for N = 50."
          : epsilon === 1
            ? "At ε = 1 the best lead is 0 for every N; the confidence is 1/N, {p2} for N = 2 and {p50} for N = 50."
            : "N matters because ε is shared: with N = 2 the one wrong class keeps ε/2 = {rest2}, so a lead of {lead2} and a confidence of {p2} are best; with N = 50 each keeps {rest50}, and the best lead is {lead50}, the confidence {p50}.",
        {
          rest2: probability(epsilon / 2), lead2: number(few[0]), p2: probability(few[1]),
          rest50: probability(epsilon / 50), lead50: number(many[0]), p50: probability(many[1]),
        },
      ));
      fields.epsilon.setAttribute("aria-valuetext", worded("{epsilon}: target {q} on the true class", {
        epsilon: shortest(epsilon), q: probability(two.target[i]),
      }));
    }

    function drawTraining() {
      drawConfidence(charts.confidence, training, result);
      drawTrained(charts.trained, training);
      const [one, two] = training.runs.map((run) => [softmax(run.logits)[state.trueClass], leadOf(run.logits, state.trueClass)]);
      const best = result.smoothed;
      const settled = best.optimum_lead !== null && Math.abs(two[1] - best.optimum_lead) < 0.005;
      const values = {
        steps: training.step.toLocaleString("en"), size: state.stepSize,
        p1: probability(one[0]), lead1: number(one[1]), p2: probability(two[0]), lead2: number(two[1]),
        bestP: probability(best.optimum_confidence), bestLead: number(best.optimum_lead),
      };
      say("training", training.step === 0
        ? worded("Both start at your logits: confidence {p1}, lead {lead1}.", values)
        : worded(training.step === 1 ? "After 1 step of size {size}: " : "After {steps} steps of size {size}: ", values) +
          worded("one-hot confidence {p1}, lead {lead1}", values) +
          worded(state.epsilon === 0 ? "; smoothed the same, since ε = 0."
            : settled ? ", running away; smoothed confidence {p2}, lead {lead2}, settled at its optimum."
              : ", running away; smoothed confidence {p2}, lead {lead2}, bound for {bestP} and {bestLead}.", values));
      const play = find('[data-action="play"]');
      const caption = worded(playing ? "Pause" : training.finished ? "Train again" : training.step ? "Go on" : "Let it train");
      if (play.textContent !== caption) play.textContent = caption;
      find('[data-action="step"]').disabled = training.finished;
      find('[data-action="rewind"]').disabled = training.step === 0;
    }

    // -- one redraw for every change

    let dragging = null;
    let drawnLogits = "";

    function draw() {
      result = compute(state.logits, state.trueClass, state.epsilon);
      const view = { state, result, selected, lead: leadOf(state.logits, state.trueClass) };
      const logitsKey = `${state.logits}|${state.trueClass}|${selected}|${dragging}|${charts.logits.host.clientWidth}`;
      if (logitsKey !== drawnLogits) drawLogits();
      drawnLogits = logitsKey;
      [result.one_hot, result.smoothed].forEach((side, s) => {
        const name = worded(s ? "Smoothed" : "One-hot");
        drawTarget(charts.targets[s], view, side, name);
        drawGradient(charts.gradients[s], view, side, name);
      });
      drawLoss();
      drawLead(charts.lead, view);
      tell(view);
      drawTraining();
      root.dataset.epsilon = state.epsilon; // what the figures now show; the benchmark reads it
    }

    /** Bring the fields to the state, except the one that is being typed in. */
    function fill() {
      const put = (field, value) => {
        if (field !== document.activeElement || field.type !== "number") field.value = value;
      };
      put(fields.epsilon, state.epsilon);
      put(fields.epsilonNumber, round(state.epsilon, 6));
      put(fields.classes, state.logits.length);
      put(fields.classesNumber, state.logits.length);
      put(fields.trueClass, state.trueClass);
      put(fields.stepSize, state.stepSize);
      fields.logits.forEach((field, k) => put(field, round(state.logits[k], 4)));
    }

    let writing = 0;

    /** Take over a changed state: the training starts anew from it, the address follows. */
    function change(changes) {
      const before = state.logits.length;
      state = { ...state, ...changes };
      if (state.logits.length !== before) buildClasses();
      selected = Math.min(selected, state.logits.length - 1);
      training = new Training(state);
      elapsed = 0;
      fill();
      draw();
      clearTimeout(writing);
      writing = setTimeout(() => root.isConnected && writeAddress(state), 250);
    }

    function setLogit(k, value) {
      const logits = [...state.logits];
      logits[k] = round(clamp(value, -MAX_LOGIT, MAX_LOGIT), 4);
      selected = k;
      change({ logits });
    }

    function setClasses(n) {
      const logits = Array.from({ length: n }, (_, k) => state.logits[k] ?? 0);
      change({ logits, trueClass: Math.min(state.trueClass, n - 1) });
    }

    function select(k) {
      if (k === selected) return;
      selected = k;
      draw();
    }

    // -- number fields: anything but a number in range leaves the toy as it is and says so

    const rules = {
      epsilon: { name: "ε", low: 0, high: 1, take: (epsilon) => change({ epsilon }) },
      classes: { name: "N", low: MIN_CLASSES, high: MAX_CLASSES, whole: true, take: setClasses },
      logit: { name: "A logit", low: -MAX_LOGIT, high: MAX_LOGIT, take: (value, k) => setLogit(k, value) },
    };
    const ruleOf = (field) => rules[field.dataset.rule];

    sheet.addEventListener("input", ({ target: field }) => {
      const rule = ruleOf(field);
      if (!rule) return;
      const { name, low, high, whole, take } = rule;
      const value = field.valueAsNumber; // NaN for an empty field and for anything unreadable
      const good = value >= low && value <= high && (!whole || Number.isInteger(value));
      field.setAttribute("aria-invalid", !good);
      say("notice", good ? "" : worded(
        whole
          ? "{name} takes a whole number from {low} to {high}; the toy keeps the last good one."
          : "{name} takes a number from {low} to {high}; the toy keeps the last good one.",
        { name: worded(name), low: number(low, 0), high },
      ));
      if (good) take(value, Number(field.dataset.class));
    });
    sheet.addEventListener("focusout", ({ target: field }) => {
      if (!ruleOf(field)) return;
      field.removeAttribute("aria-invalid");
      say("notice", "");
      field.value = ""; // a browser may keep unreadable text in a field whose value is empty
      fill();
    });
    fields.epsilon.addEventListener("input", () => change({ epsilon: fields.epsilon.valueAsNumber }));
    fields.classes.addEventListener("input", () => setClasses(fields.classes.valueAsNumber));
    fields.trueClass.addEventListener("change", () => {
      selected = Number(fields.trueClass.value);
      change({ trueClass: selected });
    });
    fields.stepSize.addEventListener("change", () => change({ stepSize: Number(fields.stepSize.value) }));

    find(".fields").addEventListener("focusin", (event) => {
      if (event.target.dataset.class) select(Number(event.target.dataset.class));
    });

    // -- dragging

    const svg = charts.logits.svg;
    const classOf = (event) => event.target.closest?.("[data-class]")?.dataset.class;
    const valueAt = (event) => {
      const chart = charts.logits;
      const y = event.clientY - svg.getBoundingClientRect().top;
      const value = chart.y1 - ((y - chart.margin.top) / chart.plotHeight) * (chart.y1 - chart.y0);
      return round(clamp(value, -limit, limit), limit > 10 ? 1 : 2);
    };
    svg.addEventListener("pointerdown", (event) => {
      const k = classOf(event);
      if (k === undefined || event.button !== 0) return;
      // a finger outside the handle scrolls the page; a mouse may click anywhere in the column
      if (event.pointerType === "touch" && !event.target.classList.contains("grip")) return;
      dragging = Number(k);
      svg.setPointerCapture(event.pointerId);
      sliders[dragging].group.focus({ preventScroll: true });
      setLogit(dragging, valueAt(event));
      event.preventDefault();
    });
    svg.addEventListener("pointermove", (event) => {
      if (dragging !== null) setLogit(dragging, valueAt(event));
    });
    for (const name of ["pointerup", "pointercancel"]) {
      svg.addEventListener(name, () => {
        if (dragging === null) return;
        dragging = null;
        draw();
      });
    }

    svg.addEventListener("focusin", (event) => {
      const k = classOf(event);
      if (k !== undefined) select(Number(k));
    });
    svg.addEventListener("keydown", (event) => {
      const text = classOf(event);
      if (text === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      const k = Number(text);
      const n = state.logits.length;
      const step = event.shiftKey ? 1 : 0.1;
      const moves = { ArrowUp: step, ArrowDown: -step, PageUp: 1, PageDown: -1 };
      const goes = { ArrowLeft: (k + n - 1) % n, ArrowRight: (k + 1) % n };
      if (event.key in moves) setLogit(k, round(state.logits[k] + moves[event.key], 2));
      else if (event.key === "Home") setLogit(k, -10);
      else if (event.key === "End") setLogit(k, 10);
      else if (event.key in goes) sliders[goes[event.key]].group.focus();
      else if (event.key === "Enter" || event.key === " ") change({ trueClass: k });
      else return;
      event.preventDefault();
    });

    // hovering over a column anywhere puts its numbers under the logits
    for (const chart of [charts.logits, ...charts.targets, ...charts.gradients]) {
      chart.svg.addEventListener("pointermove", (event) => {
        if (dragging !== null || event.pointerType !== "mouse" || !chart.plotWidth) return;
        const x = event.clientX - chart.svg.getBoundingClientRect().left - chart.margin.left;
        const k = Math.floor((x / chart.plotWidth) * state.logits.length);
        if (isIndex(k, state.logits.length)) select(k);
      });
    }

    // -- training

    let elapsed = 0;
    let lastFrame = 0;

    function frame(now) {
      if (!playing || !root.isConnected) return;
      elapsed += Math.min(0.1, (now - lastFrame) / 1000); // a hidden page must not skip ahead
      lastFrame = now;
      training.advance(Math.floor(10 ** ((elapsed / PLAY_SECONDS) * decades(LAST_STEP))));
      if (training.finished) playing = false;
      drawTraining();
      if (playing) requestAnimationFrame(frame);
    }

    function play() {
      if (playing) {
        playing = false;
      } else {
        if (training.finished) rewind();
        if (stillness.matches) {
          training.advance(LAST_STEP); // who asked for less motion gets the outcome at once
        } else {
          playing = true;
          elapsed = (PLAY_SECONDS * decades(training.step)) / decades(LAST_STEP);
          lastFrame = performance.now();
          requestAnimationFrame(frame);
        }
      }
      drawTraining();
    }

    function rewind() {
      playing = false;
      training = new Training(state);
      elapsed = 0;
      drawTraining();
    }

    const actions = {
      play,
      rewind,
      step: () => {
        playing = false;
        training.advance(training.step + 1);
        drawTraining();
      },
      reset: () => {
        playing = false;
        const fresh = defaultState();
        selected = fresh.trueClass;
        say("notice", "");
        change(fresh);
      },
      link: async () => {
        clearTimeout(writing);
        writeAddress(state);
        const address = addressOf(state);
        address.searchParams.delete("__sign");
        try {
          await navigator.clipboard.writeText(address.href);
          say("notice", worded("The link to this toy is on the clipboard."));
        } catch {
          say("notice", worded("The link to this toy: {link}", { link: address.href }));
        }
      },
    };
    sheet.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.action) actions[button.dataset.action]();
      if (button.dataset.preset) {
        change({ logits: PRESETS[button.dataset.preset](state.logits.length, state.trueClass) });
      }
    });

    buildClasses();
    fill();
    draw();
    if (before === null && linked !== null && parseState(linked) === null) {
      say("notice", worded("The link's toy could not be read, so this is the usual one."));
    }
    // the first width comes when the tab is shown, later ones when the window changes
    const widths = new ResizeObserver(draw);
    widths.observe(root);

    const spoken = new MutationObserver(() => {
      if (document.documentElement.lang === language) return;
      widths.disconnect();
      spoken.disconnect();
      playing = false;
      delete root.toy;
      mount(root, state);
    });
    spoken.observe(document.documentElement, { attributes: true, attributeFilter: ["lang"] });

    root.toy = {
      get state() {
        return { ...state, logits: [...state.logits] };
      },
      get result() {
        return result;
      },
      get training() {
        return { step: training.step, playing, logits: training.runs.map((run) => [...run.logits]) };
      },
    };
    return root.toy;
  }

  window.LabelSmoothingToy = {
    compute, optimalLead, optimalConfidence, lossAtLead, leadOf, formatState, parseState, mount,
  };
})();
