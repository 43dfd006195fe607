"use strict";
// Everything that was recorded is shown as text, never as HTML: there is no innerHTML here, and the page's policy forbids it.

const byId = (id) => document.getElementById(id);
const DATA = JSON.parse(byId("data").textContent);
const PIECES = DATA.pieces;
const CAUSES = {
  backoff: "backoff after a failure",
  throttled: "told to wait by the endpoint",
  rate_limit: "own rate limit",
  concurrency: "a free place",
  breaker: "open circuit breaker",
  budget: "budget",
  human: "a human",
};
const KINDS = { run: "Crew", task: "Task", call: "Model call", tool: "Tool", unknown: "Work" };
const STATES = { finished: "finished", failed: "failed", stopped: "cut off", skipped: "skipped", cut: "no end recorded", working: "at work" };
const PAGE = 100; // rows that are shown at once

PIECES.forEach((piece, place) => {
  piece.i = place;
  piece.s = piece.s || "finished";
  piece.in = [];
  piece.w = piece.w || [];
  piece.x = piece.x || [];
});
for (const piece of PIECES) if (piece.p !== undefined) PIECES[piece.p].in.push(piece);

const state = { run: null, open: new Set(), more: new Map(), from: 0, to: 1, matches: null };

// Words.

/** A text as it can be seen: control characters and marks that turn the direction of writing by their names. */
function visible(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (mark) => {
    return `⟨U+${mark.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false || value === "") continue;
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === "") continue;
    element.append(child instanceof Node ? child : visible(child));
  }
  return element;
}

const count = (number) => number.toLocaleString("en-US");
const several = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
const money = (text) => Number(text).toLocaleString("en-US", { maximumSignificantDigits: 4 });
const causeWords = (cause) => CAUSES[cause] || cause.replaceAll("_", " ");
const waitWords = (cause) => (["backoff", "throttled"].includes(cause) ? causeWords(cause) : `waits for ${causeWords(cause)}`);
const causeClass = (cause) => `wait ${CAUSES[cause] ? cause : "other"}`;

function time(seconds) {
  if (seconds < 0.0000005) return "0 s";
  if (seconds < 0.0009995) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function nameOf(piece) {
  if (piece.k === "tool" && piece.co) return `${piece.n}: handed to ${piece.co}`;
  return piece.n || KINDS[piece.k] || KINDS.unknown;
}

const waitedIn = (piece) => piece.w.reduce((sum, wait) => sum + wait[2], 0);
const tokensOf = (piece) => (piece.t ? piece.t[0] + piece.t[1] : 0);

// One run.

function showRun(number) {
  const run = DATA.runs[number];
  Object.assign(state, { run, open: new Set(), more: new Map(), from: 0, to: Math.max(run.seconds, 0.001), matches: null });
  state.pieces = PIECES.slice(run.from, run.to);
  const roots = state.pieces.filter((piece) => piece.p === undefined);
  state.top = roots.length === 1 && roots[0].k === "run" ? roots[0].in : roots;
  state.tokens = new Map();
  for (let place = run.to - 1; place >= run.from; place--) {
    const piece = PIECES[place];
    const sum = (state.tokens.get(piece) || 0) + tokensOf(piece);
    state.tokens.set(piece, sum);
    if (piece.p !== undefined) state.tokens.set(PIECES[piece.p], (state.tokens.get(PIECES[piece.p]) || 0) + sum);
  }
  if (state.pieces.length <= 60) for (const piece of state.pieces) if (piece.in.length) state.open.add(piece.i);
  byId("words").value = "";
  byId("only").value = "";
  if (DATA.runs.length > 1) {
    byId("run-choice").value = String(number);
    showRunsTable();
  }
  showHead(run);
  showFigures(run);
  showLegend(run);
  showOverview();
  showRows();
  showTables(run);
  showOutcome(run);
}

const dated = (run) => new Date(run.start * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

function showHead(run) {
  const shown = run.state === "finished" ? "finished" : run.state === "failed" ? "is-failed" : "is-cut";
  const sign = { finished: "✓ ", failed: "✗ " }[run.state] || "… ";
  document.title = `${visible(run.crew || "Run")} · run report · Oarlock`;
  byId("title").replaceChildren(visible(run.crew || "Run"));
  byId("state").className = `chip ${shown}`;
  byId("state").textContent = sign + STATES[run.state];
  const begun = new Date(run.start * 1000);
  const again = run.again.length ? ` · went on ${run.again.map((when) => `after ${time(when)}`).join(", ")}` : "";
  const when = run.start < 253402300800 ? make("time", { datetime: begun.toISOString() }, dated(run)) : "at an unknown time";
  byId("facts").replaceChildren(when, visible(`${again} · run ${run.id} · ${DATA.name}`));
  const notices = DATA.notices.map((notice) => make("p", { class: "notice" }, notice));
  if (run.state === "cut")
    notices.unshift(make("p", { class: "notice" }, "The record of this run has no end: it was cut off, or still goes on. Shown is what was recorded."));
  if (!run.content) notices.push(make("p", { class: "notice" }, "What was said was not recorded, as the recording was told."));
  if (run.error) notices.unshift(make("p", { class: "notice error" }, make("strong", {}, "It failed. "), run.error));
  byId("notices").replaceChildren(...notices);
}

function showFigures(run) {
  const totals = run.totals;
  const figure = (title, value, more) =>
    make("div", {}, make("dt", {}, title), make("dd", {}, value), more ? make("dd", { class: "more" }, more) : null);
  const failed = (number) => (number ? `${count(number)} failed` : "");
  const further = totals.requests - (totals.calls - totals.cached);
  const about = totals.estimated ? "about " : "";
  const figures = [
    figure("Took", time(run.seconds)),
    figure("Tasks", count(totals.tasks), failed(totals.tasks_failed)),
    figure("Model calls", count(totals.calls), [failed(totals.calls_failed), further > 0 ? several(further, "further attempt") : "", totals.cached ? `${count(totals.cached)} cached` : ""].filter(Boolean).join(", ")),
    figure("Tools", count(totals.tools), failed(totals.tools_failed)),
    figure("Tokens", about + count(totals.read + totals.written), `${count(totals.read)} read, ${count(totals.written)} written`),
    totals.cost ? figure("Cost", money(totals.cost), totals.unpriced ? `without ${several(totals.unpriced, "call")} that ${totals.unpriced === 1 ? "has" : "have"} no price` : "in the prices' currency") : null,
    figure("Waited", time(totals.waited), run.waits.length ? `most for ${causeWords(run.waits[0][0])}` : "for nothing"),
    totals.sign_ins ? figure("Sign-ins", count(totals.sign_ins)) : null,
  ];
  byId("figures").replaceChildren(...figures.filter(Boolean));
}

// Tables.

function table(heads, rows) {
  const head = make("tr", {}, heads.map(([text, kind]) => make("th", { scope: "col", class: kind }, text)));
  const body = rows.map((cells) =>
    make("tr", {}, cells.map((cell, place) => make(place ? "td" : "th", { scope: place ? null : "row", class: heads[place][1] }, cell))),
  );
  return make("table", {}, make("thead", {}, head), make("tbody", {}, body));
}

function fill(id, ...content) {
  const box = byId(id).querySelector("div");
  box.replaceChildren(...content);
  if (box.className === "wide") scrolling(box, byId(`${id}-title`).textContent);
}

/** Lets the keyboard reach what has to be scrolled, and only that. */
const scrolls = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const needed = target.scrollWidth > target.clientWidth + 1 || target.scrollHeight > target.clientHeight + 1;
    if (needed) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});

/** A box whose content may be larger than it is, named for those who do not see it. */
function scrolling(element, name) {
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", name);
  scrolls.observe(element);
  return element;
}

const nothing = (words) => make("p", { class: "none" }, words);

function showTables(run) {
  const priced = [...run.agents, ...run.models].some((row) => row.cost);
  const most = (rows) => Math.max(1, ...rows.map((row) => row.read + row.written));
  const usage = (rows, first, tools) => {
    if (!rows.length) return nothing("No model was asked.");
    const heads = [[first, ""], ["Calls", "number"], tools ? ["Tools", "number"] : null, ["Read", "number"], ["Written", "number"], priced ? ["Cost", "number"] : null, ["At work", "number"], ["Waited", "number"]];
    const cells = (row) => {
      const share = make("span", { class: "share" });
      share.style.width = `${(100 * (row.read + row.written)) / most(rows)}%`;
      const calls = row.failed ? [count(row.calls), make("span", { class: "says bad" }, `${count(row.failed)} failed`)] : count(row.calls);
      return [[row.n, share], calls, tools ? count(row.tools) : null, count(row.read), count(row.written), priced ? (row.cost ? money(row.cost) : "no price") : null, time(row.busy), time(row.waited)];
    };
    const kept = heads.map((head) => head !== null);
    return table(heads.filter(Boolean), rows.map((row) => cells(row).filter((_, place) => kept[place])));
  };
  fill("agents", usage(run.agents, "Agent", true));
  fill("models", usage(run.models, "Model", false));
  const waits = run.waits.map(([cause, times, all, longest]) => [
    [make("span", { class: `key ${causeClass(cause)}` }), causeWords(cause)], count(times), time(all), time(longest),
  ]);
  fill("waits", waits.length ? table([["For", ""], ["Times", "number"], ["In all", "number"], ["Longest", "number"]], waits) : nothing("Nothing had to wait."));
  showProblems();
}

function showProblems() {
  const found = state.pieces.filter((piece) => piece.own || (piece.s === "failed" && piece.k === "tool"));
  const link = (piece) => make("button", { type: "button", class: "open", onclick: () => showDetail(piece, found) }, nameOf(piece));
  const rows = found.slice(0, PAGE).map((piece) => [
    [link(piece), make("span", { class: "says" }, `${KINDS[piece.k]} · ${time(piece.b)} after the beginning`)],
    piece.e || "Its result is an error.",
  ]);
  const more = found.length > PAGE ? nothing(`${count(found.length - PAGE)} more: choose “what failed” in the timeline.`) : null;
  const shown = rows.length ? table([["Where", ""], ["What", ""]], rows) : nothing("There were none.");
  fill("problems", shown, ...(more ? [more] : []));
}

function showOutcome(run) {
  byId("outcome").hidden = !run.answer;
  fill("outcome", scrolling(make("pre", { dir: "auto" }, run.answer), "The answer of the run"));
}

// Beginning.

byId("theme").addEventListener("change", (event) => {
  if (event.target.value) document.documentElement.dataset.theme = event.target.value;
  else delete document.documentElement.dataset.theme;
});
byId("made").textContent = visible(`Made by Oarlock ${DATA.version} from ${DATA.name}. All of it is in this file; nothing is loaded from anywhere.`);
