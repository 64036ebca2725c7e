// Elements without markup: every text is a text node, so nothing that comes from a file is ever read as HTML.

export const $ = (id) => document.getElementById(id);

const OWN = new Set(["class", "dataset", "style", "on", "text"]);

export function put(node, props = {}, ...children) {
  for (const [key, value] of Object.entries(props)) {
    if (!OWN.has(key)) {
      if (key.startsWith("aria-") && typeof value === "boolean") node.setAttribute(key, String(value));
      else if (value === false || value === null || value === undefined) node.removeAttribute(key);
      else node.setAttribute(key, value === true ? "" : String(value));
    }
  }
  if (props.class) node.setAttribute("class", props.class);
  Object.assign(node.dataset, props.dataset || {});
  for (const [key, value] of Object.entries(props.style || {})) node.style.setProperty(key, value);
  for (const [name, call] of Object.entries(props.on || {})) node.addEventListener(name, call);
  if (props.text !== undefined) node.textContent = props.text;
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const el = (tag, props, ...children) => put(document.createElement(tag), props, ...children);
export const svg = (tag, props, ...children) =>
  put(document.createElementNS("http://www.w3.org/2000/svg", tag), props, ...children);

export const button = (text, call, props = {}) =>
  el("button", { type: "button", ...props, on: { click: call, ...(props.on || {}) } }, text);

export function select(options, value, call, props = {}) {
  const node = el("select", { ...props, on: { change: () => call(node.value) } });
  for (const option of options) {
    const [key, text] = Array.isArray(option) ? option : [option, option];
    node.append(el("option", { value: key, text: String(text) }));
  }
  node.value = String(value);
  return node;
}

let saying;
export function say(text, kind = "") {
  const node = $("said");
  node.textContent = text;
  node.className = `shown ${kind}`;
  clearTimeout(saying);
  saying = setTimeout(() => (node.className = ""), kind === "bad" ? 7000 : 3500);
}

// A number as people write it: four digits, no tail of zeros.
export function short(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(Math.abs(value) >= 100 ? 5 : 4)));
}

export function ask(dialog, title, ...children) {
  dialog.replaceChildren(el("h2", { text: title }), ...children);
  if (!dialog.open) dialog.showModal();
  return dialog;
}
