// The page around the tabs: its address remembers what is shown, and every figure can be saved.
//
// A plain script without dependencies; it talks to no server.

window.LabelSmoothingPage = (() => {
  "use strict";

  // ---------------------------------------------------------------------------- the address

  const PAUSE = 250; // milliseconds; browsers limit how often the address may change
  const changes = new Map();
  let resting = 0;

  /** Write `value` under `key` into the address, or drop `key` where it has its default. */
  function remember(key, value, initial) {
    // The tab that is shown first says so before anyone touched the page.
    if (navigator.userActivation?.hasBeenActive === false) return;
    changes.set(key, [undefined, null, "", initial].includes(value) ? null : value);
    if (resting) return; // a slider under way
    write();
    resting = setTimeout(() => {
      resting = 0;
      if (changes.size) write();
    }, PAUSE);
  }

  function write() {
    const address = new URL(window.location.href);
    for (const [key, value] of changes) {
      if (value === null) address.searchParams.delete(key);
      else address.searchParams.set(key, value);
    }
    changes.clear();
    try {
      window.history.replaceState(window.history.state, "", address);
    } catch {
      return; // the next change will do
    }
    if (window.parent !== window) { // a Space shows the page in a frame: its address follows
      address.searchParams.delete("__sign"); // the key to a private Space is nobody's business
      const message = { queryString: address.search, hash: address.hash };
      window.parent.postMessage(message, "https://huggingface.co");
    }
  }

  const WORDS = {
    en: {
      full: "Too many requests are waiting: try again in a moment.",
      png: "Save this figure as PNG", csv: "Save this figure's data as CSV",
      chelsea: "Example: a cat", lion: "Example: a lion", cheetah: "Example: a cheetah",
      tower: "Example: a tower", flower: "Example: a flower",
    },
    zh: {
      full: "排队的请求太多：请稍后再试。",
      png: "将此图保存为 PNG", csv: "将此图的数据保存为 CSV",
      chelsea: "示例：一只猫", lion: "示例：一头狮子", cheetah: "示例：一只猎豹",
      tower: "示例：一座塔", flower: "示例：一朵花",
    },
  };

  /** Names that Gradio and Plotly give to their own buttons in English alone. */
  const THEIRS = [
    [/^Fullscreen$/, "全屏"], [/^Exit fullscreen mode$/, "退出全屏"], [/^Remove Image$/, "移除图片"],
    [/^Clear$/, "清除"], [/^Upload file$/, "上传文件"], [/^Capture from camera$/, "用摄像头拍照"],
    [/^Paste from clipboard$/, "从剪贴板粘贴"], [/^Reset to default value$/, "恢复默认值"],
    [/^number input for (.*)$/, "$1：数值"], [/^range slider for (.*)$/, "$1：滑块"],
    [/^Close$/, "关闭"], [/^Gradio footer navigation$/, "页脚导航"], [/^Download plot as a PNG$/, "下载为 PNG"],
    [/^Zoom$/, "缩放"], [/^Pan$/, "平移"], [/^Box Select$/, "框选"], [/^Lasso Select$/, "套索选择"],
    [/^Zoom in$/, "放大"], [/^Zoom out$/, "缩小"], [/^Autoscale$/, "自动缩放"], [/^Reset axes$/, "重置坐标轴"],
  ];
  const worded = (key) => WORDS[document.documentElement.lang.startsWith("zh") ? "zh" : "en"][key];

  // ------------------------------------------------------------------------------- the queue

  // Gradio's page has a sentence of its own, in English, for a full queue, which is status 503; to
  // any other status it shows what the answer says.
  const ask = window.fetch;
  window.fetch = async (...request) => {
    const answer = await ask(...request);
    if (answer.status !== 503 || !answer.url.includes("/queue/join")) return answer;
    return Response.json({ detail: worded("full") }, { status: 429 });
  };

  // ----------------------------------------------------------------------------- the figures

  const quoted = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  /**
   * The data of a figure as CSV: a row for each point of each series. A bar whose exact value
   * stands in customdata (its length may be cut off) gives that.
   */
  function csv(plot) {
    const lines = ["series,x,y"];
    for (const trace of plot._fullData) {
      const exact = trace.type === "bar" && trace.customdata && typeof trace.customdata[0] === "number";
      const across = trace.orientation === "h";
      for (let i = 0; i < (trace.x?.length ?? 0); i++) {
        const x = exact && across ? trace.customdata[i] : trace.x[i];
        const y = exact && !across ? trace.customdata[i] : trace.y[i];
        lines.push([trace.name, x, y].map(quoted).join(","));
      }
    }
    return lines.join("\n") + "\n";
  }

  function save(name, content) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", content], { type: "text/csv;charset=utf-8" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  /** What a saved file is called, without its ending. */
  const nameOf = (plot) =>
    `label-smoothing-${plot.closest("[id]:not([id^=component])")?.id || "figure"}`;

  /** Save as PNG, by Plotly's own button, in twice the size for print. */
  function picture(plot) {
    plot._context.toImageButtonOptions = { filename: nameOf(plot), scale: 2 };
    plot.querySelector('.modebar-btn[data-attr="toImage"], .modebar-btn')?.click();
  }

  /** Two small buttons below a figure. */
  function equip(plot) {
    const bar = document.createElement("div");
    bar.className = "save";
    for (const kind of ["png", "csv"]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = kind.toUpperCase();
      button.title = worded(kind);
      button.setAttribute("aria-label", worded(kind));
      button.addEventListener("click", () => {
        if (kind === "csv") save(`${nameOf(plot)}.csv`, csv(plot));
        else picture(plot);
      });
      bar.append(button);
    }
    plot.after(bar);
  }

  /** Examples are pictures without a word, and their buttons without a name. */
  function nameExamples() {
    for (const button of document.querySelectorAll("#examples button:has(img)")) {
      const file = button.querySelector("img").src.split("/").pop();
      const name = worded(file.replace(/\d*\.\w+$/, ""));
      if (name && button.getAttribute("aria-label") !== name) button.setAttribute("aria-label", name);
    }
  }

  /** On a Chinese page, give Chinese names to what Gradio and Plotly named in English. */
  function nameTheirs() {
    if (!document.documentElement.lang.startsWith("zh")) return;
    for (const attribute of ["aria-label", "title", "data-title"]) {
      for (const node of document.querySelectorAll(`[${attribute}]`)) {
        const name = node.getAttribute(attribute);
        const [pattern, chinese] = THEIRS.find(([known]) => known.test(name)) ?? [];
        if (pattern) node.setAttribute(attribute, name.replace(pattern, chinese));
      }
    }
    for (const { firstChild: text } of document.querySelectorAll("span.error")) {
      if (text?.data?.trim() === "Error") text.data = "出错了"; // where an answer should have stood
    }
  }

  const TABS = ["classify", "toy", "calibration", "train"]; // app.py has the same
  let wanted = new URLSearchParams(window.location.search).get("tab");

  /** A tab's button; where tabs do not fit, it is in the menu beside them, known by its name. */
  function buttonOf(tab) {
    const name = document.querySelectorAll(".tab-container.visually-hidden button")[TABS.indexOf(tab)];
    return (
      document.querySelector(`button[data-tab-id="${CSS.escape(tab)}"]`) ??
      [...document.querySelectorAll(".overflow-dropdown button")].find(
        (button) => button.textContent === name?.textContent,
      )
    );
  }

  /** Open the tab that the address names. (The server asks for it too, but may come too early.) */
  function openTab() {
    const button = wanted && buttonOf(wanted);
    if (!button) return;
    wanted = null;
    if (button.getAttribute("aria-selected") !== "true") button.click();
  }

  /** Every figure, also those that come later; Gradio may replace a figure's element. */
  function watch() {
    let waiting = false;
    const look = () => {
      waiting = false;
      openTab();
      nameExamples();
      nameTheirs();
      for (const plot of document.querySelectorAll(".js-plotly-plot")) {
        if (plot._fullData && !plot.nextElementSibling?.matches(".save")) equip(plot);
      }
      for (const bar of document.querySelectorAll(".save")) {
        if (!bar.previousElementSibling?.matches(".js-plotly-plot")) bar.remove();
      }
    };
    new MutationObserver(() => {
      if (waiting) return;
      waiting = true;
      setTimeout(look, 200);
    }).observe(document.body, { childList: true, subtree: true });
  }

  if (document.body) watch();
  else document.addEventListener("DOMContentLoaded", watch);

  return { remember, csv };
})();
