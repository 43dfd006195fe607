// One piece of work, with what was said in it.

const LONG = 6000; // characters of a text that are shown at first
const contents = new Map();

/** What was said in a piece of work; it is read when somebody asks for it. */
function contentOf(place) {
  const block = Math.floor(place / DATA.chunk);
  if (!contents.has(block)) {
    const element = byId(`content-${block}`);
    contents.set(block, element ? JSON.parse(element.textContent) : []);
  }
  return contents.get(block)[place % DATA.chunk] || null;
}

/** All messages of a call: those that it has itself, after those that it goes on from; and how many these are. */
function conversation(place) {
  const chain = [];
  let content = contentOf(place);
  for (let at = place; content; content = at === null ? null : contentOf(at)) {
    chain.push(content);
    const before = content.after ? content.after[0] : null;
    at = before !== null && before < at ? before : null;
  }
  let messages = [];
  for (const one of chain.reverse()) {
    const kept = one.after ? one.after[1] : 0;
    if (kept > messages.length) messages.push({ r: "lost", t: `${several(kept - messages.length, "earlier message")} could not be recorded.` });
    messages = [...messages.slice(0, Math.max(kept, 0)), ...(one.messages || [])];
  }
  const own = chain.length ? chain[chain.length - 1] : {};
  return { messages, earlier: messages.length - (own.messages || []).length, own };
}

const shownDetail = { piece: null, list: [] };

function showDetail(piece, list) {
  Object.assign(shownDetail, { piece, list });
  const at = list.indexOf(piece);
  byId("before").disabled = at <= 0;
  byId("behind").disabled = at < 0 || at >= list.length - 1;
  byId("detail-kind").textContent = KINDS[piece.k] + (piece.a ? visible(` · ${piece.a}`) : "");
  byId("detail-title").replaceChildren(visible(nameOf(piece)));
  byId("detail-body").replaceChildren(facts(piece), ...waitsOf(piece), ...notesOf(piece), ...said(piece));
  if (!byId("detail").open) byId("detail").showModal();
  history.replaceState(null, "", `#piece-${piece.i}`);
  byId("detail").scrollTop = 0;
  byId("detail-title").focus({ preventScroll: true });
}

function facts(piece) {
  const rows = [["State", STATES[piece.s]], ["Began", `${time(piece.b)} after the run's beginning`], ["Took", time(piece.d)]];
  if (piece.at) rows.push(["Attempts", count(piece.at)]);
  if (piece.w.length) rows.push(["Waited", time(waitedIn(piece))]);
  if (piece.q) rows.push(["Purpose", piece.q]);
  if (piece.ca) rows.push(["From a cache", "yes"]);
  if (piece.t) {
    const [read, written, cached, estimated] = piece.t;
    rows.push(["Tokens", `${estimated ? "about " : ""}${count(read)} read${cached ? ` (${count(cached)} of them cached)` : ""}, ${count(written)} written`]);
  } else if (state.tokens.get(piece)) rows.push(["Tokens", `${count(state.tokens.get(piece))} in all that was done in it`]);
  if (piece.c) rows.push(["Cost", money(piece.c)]);
  const list = make("dl", {}, rows.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]).flat());
  return piece.e ? make("div", {}, make("p", { class: "notice error" }, piece.e), list) : list;
}

function waitsOf(piece) {
  if (!piece.w.length) return [];
  const rows = piece.w.map(([cause, from, seconds, why]) => [
    [make("span", { class: `key ${causeClass(cause)}` }), causeWords(cause)], time(from), time(seconds), why || "",
  ]);
  return [make("h3", {}, "Waits"), scrolling(make("div", { class: "wide" }, table([["For", ""], ["From", "number"], ["Took", "number"], ["Because of", ""]], rows)), "Waits")];
}

function notesOf(piece) {
  if (!piece.x.length) return [];
  const items = piece.x.map(([words, when, text]) =>
    make("li", {}, `${time(when)}: ${words}`, text ? make("span", { class: "says" }, text) : null),
  );
  return [make("h3", {}, "What else happened"), make("ul", { class: "notes" }, items)];
}

function said(piece) {
  const content = contentOf(piece.i);
  if (piece.k !== "call") return (content ? content.texts : []).map(([title, text]) => [make("h3", {}, title), block(text, title)]).flat();
  const { messages, earlier, own } = conversation(piece.i);
  const shown = [];
  if (messages.length) shown.push(make("h3", {}, `${several(messages.length, "message")} to the model`));
  if (earlier > 0) shown.push(make("details", {}, make("summary", {}, `${several(earlier, "message")} that an earlier call had, too`), messages.slice(0, earlier).map(message)));
  shown.push(...messages.slice(Math.max(0, earlier)).map(message));
  if (own.tools) shown.push(make("p", { class: "says" }, `Tools on offer: ${own.tools.join(", ")}`));
  if (own.answer) shown.push(make("h3", {}, "The answer"), message(own.answer));
  return shown;
}

function message(one) {
  const calls = (one.c || []).map(([name, text]) => make("div", {}, make("p", { class: "says" }, `asks for the tool ${name}`), text ? block(text, `Arguments of ${name}`) : null));
  const who = { system: "System", developer: "Developer", user: "User", assistant: "Model", tool: "Tool", lost: "Missing" }[one.r] || one.r;
  const role = ["system", "developer", "user", "assistant", "tool"].includes(one.r) ? one.r : "";
  return make("div", { class: `message ${role}` }, make("h4", {}, who, one.n ? make("span", {}, ` ${one.n}`) : null), one.t ? block(one.t, who) : null, calls);
}

function block(text, title) {
  const shown = scrolling(make("pre", { dir: "auto" }, text.slice(0, LONG)), title);
  if (text.length <= LONG) return shown;
  const showAll = () => {
    shown.replaceChildren(visible(text));
    shown.tabIndex = 0;
    shown.focus();
    all.remove();
  };
  const all = make("button", { type: "button", onclick: showAll }, `Show all ${count(text.length)} characters`);
  return make("div", {}, shown, all);
}

const step = (by) => () => {
  const next = shownDetail.list[shownDetail.list.indexOf(shownDetail.piece) + by];
  if (next) showDetail(next, shownDetail.list);
};
byId("before").addEventListener("click", step(-1));
byId("behind").addEventListener("click", step(1));
byId("close").addEventListener("click", () => byId("detail").close());
byId("detail").addEventListener("click", (event) => {
  if (event.target === byId("detail")) byId("detail").close(); // beside it
});

byId("detail").addEventListener("close", () => {
  history.replaceState(null, "", location.pathname);
  const row = byId("rows").querySelector(`[data-open="${shownDetail.piece.i}"]`); // may be another than it was opened from
  if (row) row.focus();
});

showChoice();
if (DATA.runs.length) {
  const asked = PIECES[(location.hash.match(/^#piece-(\d{1,9})$/) || [])[1]];
  const run = asked ? DATA.runs.findIndex((one) => asked.i >= one.from && asked.i < one.to) : DATA.runs.length - 1;
  showRun(run);
  if (asked) showDetail(asked, state.pieces);
}
