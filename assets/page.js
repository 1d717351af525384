// The page around the tabs: its address remembers what is shown, and every figure can be saved.
//
// A plain script without dependencies; it talks to no server.

window.LabelSmoothingPage = (() => {
  "use strict";

  // ---------------------------------------------------------------------------- the address

  /** Write `value` under `key` into the address, or drop `key` where it has its default. */
  function remember(key, value, initial) {
    // The tab that is shown first says so before anyone touched the page.
    if (navigator.userActivation?.hasBeenActive === false) return;
    const address = new URL(window.location.href);
    if ([undefined, null, "", initial].includes(value)) address.searchParams.delete(key);
    else address.searchParams.set(key, value);
    try {
      window.history.replaceState(window.history.state, "", address);
    } catch {
      return; // some browsers limit how often the address may change
    }
    if (window.parent !== window) { // a Space shows the page in a frame: its address follows
      address.searchParams.delete("__sign"); // the key to a private Space is nobody's business
      const message = { queryString: address.search, hash: address.hash };
      window.parent.postMessage(message, "https://huggingface.co");
    }
  }

  // ----------------------------------------------------------------------------- the figures

  const WORDS = {
    en: {
      png: "Save this figure as PNG", csv: "Save this figure's data as CSV",
      chelsea: "Example: a cat", lion: "Example: a lion", cheetah: "Example: a cheetah",
      tower: "Example: a tower", flower: "Example: a flower",
    },
    zh: {
      png: "将此图保存为 PNG", csv: "将此图的数据保存为 CSV",
      chelsea: "示例：一只猫", lion: "示例：一头狮子", cheetah: "示例：一只猎豹",
      tower: "示例：一座塔", flower: "示例：一朵花",
    },
  };
  const worded = (key) => WORDS[document.documentElement.lang.startsWith("zh") ? "zh" : "en"][key];

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

  const nameOf = (plot) => plot.closest("[id]:not([id^=component])")?.id || "figure";

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
        else plot.querySelector('.modebar-btn[data-attr="toImage"], .modebar-btn')?.click();
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

  let wanted = new URLSearchParams(window.location.search).get("tab");

  /** Open the tab that the address names. (The server asks for it too, but may come too early.) */
  function openTab() {
    const button = wanted && document.querySelector(`button[data-tab-id="${CSS.escape(wanted)}"]`);
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
