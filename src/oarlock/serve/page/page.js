"use strict";
// Everything that comes from runs is shown as text, never as HTML: there is no innerHTML here, and the page's policy forbids it.

const POLL = 1500; // milliseconds between looks at the list of runs
const byId = (id) => document.getElementById(id);
const state = { key: "", chosen: null, following: null, steps: new Map(), asked: "", crews: [] };

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (state.key) headers.authorization = `Bearer ${state.key}`;
  if (options.body) headers["content-type"] = "application/json";
  return fetch(`.${path}`, { ...options, headers, credentials: "omit" }); // wherever the server is mounted
}

async function json(path, options) {
  const response = await ask(path, options);
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.error.message), { status: response.status });
  return body;
}

const post = (path, body) => json(path, { method: "POST", body: JSON.stringify(body) });
const seconds = (number) => (number < 10 ? number.toFixed(1) : Math.round(number)) + " s";
const tokens = (usage) => `${(usage ? usage.total_tokens : 0).toLocaleString()} tokens`;
const short = (id) => (id.length > 16 ? id.slice(0, 8) + "…" : id);
const clock = (time) => new Date(time * 1000).toLocaleTimeString();

// The list.

async function refresh() {
  try {
    const runs = (await json("/runs?limit=200")).data;
    byId("sign-in").hidden = true;
    byId("main").hidden = false;
    showList(runs);
    const chosen = runs.find((run) => run.id === state.chosen);
    if (chosen) showFacts(chosen);
    setTimeout(refresh, POLL);
  } catch (error) {
    if (error.status === 401) signIn(state.key ? error.message : "");
    else {
      say("totals", "The server does not answer; trying again.");
      setTimeout(refresh, 3 * POLL);
    }
  }
}

function say(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

function signIn(problem) {
  byId("main").hidden = true;
  byId("sign-in").hidden = false;
  say("totals", "This server asks for a key.");
  say("refused", problem);
  byId("key").focus();
}

function showList(runs) {
  const counts = {};
  for (const run of runs) counts[run.status] = (counts[run.status] || 0) + 1;
  const words = Object.entries(counts).map(([status, count]) => `${count} ${status}`);
  say("totals", words.join(", ") || "None yet.");
  const list = byId("list");
  const known = new Map([...list.children].map((item) => [item.dataset.run, item]));
  runs.forEach((run, place) => {
    let item = known.get(run.id);
    if (!item) {
      item = make("li", {}, make("button", { type: "button", onclick: () => choose(run.id) }));
      item.dataset.run = run.id;
    }
    known.delete(run.id);
    const button = item.firstChild;
    const shown = `${run.crew}|${run.status}|${run.usage.total_tokens}`;
    if (button.dataset.shown !== shown) {
      button.dataset.shown = shown;
      button.replaceChildren(
        make("span", {}, run.crew, " "),
        make("span", { class: `status ${run.status}` }, run.status),
        make("small", {}, `${clock(run.created)} · ${tokens(run.usage)} · ${short(run.id)}`),
      );
    }
    button.setAttribute("aria-current", run.id === state.chosen);
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] || null);
  });
  for (const item of known.values()) item.remove();
}

// One run.

function choose(id) {
  state.chosen = id;
  state.steps = new Map();
  state.asked = "";
  if (state.following) state.following.abort();
  for (const part of ["steps", "questions", "outcome"]) byId(part).replaceChildren();
  say("run-title", `Run ${short(id)}`);
  byId("steps-title").hidden = false;
  for (const button of document.querySelectorAll("#list button"))
    button.setAttribute("aria-current", button.parentNode.dataset.run === id);
  byId("run-title").focus({ preventScroll: true });
  follow(id);
  json(`/runs/${id}`).then(showFacts, () => {});
}

function showFacts(run) {
  if (run.id !== state.chosen) return;
  const took = (run.ended || Date.now() / 1000) - run.created;
  const facts = byId("run-facts");
  facts.replaceChildren(
    `Crew ${run.crew}: `,
    make("span", { class: `status ${run.status}` }, run.status),
    ` · ${seconds(Math.max(0, took))} · ${tokens(run.usage)} · ${run.id}`,
  );
  byId("cancel").hidden = run.ended !== null;
  showQuestions(run);
  if (run.ended !== null && !byId("outcome").childElementCount) showOutcome(run);
}

async function showOutcome(run) {
  if (run.result === undefined) run = await json(`/runs/${run.id}`);
  if (run.id !== state.chosen || byId("outcome").childElementCount) return;
  const words = run.result ? run.result.answer : run.error.message;
  byId("outcome").append(make("h3", {}, run.result ? "The answer" : "Why it ended"), make("pre", { tabindex: "0" }, words));
}

function showQuestions(run) {
  const asked = run.questions.map((question) => question.id).join();
  if (asked === state.asked) return; // leave what somebody is writing
  state.asked = asked;
  byId("questions").replaceChildren(...run.questions.map((question) => questionForm(run, question)));
}

function questionForm(run, question) {
  const approval = question.kind === "approval";
  const text = make("textarea", { id: `text-${question.id}`, rows: "3" });
  const problem = make("p", { role: "alert" });
  const send = (answer) => async (event) => {
    event.preventDefault();
    try {
      showFacts(await post(`/runs/${run.id}/answers`, { question: question.id, ...answer() }));
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  const about = approval ? `${question.tool}(${JSON.stringify(question.arguments, null, 2)})` : question.answer;
  const says = approval ? `${question.agent} wants to use the tool ${question.tool}` : `${question.agent} has answered`;
  const buttons = approval
    ? [
        make("button", { type: "button", class: "main", onclick: send(() => ({ approve: true })) }, "Allow"),
        make("button", { type: "button", onclick: send(() => ({ approve: false, answer: text.value })) }, "Refuse"),
      ]
    : [
        make("button", { type: "button", class: "main", onclick: send(() => ({ answer: "" })) }, "Accept"),
        make("button", { type: "button", onclick: send(() => ({ answer: text.value })) }, "Send back"),
      ];
  const label = make("label", { for: text.id }, approval ? "Why not, if you refuse" : "What to change");
  return make("div", { class: "question" }, make("p", {}, says), make("pre", { tabindex: "0" }, about), label, text, ...buttons, problem);
}

// Its events.

async function follow(id) {
  const aborter = (state.following = new AbortController());
  let last = "0";
  while (state.chosen === id && !aborter.signal.aborted) {
    try {
      const response = await ask(`/runs/${id}/events`, { headers: { "last-event-id": last }, signal: aborter.signal });
      if (!response.ok) return;
      for await (const event of eventsOf(response.body)) {
        if (event.id) last = event.id;
        show(event.data);
        if (event.data.event === "RunFinished" || event.data.event === "RunFailed") return;
      }
      const run = await json(`/runs/${id}`);
      if (run.ended !== null) return;
    } catch (error) {
      if (error.name === "AbortError") return;
    }
    await new Promise((done) => setTimeout(done, POLL));
  }
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const event = {};
      for (const line of text.slice(0, end).split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 2);
      }
      text = text.slice(end + 2);
      if (event.data) yield { id: event.id, data: JSON.parse(event.data) };
    }
  }
}

function step(id, kind) {
  let item = state.steps.get(id);
  if (!item) {
    item = make("li", { class: kind }, make("span"), make("div"));
    state.steps.set(id, item);
    byId("steps").append(item);
  }
  return item;
}

function write(id, kind, words, content, name) {
  const item = step(id, kind);
  item.firstChild.textContent = words;
  if (content) {
    const box = item.lastChild;
    const old = [...box.children].find((one) => one.dataset.name === name);
    const pre = make("pre", { tabindex: "0" }, content);
    if (old) old.replaceChild(pre, old.lastChild);
    else {
      const details = make("details", {}, make("summary", {}, name), pre);
      details.dataset.name = name;
      box.append(details);
    }
  }
  return item;
}

const bad = (item) => item.classList.add("bad");
const SHOWN = {
  TaskStarted: (e) => write(e.span_id, "task", `${e.task || "Task"} — ${e.agent}: at work`, e.description, "Task"),
  TaskFinished: (e) =>
    write(e.span_id, "task", `${e.task || "Task"} — ${e.agent}: done in ${seconds(e.seconds)}, ${tokens(e.usage)}`, e.answer, "Answer"),
  TaskFailed: (e) => bad(write(e.span_id, "task", `${e.task || "Task"} — ${e.agent}: failed`, e.error.message, "Why")),
  TaskSkipped: (e) => write(`skip-${e.number}`, "task", `${e.task || "Task"}: skipped`),
  CallStarted: (e) => write(e.span_id, "call", `Asking ${e.model}…`),
  ModelDelta: (e) => {
    const item = step(e.span_id, "call");
    item.text = e.attempt === item.attempt ? (item.text || "") + (e.text || "") : e.text || "";
    item.attempt = e.attempt;
    if (item.text) write(e.span_id, "call", item.firstChild.textContent, item.text, "Answer");
  },
  CallFinished: (e) => {
    const calls = (e.reply.tool_calls || []).map((call) => call.name).join(", ");
    const then = calls ? `: wants ${calls}` : "";
    const waited = e.waited ? `, ${seconds(e.waited)} of it waiting` : "";
    write(e.span_id, "call", `${e.model} answered in ${seconds(e.seconds)}${waited}, ${tokens(e.reply.usage)}${then}`, e.reply.text, "Answer");
  },
  CallFailed: (e) => bad(write(e.span_id, "call", `${e.model} failed after ${seconds(e.seconds)}`, e.error.message, "Why")),
  ToolStarted: (e) => write(e.span_id, "tool", `Tool ${e.tool}…`, JSON.stringify(e.arguments, null, 2), "Arguments"),
  ToolFinished: (e) => {
    const item = write(e.span_id, "tool", `Tool ${e.tool}: ${e.failed ? "failed" : "done"} in ${seconds(e.seconds)}`, e.answer, "Result");
    if (e.failed) bad(item);
  },
  Waiting: (e) =>
    write(`wait-${e.span_id}-${e.time}`, "wait", `Waiting for ${e.cause.replaceAll("_", " ")}${e.seconds ? `, about ${seconds(e.seconds)}` : ""}`),
  Delegated: (e) => write(`delegated-${e.span_id}`, "tool", `Handed over to ${e.coworker}`, e.work, "Work"),
  AnswerRejected: (e) => write(`rejected-${e.span_id}-${e.time}`, "wait", `Sent back by ${e.by}`, e.reason, "Why"),
  EventsMissed: (e) => write(`missed-${e.count}`, "wait", `${e.count} earlier events are no longer kept`),
};

function show(event) {
  if (SHOWN[event.event]) SHOWN[event.event](event);
}

// Beginning a run.

async function showCrews() {
  state.crews = (await json("/crews")).data;
  byId("begin").hidden = state.crews.length === 0;
  byId("crew").replaceChildren(...state.crews.map((crew) => make("option", { value: crew.id }, crew.id)));
  showInputs();
}

function showInputs() {
  const crew = state.crews.find((one) => one.id === byId("crew").value);
  const fields = (crew ? crew.inputs : []).flatMap((name, number) => [
    make("label", { for: `input-${number}` }, name),
    make("input", { id: `input-${number}`, name, autocomplete: "off", required: "" }),
  ]);
  byId("inputs").replaceChildren(...fields);
}

async function begin(event) {
  event.preventDefault();
  const inputs = {};
  for (const field of byId("inputs").querySelectorAll("input")) inputs[field.name] = field.value;
  try {
    const run = await post(`/crews/${encodeURIComponent(byId("crew").value)}/runs`, { inputs });
    say("not-begun", "");
    choose(run.id);
  } catch (error) {
    say("not-begun", error.message);
  }
}

byId("crew").addEventListener("change", showInputs);
byId("begin").addEventListener("submit", begin);
byId("cancel").addEventListener("click", () => post(`/runs/${state.chosen}/cancel`, {}).then(showFacts, () => {}));
byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = byId("key").value.trim();
  byId("key").value = "";
  start();
});

function start() {
  showCrews().catch(() => {});
  refresh();
}

const chosen = decodeURIComponent(location.hash.slice(1));
start();
if (/^[\w.-]{1,64}$/.test(chosen) && chosen !== "run-title") choose(chosen);
