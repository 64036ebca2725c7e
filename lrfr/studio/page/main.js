// The page: everything is drawn from what the server says, nothing is loaded from elsewhere.

import { $, button, el, put, say, short } from "/page/dom.js";
import { get } from "/page/api.js";
import { diffPanel, runsPanel, startActions } from "/page/actions.js";
import { facePanel, startFace } from "/page/face.js";
import { startGrid } from "/page/grid.js";
import { addDialog } from "/page/library.js";
import { costPanel, numbersPanel, startNumbers } from "/page/numbers.js";
import { showSteps } from "/page/steps.js";
import { ask, on, restore, state, steps, tell } from "/page/store.js";
import { startYaml } from "/page/yaml.js";

const PANELS = { Statistics: numbersPanel, Face: facePanel, Cost: costPanel, Compare: diffPanel, Runs: runsPanel };

function openTab(name) {
  for (const node of $("tabs").childNodes) {
    const chosen = node.dataset.tab === name;
    put(node, { "aria-selected": chosen, tabindex: chosen ? 0 : -1 });
  }
  for (const node of $("panels").childNodes) put(node, { hidden: node.dataset.tab !== name });
  tell("tab", name);
}

function buildTabs() {
  const names = Object.keys(PANELS);
  for (const [i, name] of names.entries()) {
    const turn = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = names[(i + step + names.length) % names.length];
      openTab(next);
      document.querySelector(`[role=tab][data-tab=${next}]`).focus();
    };
    $("tabs").append(button(name, () => openTab(name), { role: "tab", dataset: { tab: name }, id: `tab-${name}`, "aria-controls": `panel-${name}`, on: { keydown: turn } }));
    $("panels").append(el("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, dataset: { tab: name } }, PANELS[name]));
  }
  openTab("Statistics");
}

function theme() {
  const kept = localStorage.getItem("lrfr-theme");
  if (kept) document.documentElement.dataset.theme = kept;
  $("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("lrfr-theme", document.documentElement.dataset.theme);
  });
}

function banner(text) {
  $("banner").textContent = text;
  put($("banner"), { hidden: !text });
}

function listen() {
  const pulse = $("pulse");
  on("document", showSteps);
  on("working", (busy) => pulse.classList.toggle("busy", busy));
  on("first", (ms) => (pulse.dataset.first = Math.round(ms)));
  on("end", (head, pictures, own) => {
    if (head.stale) return;
    pulse.textContent = state.doc.faults.length ? "" : `${state.faces.length * state.draws} pictures, ${short(Math.round(own.ms))} ms`;
    pulse.dataset.number = head.number;
    banner("");
  });
  on("fault", (head) => say(head.error.message, "bad"));
  on("trouble", (error) => (error.status === 403 ? banner(error.message) : say(error.message, "bad")));
  on("lost", () => banner("The server does not answer: it was stopped, or this machine sleeps. Your recipe is kept in this tab; the page goes on by itself once the server is back at this address."));
  on("back", () => banner(""));
  $("add").addEventListener("click", () => addDialog(["pipeline"], steps().length));
}

async function start() {
  theme();
  let about;
  try {
    about = await get("about");
  } catch (error) {
    banner(error.status === 403 ? "Open the address that lrfr studio has printed: it holds the token that this page needs." : error.message);
    return;
  }
  restore(about);
  buildTabs();
  startGrid();
  startYaml();
  startFace(() => openTab("Face"));
  startNumbers();
  startActions(() => openTab("Runs"));
  listen();
  ask(true);
  document.documentElement.dataset.ready = "yes";
}

start();
