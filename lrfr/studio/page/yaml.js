// The YAML pane: line numbers, colors and faults at their lines, in step with the cards both ways.

import { $, button, el, put } from "/page/dom.js";
import { endGesture, extending, on, setText, text, state } from "/page/store.js";
import { post } from "/page/api.js";

const WAIT_MS = 220;
const TOKEN = /(#.*$)|("(?:[^"\\]|\\.)*"|'[^']*')|(^\s*(?:- )?(?:\{)?[\w.-]+(?=:))|([\w.-]+(?=:\s))|(-?\b\d[\d.]*(?:e-?\d+)?\b)|(\b(?:true|false|null)\b)/gm;
const NAMES = ["comment", "string", "key", "key", "number", "word"];
let timer;

function colored(line) {
  const parts = [];
  let at = 0;
  for (const found of line.matchAll(TOKEN)) {
    if (found.index > at) parts.push(line.slice(at, found.index));
    const kind = NAMES[found.slice(1).findIndex((group) => group !== undefined)];
    parts.push(el("span", { class: `y-${kind}`, text: found[0] }));
    at = found.index + found[0].length;
  }
  parts.push(line.slice(at));
  return parts;
}

function paint() {
  const wrong = new Map(state.doc.faults.map((fault) => [fault.line, fault]));
  const lines = $("yaml").value.split("\n");
  $("yaml-marks").replaceChildren(...lines.map((line, i) => el("div", { class: wrong.has(i + 1) ? "wrong" : "" }, ...colored(line), "\n")));
  scroll();
}

const scroll = () => ($("yaml-marks").scrollTop = $("yaml").scrollTop);

function showFaults(faults) {
  $("faults").replaceChildren(...faults.slice(0, 10).map((fault) => el("li", {}, button(`${fault.line ? `line ${fault.line}: ` : ""}${fault.path ? `${fault.path}: ` : ""}${fault.message}`, () => go(fault.line), { class: "fault" }))));
  put($("yaml"), { "aria-invalid": faults.length > 0 });
  $("yaml-state").textContent = faults.length ? `${faults.length} ${faults.length > 1 ? "faults" : "fault"}` : state.doc.digest ? `sha256 ${state.doc.digest.slice(0, 12)}` : "";
}

function go(line) {
  if (!line) return;
  const area = $("yaml");
  const start = area.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  area.focus();
  area.setSelectionRange(start, start + area.value.split("\n")[line - 1].length);
}

function showExtended() {
  const node = $("extended");
  put(node, { hidden: !extending() });
  if (!extending()) return;
  const write = async () => setText((await post("write-out", { text: text() })).text);
  node.replaceChildren(`This file extends “${state.doc.data.extends}”: values are set under set:, steps move once it is written out. `, button("Write it out", write));
}

export function startYaml() {
  const area = $("yaml");
  area.addEventListener("input", () => {
    paint();
    clearTimeout(timer);
    timer = setTimeout(() => setText(area.value, "typing"), WAIT_MS);
  });
  area.addEventListener("blur", endGesture);
  area.addEventListener("scroll", scroll);
  on("document", (doc) => {
    if (document.activeElement !== area || !timer || area.value === doc.text) {
      const at = area.selectionStart;
      if (area.value !== doc.text) {
        area.value = doc.text;
        area.setSelectionRange(at, at);
      }
    }
    paint();
    showFaults(doc.faults);
    showExtended();
  });
  new ResizeObserver(scroll).observe(area);
}
