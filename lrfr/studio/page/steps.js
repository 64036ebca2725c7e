// The recipe as a list of cards: fold, gate, switch off, add, nest, and move by pointer or arrow keys.

import { $, button, el, put, say, select, short } from "/page/dom.js";
import { field, kindOf, lawOf, parametersOf } from "/page/fields.js";
import { addDialog } from "/page/library.js";
import { change, extending, state, steps, underHand } from "/page/store.js";

export const KINDS = ["one_of", "some_of", "shuffle", "steps"];
const BESIDE = { one_of: "one of these", some_of: "some of these", shuffle: "all, in a drawn order", steps: "one after the other" };
const open = new Set(["d1"]);
const gates = new Map();
let shape = "";
let dragged = null;
let fields = [];

export const kindIn = (step) => KINDS.find((kind) => step && typeof step === "object" && kind in step);

export function showSteps(doc) {
  if (doc.data === null) return; // no YAML just now: the cards wait for it
  const list = steps();
  const now = JSON.stringify(list, simplified) + extending();
  if (now !== shape) {
    shape = now;
    fields = [];
    const focused = document.activeElement && document.activeElement.closest("#steps [data-focus]");
    const key = focused && focused.dataset.focus;
    $("steps").replaceChildren(...list.map((step, i) => card(step, ["pipeline", i], list.length)));
    if (key) document.querySelector(`#steps [data-focus="${CSS.escape(key)}"]`)?.focus();
    if (!list.length) $("steps").append(el("li", { class: "empty", text: "No steps yet: add one, or open a preset." }));
  }
  for (const one of fields) one(doc);
}

// Two recipes of the same shape differ in numbers only: their cards are updated in place.
function simplified(key, value) {
  if (typeof value === "number") return key === "p" ? (value > 0 ? 1 : 0) : 0;
  return value;
}

const valueAt = (place) => place.slice(1).reduce((at, part) => (at === undefined || at === null ? at : at[part]), steps());

function card(step, place, count) {
  if (!step || typeof step !== "object") return el("li", { class: "card", text: "not a step: see the YAML" });
  const kind = kindIn(step);
  const key = step.id || place.join(".");
  const off = step.p === 0;
  const shown = open.has(key);
  const title = step.op || kind || "?";
  const body = el("div", { class: "card-body", hidden: !shown }, ...bodyOf(step, place, kind));
  const fold = button("", () => toggle(), { class: "fold", "aria-expanded": shown, "aria-label": `Show ${title}`, dataset: { focus: `fold ${place}` } });
  const toggle = () => {
    const closed = body.hidden;
    put(body, { hidden: !closed });
    fold.setAttribute("aria-expanded", closed);
    if (closed) open.add(key);
    else open.delete(key);
  };
  const summary = el("span", { class: "summary" });
  fields.push(() => (summary.textContent = summaryOf(valueAt(place), kind)));
  const name = el("button", { type: "button", class: "op", title: describe(step), on: { click: toggle } }, title, step.id ? el("small", { text: step.id }) : null, kind ? el("i", { text: kind.replace("_", " ") }) : null);
  const node = el("li", { class: `card${off ? " off" : ""}`, dataset: { place: place.join("."), op: title } });
  const head = el("div", { class: "card-head" }, handle(node, place, count, title), fold, name, summary, gate(step, place), power(step, place, key, title), menu(step, place, kind, title));
  node.append(head, body);
  if (kind) node.append(el("ol", { class: "cards nested", "aria-label": `Steps in ${title}` }, ...children(step, place, kind)));
  droppable(node, place, kind);
  return node;
}

function children(step, place, kind) {
  const inner = Array.isArray(step[kind]) ? step[kind] : [];
  const add = button(`+ Add to ${step.op || kind.replace("_", " ")}`, () => addDialog([...place, kind], inner.length), { class: "quiet add-inner" });
  return [...inner.map((child, i) => card(child, [...place, kind, i], inner.length)), el("li", { class: "inner-end" }, add)];
}

const describe = (step) => {
  const { schema } = parametersOf(step);
  return schema && schema.description ? schema.description.split("\n\n")[0].replaceAll("`", "") : "";
};

function bodyOf(step, place, kind) {
  const { shown, hidden, schema } = parametersOf(step);
  if (!schema) return [el("p", { class: "muted", text: "This op is not known here; the YAML pane edits it." })];
  const about = kind ? BESIDE[kind] : describe(step);
  const rows = shown.map((name) => {
    const node = field(step, place, name, schema);
    const where = place.join(".");
    fields.push((doc) => {
      const now = valueAt(place);
      if (now && name in now && !underHand([...place, name])) node.update(now[name], (doc.histograms[where] || {})[name]);
    });
    return node;
  });
  const more = hidden.length ? select([["", "+ parameter"], ...hidden], "", (name) => name && change([{ do: "set", place: [...place, name], value: first(step, name, schema) }]), { class: "quiet", "aria-label": "Add a parameter" }) : null;
  return [about ? el("p", { class: "about", text: about }) : null, ...rows, more];
}

function first(step, name, schema) {
  const known = (state.about.defaults[step.op] || {})[name];
  if (known !== undefined) return known;
  const kind = kindOf(schema.properties[name]);
  const usual = (state.about.ranges[step.op] || {})[name];
  if (name === "n") return 1;
  if (name === "weights") return step.one_of.map(() => 1);
  if (name === "in_order") return step.shuffle.map((child) => child.id).filter(Boolean);
  if (kind.words) return kind.words[0];
  if (kind.type === "boolean") return false;
  if (kind.type === "whole") return Math.round(usual ? (usual[0] + usual[1]) / 2 : kind.low ?? 1);
  if (kind.type === "real") return usual ? (usual[0] + usual[1]) / 2 : kind.low ?? 0;
  return kind.type === "object" ? {} : "";
}

function summaryOf(step, kind) {
  if (!step) return "";
  if (kind) {
    const count = (step[kind] || []).length;
    return `${count} ${count === 1 ? "step" : "steps"}`;
  }
  const parts = [];
  for (const [name, value] of Object.entries(step)) {
    if (["op", "id", "p", "sha256", "transfer", "filter", "antialias", "subsampling"].includes(name)) continue;
    const law = lawOf(value);
    const text = law && Array.isArray(value[law]) ? value[law].slice(0, 3).map(short).join(law === "choice" ? ", " : " – ") : law ? law : typeof value === "object" ? "…" : short(value);
    parts.push(`${name} ${text}`);
  }
  return parts.slice(0, 3).join(" · ");
}

function gate(step, place) {
  const input = el("input", { type: "number", min: 0, max: 1, step: 0.05, "aria-label": `Probability of ${step.op || "the step"}`, on: { change: () => change([{ do: "set", place: [...place, "p"], value: Math.min(1, Math.max(0, Number(input.value))) }]) } });
  fields.push(() => document.activeElement !== input && (input.value = short(valueAt(place)?.p ?? 1)));
  return el("label", { class: "gate", title: "Probability that the step runs for a face" }, "p", input);
}

function power(step, place, key, title) {
  const off = step.p === 0;
  const flip = () => {
    if (!off) gates.set(key, step.p);
    const before = gates.get(key);
    const at = [...place, "p"];
    change([off ? (before === undefined ? { do: "remove", place: at } : { do: "set", place: at, value: before }) : { do: "set", place: at, value: 0 }]);
  };
  return el("button", { type: "button", class: "switch", role: "switch", "aria-checked": !off, "aria-label": `${title} on`, title: off ? "Switch on" : "Switch off (p: 0)", dataset: { focus: `power ${place}` }, on: { click: flip } });
}

function menu(step, place, kind, title) {
  const list = place.slice(0, -1);
  const index = place[place.length - 1];
  const wrap = (outer) => {
    const made = outer === "some_of" ? { some_of: [step], n: 1 } : { [outer]: [step] };
    change([{ do: "set", place, value: made }]);
  };
  const acts = {
    duplicate: () => change([{ do: "insert", place: list, index: index + 1, value: withoutIds(step) }]),
    ...Object.fromEntries(KINDS.map((outer) => [`nest in ${outer}`, () => wrap(outer)])),
    ...(list.length > 1 ? { "move out": () => moveOut(place) } : {}),
    remove: () => change([{ do: "remove", place }]),
  };
  return select([["", "⋯"], ...Object.keys(acts)], "", (name) => acts[name] && acts[name](), { class: "menu", "aria-label": `More for ${title}` });
}

const withoutIds = (value) =>
  Array.isArray(value) ? value.map(withoutIds) : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).filter(([key]) => key !== "id").map(([key, item]) => [key, withoutIds(item)])) : value;

// --- moving -------------------------------------------------------------------------------------------------

// The list to move into and the index in it, both as they are once the step has been taken out.
export function landing(from, list, index) {
  const to = [...list];
  const depth = from.length - 1;
  const inside = list.length > depth && from.slice(0, -1).every((part, i) => part === list[i]);
  if (inside && to[depth] > from[depth]) to[depth] -= 1;
  const same = String(from.slice(0, -1)) === String(list);
  return { to, index: same && index > from[depth] ? index - 1 : index };
}

export function move(from, list, index) {
  if (String(list).startsWith(`${from},`)) return say("A step cannot go into itself", "bad");
  change([{ do: "move", place: from, ...landing(from, list, index) }]);
  return null;
}

function moveOut(place) {
  const parent = place.slice(0, -2);
  move(place, parent.slice(0, -1), parent[parent.length - 1] + 1);
}

function handle(node, place, count, title) {
  const list = place.slice(0, -1);
  const index = place[place.length - 1];
  const keys = {
    ArrowUp: () => index > 0 && move(place, list, index - 1),
    ArrowDown: () => index < count - 1 && move(place, list, index + 2),
    ArrowLeft: () => list.length > 1 && moveOut(place),
    ArrowRight: () => into(place, list, index),
    Delete: () => change([{ do: "remove", place }]),
  };
  const grip = el("span", { role: "button", tabindex: 0, class: "grip", draggable: "true", "aria-label": `Move ${title}: arrow keys, or drag`, title: "Drag, or arrow keys: up and down; right into the container above, left out of it", dataset: { focus: `grip ${place}` } }, "⠿");
  grip.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault();
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key] || 0;
    const next = index + step;
    if (step && next >= 0 && next < count) grip.dataset.focus = `grip ${[...list, next]}`;
    keys[event.key]();
    say(`${title} ${step ? `is step ${Math.min(count, Math.max(1, next + 1))} of ${count}` : "moved"}`);
  });
  grip.addEventListener("dragstart", (event) => {
    dragged = place;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", title);
    event.dataTransfer.setDragImage(node, 12, 12);
    node.classList.add("moving");
  });
  grip.addEventListener("dragend", () => {
    dragged = null;
    document.querySelectorAll(".moving, .before, .after, .into").forEach((one) => one.classList.remove("moving", "before", "after", "into"));
  });
  return grip;
}

function into(place, list, index) {
  const above = index > 0 ? valueAt([...list, index - 1]) : null;
  const kind = kindIn(above);
  if (kind) move(place, [...list, index - 1, kind], above[kind].length);
}

function droppable(node, place, kind) {
  const side = (event) => {
    const box = node.firstElementChild.getBoundingClientRect();
    const share = (event.clientY - box.top) / box.height;
    return kind && share > 0.3 && share < 1.2 ? "into" : share < 0.5 ? "before" : "after";
  };
  node.addEventListener("dragover", (event) => {
    if (!dragged) return;
    event.preventDefault();
    event.stopPropagation();
    document.querySelectorAll(".before, .after, .into").forEach((one) => one.classList.remove("before", "after", "into"));
    node.classList.add(side(event));
  });
  node.addEventListener("drop", (event) => {
    if (!dragged) return;
    event.preventDefault();
    event.stopPropagation();
    const where = side(event);
    const index = place[place.length - 1];
    if (where === "into") move(dragged, [...place, kind], valueAt(place)[kind].length);
    else if (String(dragged) !== String(place)) move(dragged, place.slice(0, -1), where === "before" ? index : index + 1);
    dragged = null;
  });
}
