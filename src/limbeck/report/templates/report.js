(() => {
  "use strict";
  const root = document.documentElement;
  const specs = JSON.parse(document.getElementById("plot-data").textContent);
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const config = {
    responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover", doubleClick: "reset",
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
  };

  // Figures name colors as CSS variables; here they get the values of the theme that is shown.
  const variable = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const mix = (a, b, share) => {
    const [x, y] = [channels(a), channels(b)];
    return `rgb(${x.map((v, i) => Math.round(v + share * (y[i] - v))).join(",")})`;
  };
  const themed = (value) => {
    if (typeof value === "string") {
      let found = /^var\((--[\w-]+)\)$/.exec(value);
      if (found) return variable(found[1]);
      found = /^ramp\(var\((--[\w-]+)\)\)$/.exec(value);
      if (found) {
        const [color, ink] = [variable(found[1]), variable("--ink")];
        return [[0, mix(color, color, 0)], [1, mix(color, ink, 0.75)]];
      }
      return value;
    }
    if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(themed);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, themed(inner)]));
    }
    return value;
  };

  const axis = (own, small) => ({
    color: variable("--soft"), gridcolor: variable("--grid"), linecolor: variable("--quiet"), tickcolor: variable("--quiet"),
    zerolinecolor: variable("--line"), zeroline: false, showline: true, ticks: "outside", ticklen: 4, automargin: true,
    ...own, title: { standoff: small ? 4 : 8, ...own.title, font: { size: small ? 10 : 13 } },
  });
  const layoutOf = (spec, small) => {
    const layout = themed(spec.layout);
    for (const key of Object.keys(layout)) if (/^[xy]axis\d*$/.test(key)) layout[key] = axis(layout[key], small);
    layout.annotations = (layout.annotations || []).map((note) => ({
      ...note, font: { color: variable("--soft"), ...note.font, size: small ? 9 : 12 },
    }));
    const { height, legend, margin, ...rest } = layout;
    return {
      autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      dragmode: touch ? false : "zoom", separators: ".\u202f",
      font: { family: getComputedStyle(document.body).fontFamily, size: small ? 10 : 13, color: variable("--ink") },
      hoverlabel: { bgcolor: variable("--raised"), bordercolor: variable("--line"), font: { color: variable("--ink") } },
      modebar: { bgcolor: variable("--surface"), color: variable("--quiet"), activecolor: variable("--ink") },
      legend: {
        orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", bgcolor: "rgba(0,0,0,0)",
        font: { size: 12 }, ...legend,
      },
      margin: { l: 56, r: 14, t: 14, b: 46, ...margin },
      ...rest,
    };
  };

  const boxOf = (id) => document.getElementById(`figure-${id}`);
  const draw = (id) => {
    const box = boxOf(id);
    const spec = specs[id];
    if (spec.layout.height) box.style.height = `${spec.layout.height}px`;
    return Plotly.react(box, themed(spec.data), layoutOf(spec, box.clientWidth < 260), { ...config, toImageButtonOptions: { format: "svg", filename: id } });
  };
  const drawAll = () => { for (const id of Object.keys(specs)) draw(id); };

  // One figure at a time, so that the page can be read and scrolled while they come.
  const drawNext = (ids) => {
    if (!ids.length) { root.dataset.figures = "drawn"; return; }
    draw(ids[0]);
    setTimeout(drawNext, 0, ids.slice(1));
  };
  if (Object.keys(specs).length) drawNext(Object.keys(specs));
  else root.dataset.figures = "drawn";

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  const forPrint = (on) => {
    if (on) root.dataset.theme = "light"; else delete root.dataset.theme;
    for (const id of Object.keys(specs)) { draw(id); Plotly.Plots.resize(boxOf(id)); }
  };
  window.addEventListener("beforeprint", () => forPrint(true));
  window.addEventListener("afterprint", () => forPrint(false));

  document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", async () => {
    const text = button.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(text);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }));

  // The data-set view is packed (gzip, base64) and costs nothing until it is opened.
  const unpack = async (id) => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const opener = document.getElementById("open-dataset");
  // In a frame of its own: the viewer brings its own Plotly, whose styles would replace this page's.
  const framed = (frame, page) => new Promise((resolve) => {
    frame.addEventListener("load", () => resolve(frame.contentWindow), { once: true });
    frame.srcdoc = page;
    frame.hidden = false;
  });
  const openDataset = async () => {
    const status = document.getElementById("dataset-status");
    const frame = document.getElementById("dataset-view");
    opener.disabled = true;
    status.hidden = false;
    status.textContent = "Unpacking …";
    try {
      if (!("DecompressionStream" in window)) throw new Error("this browser is too old (it lacks DecompressionStream)");
      const [code, data] = await Promise.all([unpack("packed-viewer"), unpack("packed-dataset")]);
      const inside = await framed(frame, document.getElementById("dataset-page").innerHTML);
      const script = inside.document.createElement("script");
      script.textContent = code;
      inside.document.head.append(script);
      const warnings = new inside.Chemiscope.Warnings();
      warnings.addHandler((message) => { status.hidden = false; status.textContent = message; });
      await inside.Chemiscope.DefaultVisualizer.load(
        { meta: "meta", map: "map", structure: "structure", info: "info", maxStructureViewers: 4 }, JSON.parse(data), warnings,
      );
      opener.hidden = true;
      status.hidden = true;
      root.dataset.dataset = "open";
    } catch (error) {
      frame.hidden = true;
      status.hidden = false;
      status.textContent = `The view could not be opened: ${error.message || error}. It needs a browser with WebGL.`;
      opener.disabled = false;
      root.dataset.dataset = "failed";
    }
  };
  if (opener) {
    opener.addEventListener("click", openDataset);
    if (location.hash === "#open-dataset") openDataset();
  }
})();
