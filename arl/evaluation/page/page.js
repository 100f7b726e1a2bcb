"use strict";
// The curves, the theme, and the reload of a page that follows a loop. Everything else on the page works without it.

const CHARTS = JSON.parse(document.getElementById("data").textContent);
const COLOURS = {
  light: ["#3b4cca", "#c2570c", "#17713c", "#9c36b5", "#0b7285", "#a61e4d"],
  dark: ["#a3b1ff", "#ffb066", "#7fdca0", "#e599f7", "#66d9e8", "#faa2c1"],
};
const root = document.documentElement;
const darkens = matchMedia("(prefers-color-scheme: dark)");
const theme = () => root.dataset.theme || (darkens.matches ? "dark" : "light");
const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

function faded(colour, alpha) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${r}, ${g}, ${b}, ${alpha})`;
}

function traces(series, colour) {
  const { name, x, y, low, high } = series;
  const hover = `%{y:.4g}<extra>${name}</extra>`;
  if (series.style === "stack" || series.style === "bars") {
    const opacity = series.style === "bars" ? 0.6 : 1;
    return [{ type: "bar", name, x, y, opacity, marker: { color: colour, line: { width: 0 } }, hovertemplate: hover }];
  }
  if (series.style === "points") {
    const bars = low.length && {
      type: "data", symmetric: false, color: colour, thickness: 2, width: 5,
      array: y.map((value, at) => high[at] - value), arrayminus: y.map((value, at) => value - low[at]),
    };
    return [{ type: "scatter", mode: "lines+markers", name, x, y, error_y: bars || undefined, hovertemplate: hover,
      line: { color: colour, width: 2.5 }, marker: { size: 9, color: colour, symbol: "square" } }];
  }
  const band = !low.length ? [] : [
    { type: "scatter", mode: "lines", x, y: low, line: { width: 0 }, hoverinfo: "skip", showlegend: false },
    { type: "scatter", mode: "lines", x, y: high, line: { width: 0 }, fill: "tonexty", fillcolor: faded(colour, 0.16),
      hoverinfo: "skip", showlegend: false },
  ];
  const mode = x.length > 60 ? "lines" : "lines+markers";
  return [...band, { type: "scatter", mode, name, x, y, hovertemplate: hover, line: { color: colour, width: 2 },
    marker: { size: 4, color: colour } }];
}

function layout(chart) {
  const line = style("--line"), ink = style("--quiet"), warn = style("--warn");
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, tickcolor: line, automargin: true };
  const isWhole = chart.axis === "step";
  const last = Math.max(...chart.series.flatMap((one) => one.x));
  return {
    autosize: true, margin: { l: 8, r: 8, t: 12, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12 },
    xaxis: { ...axis, title: { text: chart.axis, standoff: 6 }, showgrid: false, tickformat: isWhole ? "d" : undefined,
      dtick: isWhole && last <= 10 ? 1 : undefined },
    yaxis: { ...axis, rangemode: chart.series.some((one) => one.style === "stack") ? "tozero" : "normal" },
    barmode: chart.series.some((one) => one.style === "stack") ? "stack" : "overlay", bargap: 0.08,
    showlegend: chart.series.length > 1, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, traceorder: "normal" },
    hovermode: "x unified", hoverlabel: { bgcolor: style("--card"), font: { color: style("--ink") }, bordercolor: line },
    shapes: chart.marks.map(([step]) => ({ type: "line", xref: "x", yref: "paper", x0: step, x1: step, y0: 0, y1: 1,
      line: { color: warn, width: 1.5, dash: "dot" } })),
    annotations: chart.marks.slice(0, 1).map(([step]) => ({ x: step, xref: "x", y: 1, yref: "paper", text: "alarm",
      showarrow: false, font: { color: warn }, xanchor: "left", yanchor: "top" })),
  };
}

function draw() {
  const colours = COLOURS[theme()];
  for (const chart of CHARTS) {
    const plot = document.querySelector(`#chart-${chart.name} .plot`);
    const data = chart.series.flatMap((one, at) => traces(one, colours[at % colours.length]));
    Plotly.react(plot, data, layout(chart), { responsive: true, displaylogo: false, displayModeBar: "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
  }
}

// What is kept over a reload, and over visits where the browser lets a file keep it.
const kept = (storage, name, value) => {
  try {
    if (value === undefined) return storage.getItem(name);
    storage.setItem(name, value);
  } catch { /* a browser that keeps nothing for files */ }
  return null;
};

const button = document.getElementById("theme");
function name() {
  button.textContent = theme() === "dark" ? "Light theme" : "Dark theme";
}
button.hidden = false;
button.addEventListener("click", () => {
  root.dataset.theme = theme() === "dark" ? "light" : "dark";
  kept(localStorage, "arl-theme", root.dataset.theme);
  name();
  draw();
});
darkens.addEventListener("change", () => { name(); draw(); });

const copy = document.getElementById("copy");
if (navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById("card-text").textContent);
    copy.textContent = "Copied";
  });
}

// One clip plays at a time.
document.addEventListener("play", (event) => {
  for (const audio of document.querySelectorAll("audio")) if (audio !== event.target) audio.pause();
}, true);

// A page that follows a loop: reloads where the reader is, unless something plays or is selected.
const PLACE = "arl-place:" + location.pathname;
function keepPlace() {
  const open = [...document.querySelectorAll("details")].map((one) => one.open);
  kept(sessionStorage, PLACE, JSON.stringify({ y: scrollY, open }));
}
function findPlace() {
  const place = JSON.parse(kept(sessionStorage, PLACE) || "null");
  if (!place) return;
  document.querySelectorAll("details").forEach((one, at) => { one.open = Boolean(place.open[at]); });
  scrollTo({ top: place.y, behavior: "instant" });
}
function reload() {
  const isBusy = [...document.querySelectorAll("audio")].some((audio) => !audio.paused) || String(getSelection());
  if (isBusy || document.hidden) return;
  keepPlace();
  location.reload();
}

const saved = kept(localStorage, "arl-theme");
if (saved) root.dataset.theme = saved;
name();
draw();
const seconds = Number(document.body.dataset.reload);
if (seconds) {
  history.scrollRestoration = "manual";
  findPlace();
  setInterval(reload, 1000 * seconds);
}
root.dataset.drawn = "true";
