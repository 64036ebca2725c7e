// What the buttons do: open, save, copy, contact sheet, commands with live progress, compare with a preset.

import { $, ask as openDialog, button, el, put, say, select, short } from "/page/dom.js";
import { Refused, blob, get, post, remove } from "/page/api.js";
import { canRedo, canUndo, keep, look, on, redo, setText, state, text, undo } from "/page/store.js";

const POLL_MS = 500;
export const runsPanel = el("div", {}, el("p", { class: "muted", text: "Commands that this tab has started appear here." }));
export const diffPanel = el("div", {});
const dialog = $("dialog");

const trouble = (error) => say(error.message, "bad");
const body = () => ({ text: text(), ...look() });

// --- files ---------------------------------------------------------------------------------------------------

async function open() {
  const { recipes } = await get("recipes").catch(() => ({ recipes: [] }));
  const load = async (kind, name, file) => {
    try {
      setText((await post(kind, { name })).text);
      state.name = file;
      $("name").value = file;
      keep();
      dialog.close();
    } catch (error) {
      trouble(error);
    }
  };
  const row = (name, about, call) => el("li", { tabindex: 0, role: "button", on: { click: call, keydown: (event) => event.key === "Enter" && call() } }, el("b", { text: name }), el("span", { text: about }));
  const presets = Object.entries(state.about.presets).map(([name, about]) => row(name, about, () => load("preset", name, `${name}.yaml`)));
  const files = recipes.map((name) => row(name, "", () => load("open", name, name)));
  openDialog(dialog, "Open a recipe", ...(files.length ? [el("h3", { text: `In ${state.about.folder}` }), el("ul", { class: "choices" }, ...files)] : []), el("h3", { text: "Presets" }), el("ul", { class: "choices" }, ...presets), el("div", { class: "bar" }, el("span", { class: "space" }), button("Cancel", () => dialog.close())));
}

export async function save(replace = false) {
  const name = /\.ya?ml$/.test(state.name) ? state.name : `${state.name || "recipe"}.yaml`;
  try {
    const { path } = await post("save", { name, text: text(), replace });
    say(`Saved ${path}`);
    return true;
  } catch (error) {
    if (!(error instanceof Refused && error.status === 409)) trouble(error);
    else openDialog(dialog, `${name} is there already`, el("p", { text: `Replace the file in ${state.about.folder}?` }), el("div", { class: "bar" }, el("span", { class: "space" }), button("Cancel", () => dialog.close()), button("Replace", () => (dialog.close(), save(true)), { class: "primary" })));
    return false;
  }
}

async function copy() {
  try {
    const found = await post(`commands?name=${encodeURIComponent(state.name)}`, body());
    const line = (title, words) => el("div", { class: "command" }, el("h3", { text: title }), el("pre", { text: words, tabindex: 0 }), button("Copy", () => navigator.clipboard.writeText(words).then(() => say("Copied"), () => say("Select the line and copy it", "bad"))));
    openDialog(dialog, "The same from a shell", el("p", { class: "muted", text: `Once ${state.name} is saved, in ${state.about.folder}.` }), line("These pictures", found.degrade), line("A store of pairs", found["make-pairs"]), line("From Python", found.python), el("div", { class: "bar" }, el("span", { class: "space" }), button("Close", () => dialog.close(), { class: "primary" })));
  } catch (error) {
    trouble(error);
  }
}

async function sheet() {
  say("Drawing the contact sheet …");
  try {
    const url = URL.createObjectURL(await blob("sheet", body()));
    const picture = el("img", { src: url, alt: "contact sheet", class: "sheet" });
    const link = el("a", { href: url, download: `${state.name.replace(/\.ya?ml$/, "")}.png`, class: "button primary" }, "Download PNG");
    dialog.addEventListener("close", () => URL.revokeObjectURL(url), { once: true });
    openDialog(dialog, "Contact sheet", picture, el("div", { class: "bar" }, el("span", { class: "space" }), button("Close", () => dialog.close()), link));
  } catch (error) {
    trouble(error);
  }
}

// --- commands ------------------------------------------------------------------------------------------------

function pairs(openPanel) {
  const view = el("input", { type: "text", value: "studio", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}", required: true });
  const variants = el("input", { type: "number", min: 1, max: 1000, value: state.draws });
  const start = async () => {
    if (!view.checkValidity() || !variants.checkValidity()) return view.reportValidity();
    dialog.close();
    return begin({ kind: "make-pairs", text: text(), view: view.value, variants: Number(variants.value) }, openPanel);
  };
  const source = state.about.faces_folder || "invented faces (lrfr's own source)";
  openDialog(dialog, "Make pairs", el("p", { text: `HR/LR pairs of ${source} by this recipe, in the store “${state.about.store}”.` }), el("div", { class: "wish" }, el("label", {}, "View", view), el("label", {}, "Variants of each face", variants)), el("div", { class: "bar" }, el("span", { class: "space" }), button("Cancel", () => dialog.close()), button("Start", start, { class: "primary" })));
}

function fit(openPanel) {
  const budget = el("input", { type: "number", min: 0.2, max: 10000, step: "any", value: 10, required: true });
  const start = () => {
    if (!budget.checkValidity()) return budget.reportValidity();
    dialog.close();
    return begin({ kind: "fit", budget: Number(budget.value) }, openPanel);
  };
  openDialog(dialog, "Fit to the target", el("p", { text: `Find the recipe under which ${state.about.faces_folder} looks like ${state.about.target}. It is written to camera.yaml in ${state.about.folder}, with a page beside it; started again, it goes on where it was stopped.` }), el("div", { class: "wish" }, el("label", {}, "Minutes of one core", budget)), el("div", { class: "bar" }, el("span", { class: "space" }), button("Cancel", () => dialog.close()), button("Start", start, { class: "primary" })));
}

async function begin(wanted, openPanel) {
  try {
    const run = await post("runs", wanted);
    openPanel();
    follow(run);
  } catch (error) {
    trouble(error);
  }
}

function follow(run) {
  if (runsPanel.firstChild.tagName === "P") runsPanel.replaceChildren();
  const bar = el("progress", { max: 1, "aria-label": `Progress of ${run.kind}` });
  const head = el("b");
  const lines = el("pre", { class: "log", tabindex: 0 });
  const stop = button("Stop", () => remove(`runs/${run.id}`).then((now) => (show(now), (stop.textContent = "Stop now")), trouble));
  const use = button("Take over this recipe", () => taken && setText(taken), { class: "primary", hidden: true });
  let taken = null;
  const card = el("div", { class: "run" }, el("div", { class: "bar" }, head, el("span", { class: "space" }), stop, use), bar, el("code", { text: run.command.join(" ") }), lines);
  runsPanel.prepend(card);
  const show = (now) => {
    head.textContent = `${now.kind}: ${now.state}${now.rate ? `, ${now.rate}` : ""}, ${short(now.seconds)} s`;
    if (now.total) put(bar, { value: now.done / now.total });
    const told = now.told && now.told.result ? summary(now.told.result) : [];
    lines.textContent = [...now.lines.slice(-12), ...told].join("\n");
    put(card, { class: `run ${now.state}` });
    taken = now.text;
    put(use, { hidden: !taken });
    put(stop, { hidden: now.state !== "running" });
    if (now.state !== "running") put(bar, { value: now.state === "done" ? 1 : 0 });
  };
  const poll = async () => {
    const now = await get(`runs/${run.id}`).catch(() => null);
    if (now) show(now);
    if (!now || now.state === "running") setTimeout(poll, POLL_MS);
    else say(`${now.kind}: ${now.state}`, now.state === "failed" ? "bad" : "");
  };
  show(run);
  poll();
}

const summary = (result) => Object.entries(result).filter(([, value]) => typeof value === "number" || (typeof value === "string" && value.length < 80)).slice(0, 10).map(([name, value]) => `${name}: ${value}`);

// --- against a preset -----------------------------------------------------------------------------------------

const against = { name: "surveillance" };
let token = 0;

async function compare() {
  if (!diffPanel.isConnected || diffPanel.parentNode.hidden || state.doc.faults.length) return;
  const own = ++token;
  const found = await post("diff", { text: text(), preset: against.name }).catch(() => null);
  if (!found || own !== token) return;
  const cell = (value) => (value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value).replaceAll('"', "") : short(value));
  const rows = found.differences.slice(0, 200).map((one) => el("tr", {}, el("th", { scope: "row", text: one.place }), el("td", { class: "own", text: cell(one.a) }), el("td", { class: "target", text: cell(one.b) })));
  const head = el("tr", {}, el("th", { text: "place" }), el("th", { text: "this recipe" }), el("th", { text: against.name }));
  diffPanel.lastChild.replaceChildren(el("p", { class: "overall" }, el("b", { text: found.same_pixels ? "The same pixels" : "Different pixels" }), el("span", { text: `${found.differences.length} places differ` })), el("div", { class: "scroll" }, el("table", { class: "plain diff" }, el("thead", {}, head), el("tbody", {}, ...rows))));
}

function buildDiff() {
  const chosen = select(Object.keys(state.about.presets), against.name, (name) => ((against.name = name), compare()), { "aria-label": "Preset to compare with" });
  diffPanel.replaceChildren(el("label", { class: "field-inline" }, "Against the preset", chosen), el("div", {}));
}

export function startActions(openRuns) {
  buildDiff();
  const name = $("name");
  name.value = state.name;
  name.addEventListener("change", () => ((state.name = name.value.trim()), keep()));
  const calls = { open, save: () => save(), copy, sheet, undo, redo, pairs: () => pairs(openRuns), fit: () => fit(openRuns) };
  for (const [id, call] of Object.entries(calls)) $(id).addEventListener("click", call);
  put($("fit"), { hidden: !state.about.can_fit });
  on("document", () => {
    put($("undo"), { disabled: !canUndo() });
    put($("redo"), { disabled: !canRedo() });
  });
  on("found", compare);
  on("tab", compare);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.addEventListener("keydown", keys);
}

function keys(event) {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName) && document.activeElement.type !== "range";
  const control = event.ctrlKey || event.metaKey;
  if (control && event.key.toLowerCase() === "s") save();
  else if (control && event.key.toLowerCase() === "z" && !typing) (event.shiftKey ? redo : undo)();
  else if (control && event.key.toLowerCase() === "y" && !typing) redo();
  else if (!control && !typing && !dialog.open && event.key.toLowerCase() === "o") open();
  else if (!control && !typing && !dialog.open && event.key.toLowerCase() === "a") $("add").click();
  else return;
  event.preventDefault();
}

