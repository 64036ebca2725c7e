// The HTTP interface of the studio: the same calls as docs/studio.md gives for scripts.

const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
export const tab = crypto.randomUUID();

export class Refused extends Error {
  constructor(status, error) {
    super(error.hint ? `${error.message} (${error.hint})` : error.message || `status ${status}`);
    this.status = status;
    this.error = error;
  }
}

export class Lost extends Error {}

async function call(path, init = {}) {
  const headers = { "X-Lrfr-Token": token, ...(init.headers || {}) };
  let response;
  try {
    response = await fetch(path, { ...init, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Lost("the server does not answer");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Refused(response.status, body.error || {});
}

const json = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

export const get = async (name) => (await call(`/api/${name}`)).json();
export const post = async (name, body) => (await call(`/api/${name}`, json(body))).json();
export const remove = async (name) => (await call(`/api/${name}`, { method: "DELETE" })).json();
export const blob = async (name, body) => (await call(`/api/${name}`, json(body))).blob();

export async function upload(file) {
  const where = `upload?tab=${tab}&name=${encodeURIComponent(file.name.slice(0, 200) || "face")}`;
  const init = { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file };
  return (await (await call(`/api/${where}`, init)).json()).face;
}

// Read the frames of an answer as they come: 4 bytes of length, a JSON head, pixels of the sizes it names.
export async function frames(name, body, signal, take) {
  const response = await call(`/api/${name}`, { ...json(body), signal });
  const reader = response.body.getReader();
  let rest = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Lost("the server went away");
    });
    if (done) break;
    const data = new Uint8Array(rest.length + value.length);
    data.set(rest);
    data.set(value, rest.length);
    rest = data.slice(whole(data, take));
  }
}

function whole(data, take) {
  const view = new DataView(data.buffer);
  let at = 0;
  while (at + 4 <= data.length) {
    const length = view.getUint32(at, true);
    let end = at + 4 + length;
    if (end > data.length) break;
    const head = JSON.parse(new TextDecoder().decode(data.subarray(at + 4, end)));
    const starts = head.sizes.map(([width, height]) => (end += width * height * 3) - width * height * 3);
    if (end > data.length) break;
    const pictures = head.sizes.map(([width, height], i) => picture(data, starts[i], width, height));
    at = end;
    take(head, pictures);
  }
  return at;
}

function picture(data, start, width, height) {
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let from = start, to = 0; to < rgba.length; from += 3, to += 4) {
    rgba[to] = data[from];
    rgba[to + 1] = data[from + 1];
    rgba[to + 2] = data[from + 2];
    rgba[to + 3] = 255;
  }
  return new ImageData(rgba, width, height);
}
