// Faces and their draws: HR left, degraded right; pixels as they are stored, or as the network sees them.

import { $, button, el, put, say } from "/page/dom.js";
import { upload } from "/page/api.js";
import { ask, keep, on, state, tell } from "/page/store.js";

const blocks = new Map();
const hrs = new Map();
const cells = new Map();

export const cellKey = (face, draw) => `${face}/${draw}`;
export const hrOf = (face) => hrs.get(face);
export const cellOf = (face, draw) => cells.get(cellKey(face, draw));

export function paint(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function figure(label, call) {
  const canvas = el("canvas", { width: 8, height: 8, class: "waiting" });
  const node = el("button", { type: "button", class: "cell", on: { click: call } }, canvas, el("span", { class: "caption", text: label }));
  return { node, canvas, caption: node.lastChild };
}

export function layout() {
  const wanted = state.faces.map((face) => `${face}:${state.draws}`);
  $("grid").style.setProperty("--cell", `${state.zoom}px`);
  $("grid").style.setProperty("--count", state.draws + 1);
  put($("grid"), { class: `grid ${state.view}${state.captions ? " captioned" : ""}` });
  if (wanted.join() === [...blocks.keys()].join()) return;
  blocks.clear();
  cells.clear();
  for (const [i, face] of state.faces.entries()) {
    const hr = figure("HR", () => pick(face, 0));
    put(hr.node, { class: "cell hr", "aria-label": `HR face ${face}` });
    const draws = [...Array(state.draws).keys()].map((draw) => {
      const cell = figure("", () => pick(face, draw));
      put(cell.node, { dataset: { face, draw } });
      cells.set(cellKey(face, draw), cell);
      return cell.node;
    });
    const name = state.about.names[face] ?? "yours";
    const block = el("div", { class: "block", role: "group", "aria-label": `Face ${name}` }, hr.node, ...draws);
    blocks.set(wanted[i], block);
    const known = hrs.get(face);
    if (known) paint(hr.canvas, known.image);
    hr.canvas.dataset.face = face;
  }
  for (const known of [...hrs.keys()]) if (!state.faces.includes(known)) hrs.delete(known);
  $("grid").replaceChildren(...blocks.values());
}

function pick(face, draw) {
  state.picked = { face, draw };
  mark();
  tell("picked");
}

export function mark() {
  for (const node of document.querySelectorAll(".cell.picked")) node.classList.remove("picked");
  const cell = state.picked && cellOf(state.picked.face, state.picked.draw);
  if (cell) cell.node.classList.add("picked");
}

function showHr(head, [image]) {
  hrs.set(head.face, { image, name: head.name });
  const canvas = document.querySelector(`.cell.hr canvas[data-face="${CSS.escape(head.face)}"]`);
  if (!canvas) return;
  paint(canvas, image);
  canvas.classList.remove("waiting");
  put(canvas.parentNode, { title: head.name });
}

function showFace(head, [native, seen]) {
  const cell = cellOf(head.face, head.draw);
  if (!cell) return;
  Object.assign(cell, { native, seen, head });
  draw(cell);
  const size = `${native.width}${native.width === native.height ? "" : `×${native.height}`} px`;
  cell.caption.textContent = state.captions ? [`v${head.variant} · seed ${head.seed} · ${size}`, ...head.caption].join("\n") : `v${head.variant} · ${size}`;
  put(cell.node, { title: [`variant ${head.variant}, seed ${head.seed}, ${size}`, ...head.caption].join("\n"), "aria-label": `Variant ${head.variant}, ${size}: ${head.caption.join("; ")}` });
  cell.canvas.classList.remove("waiting", "stale");
}

function draw(cell) {
  if (cell.native) paint(cell.canvas, state.view === "network" ? cell.seen : cell.native);
}

function redraw() {
  layout();
  for (const cell of cells.values()) {
    draw(cell);
    if (cell.head) showFace(cell.head, [cell.native, cell.seen]);
  }
  mark();
  keep();
}

function pageOf(step) {
  const { about } = state;
  const count = Math.min(state.faces.length || 12, about.faces);
  const start = Math.max(0, state.faces.filter(Number.isInteger).length ? Math.min(...state.faces.filter(Number.isInteger)) + step * count : 0);
  const from = start >= about.faces ? 0 : start;
  state.faces = [...Array(Math.min(count, about.faces - from)).keys()].map((i) => from + i);
  fresh();
}

function spread() {
  const count = Math.min(state.faces.length || 12, state.about.faces);
  const all = new Set();
  while (all.size < count) all.add(Math.floor(Math.random() * state.about.faces));
  state.faces = [...all].sort((a, b) => a - b);
  fresh();
}

function fresh() {
  layout();
  keep();
  ask(true);
}

function controls() {
  const number = (label, value, low, high, call, width = 3) => {
    const input = el("input", { type: "number", min: low, max: high, value, style: { width: `${width + 2.2}em` }, on: { change: () => input.checkValidity() && input.value !== "" && call(Number(input.value)) } });
    return el("label", { class: "field-inline" }, label, input);
  };
  const { about } = state;
  const zoom = el("input", { type: "range", min: 48, max: 224, step: 8, title: "Least size of a picture", on: { input: () => ((state.zoom = Number(zoom.value)), $("grid").style.setProperty("--cell", `${state.zoom}px`), keep()) } });
  zoom.value = state.zoom;
  const view = el("div", { class: "joined", role: "group", "aria-label": "How pictures are shown" });
  for (const [name, text, title] of [["pixels", "Pixels", "Pixels as they are stored, by repetition"], ["network", "Network", "As the network sees it: brought to the input size by the recipe's store.up"]]) {
    view.append(button(text, () => ((state.view = name), press(), redraw()), { dataset: { view: name }, title }));
  }
  const press = () => view.childNodes.forEach((node) => node.setAttribute("aria-pressed", node.dataset.view === state.view));
  press();
  const captions = el("input", { type: "checkbox", on: { change: () => ((state.captions = captions.checked), redraw()) } });
  captions.checked = state.captions;
  const seed = el("input", { type: "text", inputmode: "numeric", pattern: "[0-9]*", placeholder: "recipe's", style: { width: "5.6em" }, "aria-label": "Seed in place of the recipe's", on: { change: () => seed.checkValidity() && ((state.seed = seed.value === "" ? null : Number(seed.value)), keep(), ask()) } });
  seed.value = state.seed ?? "";
  const file = el("input", { type: "file", accept: "image/*", multiple: true, hidden: true, on: { change: () => take([...file.files]) } });
  $("stage-bar").replaceChildren(
    number("Faces", state.faces.length, 1, Math.min(48, about.faces), (count) => ((state.faces = [...Array(count).keys()]), fresh())),
    number("Draws", state.draws, 1, 12, (count) => ((state.draws = count), fresh())),
    number("from", state.first, 0, 1000000, (first) => ((state.first = first), keep(), ask())),
    el("label", { class: "field-inline" }, "Seed", seed),
    el("div", { class: "joined", role: "group", "aria-label": "Which faces" }, button("‹", () => pageOf(-1), { title: "Faces before", "aria-label": "Faces before" }), button("›", () => pageOf(1), { title: "Next faces", "aria-label": "Next faces" }), button("Any", spread, { title: "Any faces of the folder" })),
    button("+ Face", () => file.click(), { title: "Open pictures of yours, or drop them on the grid; they stay in this tab" }),
    file,
    el("span", { class: "space" }),
    el("label", { class: "field-inline check" }, captions, "Captions"),
    view,
    el("label", { class: "field-inline" }, "Zoom", zoom),
  );
}

async function take(files) {
  for (const file of files.slice(0, 12)) {
    try {
      const face = await upload(file);
      if (!state.faces.includes(face)) state.faces = [face, ...state.faces].slice(0, 48);
    } catch (error) {
      say(`${file.name}: ${error.message}`, "bad");
    }
  }
  fresh();
}

export function startGrid() {
  controls();
  layout();
  on("hr", showHr);
  on("face", showFace);
  on("refused", (head) => say(`${head.faces.length} files are no usable image: ${head.faces[0][1]}`, "bad"));
  on("working", (busy) => $("grid").setAttribute("aria-busy", busy));
  const grid = $("stage");
  grid.addEventListener("dragover", (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
  grid.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
}

