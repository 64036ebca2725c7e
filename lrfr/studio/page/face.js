// One face at a time: HR against LR under a wipe, and its trace replayed step by step.

import { el, put, short } from "/page/dom.js";
import { post } from "/page/api.js";
import { cellOf, hrOf, paint } from "/page/grid.js";
import { look, on, state, text } from "/page/store.js";

const left = el("canvas", { class: "wipe-hr" });
const right = el("canvas", { class: "wipe-lr" });
const bar = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Wipe between HR and LR" });
const wipe = el("div", { class: "wipe" }, right, left, el("div", { class: "wipe-line" }), el("span", { class: "tag hr", text: "HR" }), el("span", { class: "tag lr", text: "LR" }), bar);
const title = el("h3", { text: "" });
const words = el("ul", { class: "drawn" });
const trace = el("ol", { class: "trace", "aria-label": "The face after every step" });
const empty = el("p", { class: "muted", text: "Choose a face in the grid: its HR and LR picture under a wipe, what was drawn for it, and what it looked like after every step." });
const full = el("div", { hidden: true }, title, wipe, words, el("h3", { text: "Step by step" }), trace);
export const facePanel = el("div", {}, empty, full);

let token = 0;
let timer;

function split() {
  wipe.style.setProperty("--at", `${bar.value}%`);
}
bar.addEventListener("input", split);
split();

function show() {
  const { picked } = state;
  const cell = picked && cellOf(picked.face, picked.draw);
  const hr = picked && hrOf(picked.face);
  put(empty, { hidden: Boolean(cell && cell.head) });
  put(full, { hidden: !(cell && cell.head) });
  if (!cell || !cell.head) return;
  title.textContent = `${hr ? hr.name : "face"} · variant ${cell.head.variant} · seed ${cell.head.seed}`;
  if (hr) paint(left, hr.image);
  paint(right, state.view === "network" ? cell.seen : cell.native);
  put(wipe, { class: `wipe ${state.view}` });
  words.replaceChildren(...cell.head.caption.map((line) => el("li", { text: line })));
  clearTimeout(timer);
  timer = setTimeout(replay, 150);
}

async function replay() {
  const { picked } = state;
  if (!picked || !facePanel.isConnected || facePanel.parentNode.hidden) return;
  const own = ++token;
  const { seed } = look();
  const body = { text: text(), face: picked.face, variant: state.first + picked.draw, ...(seed === undefined ? {} : { seed }) };
  const found = await post("trace", body).catch(() => null);
  if (!found || own !== token) return;
  trace.replaceChildren(...found.steps.map((step, i) => el("li", {}, el("img", { src: `data:image/png;base64,${step.png}`, alt: `after ${step.op}`, width: 64, height: 64 }), el("div", {}, el("b", { text: `${i + 1}. ${step.op}` }), el("small", { text: `${step.px[1]} × ${step.px[0]} px` }), el("small", { text: drawnText(step.params) })))));
}

const drawnText = (params) =>
  Object.entries(params)
    .filter(([name, value]) => name !== "sha256" && value !== null && typeof value !== "object")
    .map(([name, value]) => `${name} ${short(value)}`)
    .join(", ");

export function startFace(open) {
  on("picked", () => {
    open();
    show();
  });
  on("found", show);
}

