// The timeline: an overview of the whole run, and a row for each piece of work.

const CLASSES = ["tool", "model", "failed", "cut"]; // what bars are made of, beside waits; later ones lie above

/** What a piece of work itself did, as [from, to, class]; waits come last, and so lie above. */
function spansOf(piece) {
  const spans = [];
  const end = piece.b + piece.d;
  const shown = piece.s === "failed" ? "failed" : piece.s === "stopped" ? "cut" : piece.k === "call" ? "model" : "tool";
  if (piece.k === "call" || (piece.k === "tool" && !piece.in.length)) spans.push([piece.b, end, shown]);
  for (const [cause, from, seconds] of piece.w) spans.push([from, from + seconds, causeClass(cause)]);
  return spans;
}

/** All spans of a piece and of what was done in it, at so many places of the visible time, the most important at each. */
function mergedSpans(piece, cells) {
  const width = (state.to - state.from) / cells;
  const rank = new Uint8Array(cells);
  const shown = new Array(cells).fill("");
  const ahead = [piece];
  while (ahead.length) {
    const one = ahead.pop();
    for (const inner of one.in) ahead.push(inner);
    for (const [from, to, kind] of spansOf(one)) {
      const importance = kind.startsWith("wait") ? 3 : 1 + CLASSES.indexOf(kind);
      const last = Math.min(cells - 1, Math.floor((to - state.from) / width));
      for (let cell = Math.max(0, Math.floor((from - state.from) / width)); cell <= last; cell++) {
        if (importance <= rank[cell]) continue;
        rank[cell] = importance;
        shown[cell] = kind;
      }
    }
  }
  const spans = [];
  for (let first = 0, end; first < cells; first = end) {
    for (end = first + 1; end < cells && shown[end] === shown[first]; end++);
    if (shown[first]) spans.push([state.from + first * width, state.from + end * width, shown[first]]);
  }
  return spans;
}

/** Many spans as one picture: their colours as a gradient with hard edges, and stripes over those that are waits. */
function painted(spans) {
  const share = (when) => `${((100 * (when - state.from)) / (state.to - state.from)).toFixed(2)}%`;
  const gradient = (colour) => {
    let done = "0%";
    const stops = spans.map(([from, to, kind]) => {
      const stop = `transparent ${done} ${share(from)}, ${colour(kind)} ${share(from)} ${share(to)}`;
      done = share(to);
      return stop;
    });
    return `linear-gradient(to right, ${[...stops, `transparent ${done} 100%`].join(", ")})`;
  };
  const isWait = (kind) => kind.startsWith("wait ");
  const colours = make("div", { class: "painted" });
  colours.style.backgroundImage = gradient((kind) => `var(--${kind.replace("wait ", "")})`);
  if (!spans.some((span) => isWait(span[2]))) return [colours];
  const stripes = make("div", { class: "painted stripes" });
  stripes.style.maskImage = gradient((kind) => (isWait(kind) ? "#000" : "transparent"));
  return [colours, stripes];
}

function place(element, from, to) {
  const all = state.to - state.from;
  element.style.left = `${(100 * (from - state.from)) / all}%`;
  element.style.width = `${(100 * (to - from)) / all}%`;
  return element;
}

const inView = ([from, to]) => to >= state.from && from <= state.to;

function laneOf(piece) {
  const lane = make("div", { class: "lane", "aria-hidden": "true" });
  const whole = [piece.b, piece.b + piece.d];
  if (piece.in.length && inView(whole)) lane.append(place(make("div", { class: "whole" }), ...whole));
  if (piece.in.length) lane.append(...painted(mergedSpans(piece, 300)));
  else for (const span of spansOf(piece)) if (inView(span)) lane.append(place(make("div", { class: span[2] }), span[0], span[1]));
  for (const [words, when] of piece.x) {
    if (!words.startsWith("Signed in") || !inView([when, when])) continue;
    lane.append(place(make("div", { class: "sign" }), when, when));
  }
  return lane;
}

// Rows.

function shownRows() {
  if (state.matches) return paged(state.matches, "matches").map((row) => ({ ...row, depth: 0, flat: true }));
  const rows = [];
  const add = (children, depth, key) => {
    for (const row of paged(children, key)) {
      rows.push({ ...row, depth });
      if (row.piece && state.open.has(row.piece.i)) add(row.piece.in, depth + 1, row.piece.i);
    }
  };
  add(state.top, 0, "top");
  return rows;
}

function paged(pieces, key) {
  const most = PAGE * (state.more.get(key) || 1);
  const rows = pieces.slice(0, most).map((piece) => ({ piece }));
  if (pieces.length > most) rows.push({ key, left: pieces.length - most });
  return rows;
}

function showRows(focus) {
  const marks = ticks();
  const scale = make("div", { class: "scale" }, marks.map((when) => placed(make("span", {}, round(when)), when)));
  byId("axis").replaceChildren(make("b", { class: "unseen" }, "When"), scale);
  const rows = shownRows();
  const shown = rows.filter((row) => row.piece).map((row) => row.piece);
  const body = byId("rows").tBodies[0];
  body.replaceChildren(...rows.map((row) => (row.piece ? rowOf(row, shown, marks) : moreRow(row))));
  const target = focus && body.querySelector(focus);
  if (target) target.focus();
}

function placed(element, when) {
  element.style.left = `${(100 * (when - state.from)) / (state.to - state.from)}%`;
  return element;
}

/** A time on the axis, with no more digits than it needs. */
function round(when) {
  const [number, ...unit] = time(when).split(" ");
  return when < 60 ? [Number(number), ...unit].join(" ") : time(when).replace(" 0 s", "");
}

function ticks() {
  const all = state.to - state.from;
  const raw = all / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const steps = raw >= 60 ? [60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400] : [1, 2, 5, 10].map((step) => step * power);
  const step = steps.find((one) => one >= raw) || 86400 * Math.ceil(raw / 86400);
  const found = [];
  for (let when = Math.ceil(state.from / step) * step; when <= state.to - all * 0.04; when += step) found.push(when);
  return found;
}

// Tables that are laid out otherwise, as on a phone, are none to screen readers unless roles say so.
function rowOf({ piece, depth, flat }, shown, marks) {
  const open = state.open.has(piece.i);
  const name = nameOf(piece);
  const toggle =
    piece.in.length && !flat
      ? make("button", { type: "button", class: "toggle", "aria-expanded": String(open), "aria-label": `What was done in ${name}`, "data-toggle": piece.i, onclick: () => turn(piece) }, open ? "▾" : "▸")
      : make("span", { class: "no-toggle" });
  const opener = make("button", { type: "button", class: "open", "data-open": piece.i, onclick: () => showDetail(piece, shown) }, name);
  const what = make("div", { class: "what" }, toggle, make("div", {}, opener, make("span", { class: "says" }, ...saying(piece, depth))));
  what.style.paddingLeft = `${depth * 1.1}rem`;
  const scale = make("div", { class: "scale", "aria-hidden": "true" }, marks.map((when) => placed(make("div", { class: "grid" }), when)));
  const where = make("td", { class: "track", role: "cell" }, scale, laneOf(piece), make("span", { class: "unseen" }, spoken(piece)));
  const tokens = state.tokens.get(piece);
  return make(
    "tr", { class: `is-${piece.k}`, role: "row" },
    make("th", { scope: "row", role: "rowheader" }, what),
    make("td", { class: "agent", role: "cell" }, piece.k === "tool" && !piece.co ? "" : piece.a),
    where,
    make("td", { class: "number took", role: "cell" }, piece.s === "skipped" ? "—" : time(piece.d)),
    make("td", { class: "number tokens", role: "cell" }, tokens ? count(tokens) : ""),
  );
}

/** What is worth saying of a piece beside its name. */
function saying(piece, depth) {
  const words = [];
  if (piece.k !== "task") words.push(piece.k === "call" && piece.q ? `${KINDS.call}: ${piece.q}` : KINDS[piece.k]);
  else if (piece.in.length) words.push(inside(piece));
  if (piece.at) words.push(several(piece.at, "attempt"));
  if (piece.tc) words.push(`asks for ${several(piece.tc, "tool")}`);
  if (piece.ca) words.push("cached");
  const waited = waitedIn(piece);
  if (waited >= 0.0005) words.push(`waited ${time(waited)}: ${[...new Set(piece.w.map((wait) => causeWords(wait[0])))].join(", ")}`);
  const parts = [words.filter(Boolean).join(" · ")];
  if (piece.s !== "finished")
    parts.unshift(make("span", { class: `mark ${piece.s === "failed" ? "bad" : "warn"}` }, `${piece.s === "failed" ? "✗ " : ""}${STATES[piece.s]}`), parts[0] ? " · " : "");
  return parts;
}

function inside(piece) {
  const kinds = { call: 0, tool: 0 };
  for (const one of piece.in) if (one.k in kinds) kinds[one.k]++;
  return [kinds.call ? several(kinds.call, "call") : "", kinds.tool ? several(kinds.tool, "tool") : ""].filter(Boolean).join(", ");
}

const spoken = (piece) => (piece.s === "skipped" ? "skipped" : `from ${time(piece.b)} to ${time(piece.b + piece.d)}`);

function moreRow({ key, left, depth }) {
  const more = () => {
    state.more.set(key, (state.more.get(key) || 1) + 1);
    showRows(`[data-more="${key}"]`);
  };
  const button = make("button", { type: "button", "data-more": key, onclick: more }, `Show ${count(Math.min(PAGE, left))} more of ${count(left)}`);
  return make("tr", { role: "row" }, make("td", { colspan: "5", role: "cell" }, button));
}

function turn(piece) {
  if (!state.open.delete(piece.i)) state.open.add(piece.i);
  showRows(`[data-toggle="${piece.i}"]`);
}

byId("rows").addEventListener("keydown", (event) => {
  const at = event.target.closest("tr");
  if (!at || !event.target.matches("[data-open], [data-toggle]")) return;
  const toggle = at.querySelector("[data-toggle]");
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (step) {
    const next = at[step] && at[step].querySelector("[data-open], [data-more]");
    if (next) next.focus();
  } else if (toggle && (event.key === "ArrowRight") !== (toggle.getAttribute("aria-expanded") === "true") && event.key.startsWith("Arrow")) {
    const id = toggle.dataset.toggle;
    turn(PIECES[id]);
    byId("rows").querySelector(`[data-open="${id}"]`).focus();
  } else return;
  event.preventDefault();
});

// Finding.

function find() {
  const words = byId("words").value.trim().toLowerCase();
  const only = byId("only").value;
  const wanted = {
    failed: (piece) => piece.s === "failed" || piece.s === "stopped" || piece.e,
    waited: (piece) => piece.w.length,
    call: (piece) => piece.k === "call",
    tool: (piece) => piece.k === "tool",
  }[only];
  const fits = (piece) =>
    (!wanted || wanted(piece)) && (!words || `${piece.n}\n${piece.a}\n${piece.e || ""}\n${piece.co || ""}`.toLowerCase().includes(words));
  state.matches = words || only ? state.pieces.filter((piece) => piece.k !== "run" && fits(piece)) : null;
  state.more.delete("matches");
  byId("found").textContent = state.matches ? several(state.matches.length, "match", "matches") : "";
  showRows();
}

let waiting = 0;
byId("filter").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(find, state.pieces.length > 2000 ? 150 : 0);
});
byId("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  find();
});

// The overview, and zooming.

function showOverview() {
  const cells = 240;
  const all = Math.max(state.run.seconds, 0.001);
  const sums = new Map();
  for (const piece of state.pieces)
    for (const [from, to, kind] of spansOf(piece).map((span, number, spans) => without(span, spans, number))) {
      if (to <= from && !(kind === "model" || kind === "failed")) continue;
      if (!sums.has(kind)) sums.set(kind, new Float64Array(cells));
      const sum = sums.get(kind);
      const first = Math.max(0, Math.floor((from / all) * cells));
      for (let cell = first; cell < cells && (cell / cells) * all <= to; cell++) {
        const low = Math.max(from, (cell / cells) * all);
        const high = Math.min(to, ((cell + 1) / cells) * all);
        sum[cell] += Math.max(0, high - low) / (all / cells);
      }
    }
  const heights = new Float64Array(cells);
  for (const sum of sums.values()) sum.forEach((value, cell) => (heights[cell] += value));
  const most = Math.max(...heights, 1);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${cells} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const base = new Float64Array(cells);
  for (const kind of [...sums.keys()].sort(byImportance)) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    let drawn = "";
    sums.get(kind).forEach((value, cell) => {
      const height = (92 * value) / most;
      if (height > 0) drawn += `M${cell} ${(100 - base[cell] - height).toFixed(2)}h1.02v${height.toFixed(2)}h-1.02z`;
      base[cell] += height;
    });
    path.setAttribute("d", drawn);
    path.setAttribute("class", kind);
    svg.append(path);
  }
  byId("chart").replaceChildren(svg, make("div", { id: "window", hidden: true }));
  byId("overview-words").textContent = `How much went on at once, over ${time(state.run.seconds)}: at most ${most < 1.05 ? "one piece" : `${Math.round(most)} pieces`} of work. Drag over it to zoom in.`;
}

const byImportance = (one, other) => Number(one.startsWith("wait")) - Number(other.startsWith("wait")) || one.localeCompare(other);

/** A span of work without the waits in it, which are spans of their own: its length is right, its place nearly. */
function without(span, spans, number) {
  if (number > 0 || span[2].startsWith("wait")) return span;
  const waited = spans.slice(1).reduce((sum, wait) => sum + wait[1] - wait[0], 0);
  const first = spans[1] ? Math.max(span[0], spans[1][0]) : span[0];
  return first - span[0] > span[1] - span[0] - waited ? [span[0], span[1] - waited, span[2]] : [span[0] + waited, span[1], span[2]];
}

function showLegend(run) {
  const kinds = new Set();
  for (const piece of state.pieces) for (const span of spansOf(piece)) kinds.add(span[2]);
  const words = { model: "model at work", tool: "tool", failed: "failed", cut: "cut off" };
  const items = CLASSES.filter((kind) => kinds.has(kind)).map((kind) => [kind, words[kind]]);
  for (const [cause] of run.waits) items.push([causeClass(cause), waitWords(cause)]);
  byId("legend").replaceChildren(...items.map(([kind, text]) => make("li", {}, make("span", { class: `key ${kind}` }), text)));
}

function zoom(from, to) {
  const all = Math.max(state.run.seconds, 0.001);
  const width = Math.min(all, Math.max(to - from, all / 100000, 0.0001));
  state.from = Math.min(Math.max(0, from), all - width);
  state.to = state.from + width;
  const shown = byId("window");
  shown.hidden = width >= all * 0.999;
  shown.style.left = `${(100 * state.from) / all}%`;
  shown.style.width = `${(100 * width) / all}%`;
  byId("found").textContent = shown.hidden ? "" : `Shown: from ${time(state.from)} to ${time(state.to)} of ${time(all)}.`;
  showRows();
}

byId("zoom").addEventListener("click", (event) => {
  const { from, to } = state;
  const width = to - from;
  const moves = {
    in: [from + width / 4, to - width / 4],
    out: [from - width / 2, to + width / 2],
    left: [from - width / 2, to - width / 2],
    right: [from + width / 2, to + width / 2],
    all: [0, state.run.seconds],
  }[event.target.dataset.zoom];
  if (moves) zoom(...moves);
});

byId("chart").addEventListener("pointerdown", (event) => {
  const chart = byId("chart");
  const when = (at) => {
    const box = chart.getBoundingClientRect();
    return (Math.min(Math.max(0, at.clientX - box.left), box.width) / box.width) * state.run.seconds;
  };
  const start = when(event);
  chart.setPointerCapture(event.pointerId);
  const done = (end) => {
    chart.removeEventListener("pointerup", done);
    const [from, to] = [start, when(end)].sort((one, other) => one - other);
    if (to - from > state.run.seconds / 200) zoom(from, to);
    else zoom(0, state.run.seconds);
  };
  chart.addEventListener("pointerup", done);
});
