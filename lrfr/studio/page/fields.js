// The parameters of a step: range, unit, fixed or drawn, from the JSON Schema of the spec language.

import { button, el, select, short } from "/page/dom.js";
import { scaleOf } from "/page/scale.js";
import { change, endGesture, state } from "/page/store.js";
import { track } from "/page/track.js";

export const LAWS = ["uniform", "log_uniform", "square_uniform", "randint", "choice", "normal", "chi"];
const SKIPPED = new Set(["op", "id", "p", "sha256", "one_of", "some_of", "shuffle", "steps"]);
const PAIRS = new Set(["uniform", "log_uniform", "square_uniform", "randint"]);

export const lawOf = (value) =>
  value && typeof value === "object" && !Array.isArray(value) ? LAWS.find((name) => name in value) : undefined;

export function schemaOf(step) {
  const known = state.about.schema.$defs.Step.anyOf;
  const kind = ["one_of", "some_of", "shuffle", "steps"].find((name) => step && name in step);
  return known.find((one) => one.title === (kind || (step && step.op)));
}

// What kind of value a parameter takes: its first alternative that is no distribution.
export function kindOf(schema) {
  const options = schema.anyOf ? schema.anyOf.flatMap((one) => (one.anyOf ? one.anyOf : [one])) : [schema];
  const plain = options.find((one) => one.type === "integer" || one.type === "number") || options.find((one) => one.enum);
  const drawn = options.some((one) => one.$ref);
  const first = plain || options[0];
  const type = first.enum ? "word" : first.type === "integer" ? "whole" : first.type === "number" ? "real" : first.type;
  return { type, drawn, words: first.enum, low: first.minimum, high: first.maximum };
}

export function parametersOf(step) {
  const schema = schemaOf(step);
  if (!schema) return { shown: [], hidden: [] };
  const names = Object.keys(schema.properties).filter((name) => !SKIPPED.has(name));
  return { shown: names.filter((name) => name in step), hidden: names.filter((name) => !(name in step)), schema };
}

export function field(step, place, name, schema) {
  const kind = kindOf(schema.properties[name]);
  const unit = ((state.about.units[step.op] || {})[name] || "").trim();
  const value = step[name];
  const law = lawOf(value);
  const modes = kind.drawn ? allowed(kind) : [];
  const at = [...place, name];
  const set = (given, gesture) => change([{ do: "set", place: at, value: given }], gesture);
  const control = controlOf({ kind, value, law, name, step, set, place: at });
  const needed = (schema.required || []).includes(name);
  const head = el(
    "div",
    { class: "field-head" },
    el("span", { class: "field-name", text: name, title: rangeText(kind, unit) }),
    unit ? el("span", { class: "unit", text: unit }) : null,
    el("span", { class: "space" }),
    el("span", { class: "numbers" }),
    modes.length
      ? select([["fixed", "fixed"], ...modes], law || "fixed", (mode) => set(converted(value, law, mode, soft(kind, step, name)), null), { "aria-label": `${name}: fixed or drawn` })
      : null,
    needed ? null : button("×", () => change([{ do: "remove", place: at }]), { class: "quiet", "aria-label": `Leave out ${name}`, title: `Leave out ${name}` }),
  );
  head.querySelector(".numbers").append(...(control.inputs || []));
  const node = el("div", { class: "field", dataset: { name, law: law || "fixed" } }, head, control.node);
  node.update = control.update || (() => {});
  return node;
}

const rangeText = ({ low, high }, unit) =>
  low === undefined && high === undefined ? unit : `${low === undefined ? "…" : short(low)} to ${high === undefined ? "…" : short(high)} ${unit}`;

function allowed(kind) {
  if (kind.type === "whole") return ["randint", "choice"];
  if (kind.type === "word") return ["choice"];
  return LAWS;
}

// Where the slider begins and ends: what is usual, never less than what stands there.
function soft(kind, step, name) {
  const usual = (state.about.ranges[step.op] || {})[name];
  let low = usual ? usual[0] : kind.low ?? 0;
  let high = usual ? usual[1] : kind.high ?? 10;
  const value = step[name];
  const law = lawOf(value);
  const ends = typeof value === "number" ? [value] : PAIRS.has(law) ? value[law] : law && value.clip ? value.clip : [];
  low = Math.max(Math.min(low, ...ends), kind.low ?? -Infinity);
  high = Math.min(Math.max(high, ...ends), kind.high ?? Infinity);
  return scaleOf(low, high, kind.type === "whole" || law === "randint");
}

function converted(value, law, mode, scale) {
  const [low, high] = typeof value === "number" ? [value, value] : PAIRS.has(law) ? value[law] : law && value.clip ? value.clip : law === "choice" ? [Math.min(...value.choice), Math.max(...value.choice)] : [scale.low, scale.high];
  const whole = (number) => (scale.whole || mode === "randint" ? Math.round(number) : Number(number.toPrecision(6)));
  const wide = low === high ? [scale.value(scale.share(low) - 0.1), scale.value(scale.share(low) + 0.1)] : [low, high];
  if (mode === "fixed") return law === "choice" ? value.choice[0] : whole((low + high) / 2);
  if (mode === "choice") return { choice: typeof value === "object" ? [whole(low), whole(high)] : [value] };
  if (mode === "normal") return { normal: [whole((wide[0] + wide[1]) / 2), whole((wide[1] - wide[0]) / 4)], clip: wide };
  if (mode === "chi") return { chi: 4, scale: whole((wide[1] - wide[0]) / 4 || 1), clip: wide };
  if (mode === "log_uniform") return { log_uniform: [Math.max(wide[0], 0.001), Math.max(wide[1], 0.002)] };
  return { [mode]: wide.map(mode === "square_uniform" ? (number) => Math.max(0, whole(number)) : whole) };
}

function controlOf(given) {
  const { kind, value, law } = given;
  if (kind.type === "boolean") return flag(given);
  if (law === "choice") return words(given, ["choice", "weights"]);
  if (kind.type === "word") return oneWord(given);
  if ((kind.type === "real" || kind.type === "whole") && (typeof value === "number" || law)) return numeric(given);
  return plain(given);
}

function flag({ value, name, set }) {
  const box = el("input", { type: "checkbox", "aria-label": name, on: { change: () => set(box.checked, null) } });
  box.checked = value === true;
  return { node: el("div", {}), inputs: [box], update: (now) => (box.checked = now === true) };
}

function oneWord({ kind, value, name, set }) {
  const node = select(kind.words, value, (word) => set(word, null), { "aria-label": name });
  const update = (now) => {
    if (![...node.options].some((option) => option.value === String(now))) node.append(el("option", { text: String(now) }));
    node.value = String(now);
  };
  update(value);
  return { node: el("div", {}), inputs: [node], update };
}

function plain({ value, name, set }) {
  const node = el("input", { type: "text", class: "wide", "aria-label": name, spellcheck: "false", on: { change: () => set(read(node.value), null) } });
  const show = (now) => document.activeElement !== node && (node.value = typeof now === "string" ? now : JSON.stringify(now));
  show(value);
  return { node, update: show };
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function words({ value, name, set }, keys) {
  const inputs = keys.map((key) => {
    const label = key === "choice" ? "values" : "weights (all equal where empty)";
    const node = el("input", { type: "text", "aria-label": `${name} ${label}`, placeholder: label, spellcheck: "false", on: { change: () => store() } });
    return node;
  });
  const list = (text) => text.split(",").map((part) => read(part.trim())).filter((part) => part !== "");
  const store = () => {
    const weights = list(inputs[1].value);
    set({ choice: list(inputs[0].value), ...(weights.length ? { weights } : {}) }, null);
  };
  const bars = el("div", { class: "shares", "aria-hidden": "true" });
  const update = (now, drawn) => {
    keys.forEach((key, i) => document.activeElement !== inputs[i] && (inputs[i].value = (now[key] || []).join(", ")));
    if (drawn && drawn.counts) {
      const most = Math.max(...drawn.counts, 1);
      bars.replaceChildren(...drawn.counts.map((count, i) => el("span", { title: `${drawn.words[i]}: ${count}`, style: { height: `${(100 * count) / most}%` } })));
    }
  };
  update(value);
  return { node: el("div", { class: "choice" }, bars, ...inputs), update };
}

function numeric({ kind, value, law, name, step, set, place }) {
  const scale = soft(kind, step, name);
  const pair = PAIRS.has(law);
  const ends = pair ? value[law] : law ? value.clip || [scale.low, scale.high] : [value];
  const build = (given) => (pair ? { [law]: given } : law ? { ...value, clip: given } : given[0]);
  const gesture = place.join(".");
  const bar = track({ scale, values: ends, names: law ? ["low", "high"] : [""], label: name, histogram: law ? { low: 0, high: 1, counts: [] } : undefined, change: (given) => set(build(given), gesture), settle: endGesture });
  const inputs = ends.map((end, i) => number(end, `${name} ${law ? ["low", "high"][i] : ""}`, (typed) => {
    const next = [...inputs.map((one) => Number(one.value))];
    next[i] = typed;
    set(build(next), null);
  }));
  const more = law === "normal" ? moments(value, ["mean", "std"], (given) => set({ ...value, normal: given }, null)) : law === "chi" ? chi(value, set) : [];
  const update = (now, drawn) => {
    const found = pair ? now[law] : law ? now.clip || ends : [now];
    bar.update(found, drawn);
    inputs.forEach((one, i) => document.activeElement !== one && (one.value = short(found[i])));
    if (law === "normal") more.forEach((one, i) => one.show(now.normal[i]));
  };
  inputs.forEach((one, i) => (one.value = short(ends[i])));
  return { node: el("div", {}, bar, more.length ? el("div", { class: "moments" }, ...more) : null), inputs, update };
}

function number(value, label, call) {
  const node = el("input", { type: "number", step: "any", "aria-label": label.trim(), on: { change: () => node.value !== "" && call(Number(node.value)) } });
  node.value = short(value);
  return node;
}

function moments(value, names, set) {
  const inputs = names.map((name, i) => number(value.normal[i], name, () => set(inputs.map((one) => Number(one.value)))));
  return inputs.map((input, i) => {
    const node = el("label", { class: "field-inline" }, names[i], input);
    node.show = (now) => document.activeElement !== input && (input.value = short(now));
    return node;
  });
}

const chi = (value, set) => [
  el("label", { class: "field-inline" }, "degrees of freedom", number(value.chi, "degrees of freedom", (typed) => set({ ...value, chi: typed }, null))),
  el("label", { class: "field-inline" }, "scale", number(value.scale ?? 1, "scale", (typed) => set({ ...value, scale: typed }, null))),
];
