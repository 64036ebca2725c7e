// What the pictures look like in numbers beside the target's, and what the recipe costs.

import { el, put, short, svg } from "/page/dom.js";
import { get } from "/page/api.js";
import { keep, on, state } from "/page/store.js";

const W = 120;
const H = 30;
const figures = el("div", { class: "measures" });
const cost = el("div", { class: "costs" });
const crops = el("div", { class: "crops" });
const legend = el("div", { class: "legend" }, mark("own"), el("span", { text: "these pictures" }), mark("target"), el("span", { text: "target" }));
const overall = el("div", { class: "overall" });
export const numbersPanel = el("div", {}, overall, crops, legend, figures);
export const costPanel = el("div", {}, cost);

function mark(kind) {
  return svg("svg", { class: "key", viewBox: "0 0 24 8", width: 24, height: 8, "aria-hidden": "true" }, svg("path", { class: `line ${kind}`, d: "M1 4H23" }));
}

function steps(shares, most) {
  if (!shares) return "";
  const x = (i) => ((W * i) / shares.length).toFixed(1);
  const y = (share) => (H - (H - 2) * (share / most)).toFixed(1);
  return shares.map((share, i) => `${i ? "L" : "M"}${x(i)} ${y(share)}L${x(i + 1)} ${y(share)}`).join("");
}

function curve(values, low, high) {
  if (!values) return "";
  return values.map((value, i) => `${i ? "L" : "M"}${((W * i) / (values.length - 1)).toFixed(1)} ${(H - (H - 2) * ((value - low) / Math.max(high - low, 1e-6))).toFixed(1)}`).join("");
}

function plot(own, target) {
  const paths = [];
  if (target) paths.push(svg("path", { class: "line target", d: target }));
  paths.push(svg("path", { class: "line own", d: own }));
  return svg("svg", { class: "plot", viewBox: `0 0 ${W} ${H + 1}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...paths);
}

function row(name, unit, mean, target, distance, picture) {
  const level = distance === null ? "" : distance < 0.5 ? "near" : distance < 1.5 ? "off" : "far";
  const word = { near: "near", off: "off", far: "far off" }[level];
  return el(
    "div",
    { class: "measure" },
    el("div", { class: "measure-head" }, el("b", { text: name }), unit ? el("span", { class: "unit", text: unit }) : null),
    picture,
    el("div", { class: "measure-numbers" }, el("span", { class: "own", text: mean }), target === null ? null : el("span", { class: "target", text: target })),
    distance === null ? null : el("span", { class: `distance ${level}`, title: "Wasserstein distance in standard deviations of the target", text: `${short(Number(distance.toPrecision(2)))} σ ${word}` }),
  );
}

function show(found) {
  const rows = Object.entries(found.measures).map(([name, one]) => {
    const most = Math.max(...one.counts, ...(one.target_counts || [0]), 0.01);
    return row(name, one.unit, short(Number(one.mean.toPrecision(3))), one.target === null ? null : short(Number(one.target.toPrecision(3))), one.distance, plot(steps(one.counts, most), steps(one.target_counts, most)));
  });
  const all = [...found.spectrum, ...(found.target_spectrum || [])];
  const ends = [Math.min(...all), Math.max(...all)];
  rows.unshift(row("spectrum", "0 to Nyquist", "", found.target_spectrum ? "" : null, found.spectrum_distance, plot(curve(found.spectrum, ...ends), curve(found.target_spectrum, ...ends))));
  figures.replaceChildren(...rows);
  put(legend, { hidden: !found.target_n });
  if (found.distance === null) overall.replaceChildren(el("span", { class: "muted", text: `${found.n} pictures, each at its own size. With --target DIR they stand beside your camera's.` }));
  else overall.replaceChildren(el("b", { class: "big", text: short(Number(found.distance.toPrecision(3))) }), el("span", { text: `σ from the target (${found.n} pictures, ${found.target_n} crops; mean of all rows, each 10 at most)` }));
}

async function showCrops() {
  const found = await get("target").catch(() => ({ crops: [] }));
  crops.replaceChildren(...found.crops.map((crop) => el("img", { src: `data:image/png;base64,${crop.png}`, alt: `crop of the target, ${crop.px[1]} px`, width: 56, height: 56 })));
}

let last = { ms: 0, lr_bytes: 0, hr_bytes: 0, images: 0 };
const wish = { faces: 1000000, variants: 1 };

function showCost() {
  const cores = el("input", { type: "number", min: 1, max: 4096, value: state.workers || state.about.cores, "aria-label": "Workers" });
  const faces = el("input", { type: "number", min: 1, value: wish.faces, "aria-label": "Faces" });
  const variants = el("input", { type: "number", min: 1, max: 1000, value: wish.variants, "aria-label": "Variants" });
  const time = el("b", { class: "big", id: "cost-time" });
  const size = el("b", { class: "big", id: "cost-size" });
  const fill = () => {
    Object.assign(wish, { faces: Number(faces.value) || 1, variants: Number(variants.value) || 1 });
    state.workers = Number(cores.value) || 1;
    const minutes = (last.ms * wish.faces * wish.variants) / state.workers / 60000;
    time.textContent = minutes < 1 ? `${Math.max(1, Math.round(minutes * 60))} s` : minutes < 120 ? `${short(Number(minutes.toPrecision(2)))} min` : `${short(Number((minutes / 60).toPrecision(2)))} h`;
    const bytes = wish.faces * (last.hr_bytes + wish.variants * last.lr_bytes);
    size.textContent = bytes > 1e9 ? `${short(Number((bytes / 1e9).toPrecision(3)))} GB` : `${short(Number((bytes / 1e6).toPrecision(3)))} MB`;
  };
  [cores, faces, variants].forEach((node) => node.addEventListener("input", fill));
  const line = (name, value) => el("tr", {}, el("th", { scope: "row", text: name }), el("td", { text: value }));
  cost.replaceChildren(
    el("table", { class: "plain" }, line("degrading a face", `${short(Number(last.ms.toPrecision(2)))} ms on one core`), line("an LR row", `${Math.round(last.lr_bytes)} bytes`), line("an HR row (JPEG, quality 95)", `${Math.round(last.hr_bytes)} bytes`), line("measured on", `${last.images} pictures just now`)),
    el("div", { class: "wish" }, el("label", {}, "Faces", faces), el("label", {}, "Variants", variants), el("label", {}, "Workers", cores)),
    el("div", { class: "overall" }, time, el("span", { text: "to degrade them" })),
    el("div", { class: "overall" }, size, el("span", { text: "HR and LR in the store" })),
    el("p", { class: "muted", text: "Reading and cutting the faces comes on top: lrfr make-pairs --plan tries it on your source." }),
  );
  fill();
}

export function startNumbers() {
  on("measures", show);
  on("cost", (head) => {
    last = head;
    if (!cost.contains(document.activeElement)) showCost();
    keep();
  });
  if (state.about.target) showCrops();
}
