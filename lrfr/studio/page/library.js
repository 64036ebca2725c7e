// The table of ops and containers to add a step from, with a search.

import { $, ask, button, el } from "/page/dom.js";
import { change, extending, state } from "/page/store.js";

const CONTAINERS = {
  one_of: "One of several steps, by weights.",
  some_of: "Some of several steps.",
  shuffle: "Several steps in a drawn order.",
  steps: "Steps in a row, gated or repeated together.",
};

const sentence = (text) => (text || "").split("\n\n")[0].replaceAll("`", "").split(/(?<=\.)\s/)[0].replaceAll("\n", " ");

function entries() {
  const ops = state.about.schema.$defs.Step.anyOf.filter((one) => !(one.title in CONTAINERS));
  const known = ops.map((one) => ({ name: one.title, about: sentence(one.description), step: state.about.starters[one.title] || { op: one.title } }));
  const inner = { op: "identity" };
  const boxes = Object.entries(CONTAINERS).map(([name, about]) => ({ name, about, step: name === "some_of" ? { some_of: [inner], n: 1 } : { [name]: [inner] } }));
  return [...known, ...boxes];
}

export function addDialog(place, index) {
  const list = el("ul", { class: "choices", role: "listbox", "aria-label": "Ops and containers" });
  const search = el("input", { type: "search", placeholder: "Search: blur, noise, size …", "aria-label": "Search the ops" });
  let shown = [];
  let at = 0;
  const take = (entry) => {
    dialog.close();
    change([{ do: "insert", place, index, value: entry.step }]);
  };
  const draw = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = entries().filter((one) => words.every((word) => `${one.name} ${one.about}`.toLowerCase().includes(word)));
    at = Math.min(at, Math.max(0, shown.length - 1));
    list.replaceChildren(...shown.map((one, i) => el("li", { role: "option", "aria-selected": i === at, on: { click: () => take(one) } }, el("b", { text: one.name }), el("span", { text: one.about }))));
    list.children[at]?.scrollIntoView({ block: "nearest" });
    if (!shown.length) list.append(el("li", { class: "empty", text: "Nothing of this name." }));
  };
  search.addEventListener("input", () => ((at = 0), draw()));
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      at = Math.min(shown.length - 1, Math.max(0, at + (event.key === "ArrowDown" ? 1 : -1)));
      draw();
      event.preventDefault();
    } else if (event.key === "Enter" && shown[at]) {
      take(shown[at]);
      event.preventDefault();
    }
  });
  const dialog = ask($("dialog"), extending() ? "This file extends another: write it out first" : "Add a step", search, list, el("div", { class: "bar" }, el("span", { class: "space" }), button("Cancel", () => dialog.close())));
  draw();
  search.focus();
}
