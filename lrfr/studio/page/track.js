// A histogram of what is drawn, with a handle on each end; one handle and no bars for a fixed value.

import { el, put, short, svg } from "/page/dom.js";

const HEIGHT = 34;

export function track({ scale, values, names, label, histogram, change, settle }) {
  const bars = svg("g", { class: "bars" });
  const span = svg("rect", { class: "span", y: HEIGHT - 3, height: 3, rx: 1.5 });
  const rail = svg("rect", { class: "rail", x: 0, y: HEIGHT - 3, width: 100, height: 3 });
  const chart = svg("svg", { class: "chart", viewBox: `0 0 100 ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  chart.append(bars, rail, span);
  const handles = values.map((value, index) =>
    el("div", {
      class: "handle",
      role: "slider",
      tabindex: 0,
      "aria-label": `${label}${names[index] ? ` ${names[index]}` : ""}`,
      "aria-valuemin": scale.low,
      "aria-valuemax": scale.high,
      on: { keydown: (event) => key(event, index), keyup: settle, blur: settle },
    }),
  );
  const ends = el("div", { class: "ends" }, el("span", { text: short(scale.low) }), el("span", { text: short(scale.high) }));
  const area = el("div", { class: "track-area" }, chart, ...handles);
  const node = el("div", { class: histogram === undefined ? "track bare" : "track" }, area, ends);
  let now = [...values];

  function paint() {
    const shares = now.map(scale.share);
    handles.forEach((handle, i) => {
      handle.style.setProperty("left", `${100 * shares[i]}%`);
      handle.setAttribute("aria-valuenow", now[i]);
      handle.setAttribute("aria-valuetext", short(now[i]));
    });
    const from = now.length > 1 ? Math.min(...shares) : 0;
    put(span, { x: 100 * from, width: Math.max(0.4, 100 * (Math.max(...shares) - from)) });
  }

  function move(index, value) {
    let moved = value;
    if (now.length > 1) moved = index === 0 ? Math.min(moved, now[1]) : Math.max(moved, now[0]);
    if (moved === now[index]) return;
    now[index] = moved;
    paint();
    change([...now]);
  }

  function key(event, index) {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (steps) move(index, scale.moved(now[index], steps));
    else if (event.key === "Home") move(index, scale.low);
    else if (event.key === "End") move(index, scale.high);
    else return;
    event.preventDefault();
  }

  area.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const box = area.getBoundingClientRect();
    const share = (one) => (one.clientX - box.left) / box.width;
    const gaps = now.map((value) => Math.abs(scale.share(value) - share(event)));
    let index = gaps.indexOf(Math.min(...gaps));
    if (gaps.length > 1 && gaps[0] === gaps[1]) index = share(event) > scale.share(now[0]) ? 1 : 0;
    handles[index].focus();
    area.setPointerCapture(event.pointerId);
    const follow = (one) => move(index, scale.value(share(one)));
    const end = () => {
      area.removeEventListener("pointermove", follow);
      area.removeEventListener("pointerup", end);
      area.removeEventListener("pointercancel", end);
      settle();
    };
    area.addEventListener("pointermove", follow);
    area.addEventListener("pointerup", end);
    area.addEventListener("pointercancel", end);
    follow(event);
    event.preventDefault();
  });

  node.update = (given, drawn) => {
    now = [...given];
    paint();
    if (drawn) fill(bars, drawn, scale);
  };
  node.update(values, histogram);
  return node;
}

function fill(bars, { low, high, counts }, scale) {
  const most = Math.max(...counts, 1);
  const edge = (i) => 100 * scale.share(low + ((high - low) * i) / counts.length);
  bars.replaceChildren(
    ...counts.map((count, i) => {
      const height = ((HEIGHT - 6) * count) / most;
      const left = edge(i);
      return svg("rect", { x: left, y: HEIGHT - 4 - height, width: Math.max(0.25, edge(i + 1) - left - 0.3), height });
    }),
  );
}
