// What a tab holds: the recipe's text, edits on their way, history and what is looked at. Nothing of it is on
// the server, and no other tab sees it.

import { Lost, Refused, frames, get, tab } from "/page/api.js";

const KEY = "lrfr-studio";
const HISTORY = 200;
const PATIENCE_MS = 250;

export const state = {
  about: null,
  doc: { text: "", data: null, resolved: null, faults: [], histograms: {} },
  name: "",
  faces: [],
  draws: 3,
  first: 0,
  seed: null,
  zoom: 80,
  view: "pixels",
  captions: false,
  picked: null,
};

const listeners = {};
export const on = (name, call) => (listeners[name] ||= []).push(call);
export const tell = (name, ...given) => (listeners[name] || []).forEach((call) => call(...given));

let base = "";
let pending = [];
let lastId = 0;
let epoch = 0;
let undone = [];
let done = [];
let gesture = null;

// --- the recipe ---------------------------------------------------------------------------------------------

export const text = () => base;
export const steps = () => {
  const data = state.doc.resolved || state.doc.data;
  return data && Array.isArray(data.pipeline) ? data.pipeline : [];
};
export const extending = () => Boolean(state.doc.resolved);
export const canUndo = () => done.length > 0;
export const canRedo = () => undone.length > 0;

function remember(name) {
  if (name !== null && name === gesture) return;
  gesture = name;
  if (done[done.length - 1] !== base) done.push(base);
  if (done.length > HISTORY) done.shift();
  undone = [];
}

// One change of the recipe; changes of the same gesture (a slider that is dragged) are undone together.
export function change(edits, name = null) {
  remember(name);
  for (const edit of edits) {
    const same = pending.findIndex(
      (one) => one.do === "set" && edit.do === "set" && String(one.place) === String(edit.place),
    );
    const last = same === pending.length - 1;
    if (same >= 0 && last) pending.splice(same, 1);
    pending.push({ ...edit, id: ++lastId });
  }
  ask();
}

// Whether a change of this place is on its way: what the server says of it is older than what the hand does.
export const underHand = (place) => pending.some((edit) => edit.do === "set" && String(edit.place) === String(place));

export const endGesture = () => (gesture = null);

export function setText(value, name = null) {
  if (value === base && !pending.length) return;
  remember(name);
  replace(value);
}

function replace(value) {
  base = value;
  pending = [];
  epoch += 1;
  if (flight) flight.abort.abort();
  ask();
}

export function undo() {
  if (!done.length) return;
  gesture = null;
  undone.push(base);
  replace(done.pop());
}

export function redo() {
  if (!undone.length) return;
  gesture = null;
  done.push(base);
  replace(undone.pop());
}

// --- pictures: one request on its way, the latest wish waits, nothing else is queued ------------------------

let flight = null;
let waiting = false;
let number = 0;
let hrWanted = true;

export function ask(hr = false) {
  hrWanted ||= hr;
  if (!flight) return run();
  waiting = true;
  setTimeout(() => waiting && flight && performance.now() - flight.began > PATIENCE_MS && flight.abort.abort(), PATIENCE_MS);
  if (performance.now() - flight.began > PATIENCE_MS) flight.abort.abort();
  return null;
}

export const look = () => ({
  faces: state.faces,
  draws: state.draws,
  first_variant: state.first,
  ...(state.seed === null ? {} : { seed: state.seed }),
});

async function run() {
  waiting = false;
  const own = { abort: new AbortController(), began: performance.now(), epoch, last: lastId, first: true };
  flight = own;
  const edits = pending.map(({ id, ...edit }) => edit);
  const body = { tab, number: ++number, text: base, edits, ...look(), hr: hrWanted, measures: true };
  tell("working", true);
  try {
    await frames("pictures", body, own.abort.signal, (head, pictures) => take(own, head, pictures));
    tell("found");
  } catch (error) {
    if (error.name !== "AbortError") failed(error, edits);
  } finally {
    flight = null;
    keep();
    if (waiting) run();
    else tell("working", false);
  }
}

function take(own, head, pictures) {
  if (own.epoch !== epoch) return;
  if (head.kind === "document") {
    base = head.text;
    pending = pending.filter((edit) => edit.id > own.last);
    state.doc = head;
    hrWanted &&= !head.size;
    tell("document", head);
    return;
  }
  if (head.kind === "face" && own.first) {
    own.first = false;
    tell("first", performance.now() - own.began);
  }
  if (head.kind === "end") own.ms = performance.now() - own.began;
  tell(head.kind, head, pictures, own);
}

function failed(error, edits) {
  if (error instanceof Refused && error.status === 422 && edits.length) {
    pending = [];
    tell("document", state.doc);
  }
  tell(error instanceof Lost ? "lost" : "trouble", error);
  if (error instanceof Lost) setTimeout(again, 1000);
}

async function again() {
  try {
    await get("recipes");
    tell("back");
    hrWanted = true;
    ask();
  } catch (error) {
    if (error instanceof Lost) setTimeout(again, 1000);
    else tell("trouble", error);
  }
}

// --- what a reload brings back --------------------------------------------------------------------------------

export function keep() {
  const { name, faces, draws, first, seed, zoom, view, captions } = state;
  const held = { text: base, name, faces: faces.filter(Number.isInteger), draws, first, seed, zoom, view, captions };
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ ...held, done: done.slice(-40) }));
  } catch {
    // a private window may refuse; the page works without
  }
}

export function restore(about) {
  state.about = about;
  const count = Math.min(12, about.faces);
  Object.assign(state, { name: about.name, faces: [...Array(count).keys()], zoom: innerWidth > 1900 ? 136 : innerWidth < 1500 ? 60 : 80 });
  base = about.text;
  try {
    const held = JSON.parse(sessionStorage.getItem(KEY) || "null");
    if (held) {
      const { text: kept, done: past, faces, ...rest } = held;
      Object.assign(state, rest);
      const known = (faces || []).filter((one) => one < about.faces);
      if (known.length) state.faces = known;
      base = kept ?? base;
      done = past || [];
    }
  } catch {
    // what another version kept is left aside
  }
}
