// All runs of a file with several.

const TOO_MANY = 500; // runs in a list to choose from: with more, the table is the better place

function showChoice() {
  const isBatch = DATA.runs.length > 1;
  byId("runs").hidden = !isBatch;
  byId("run-box").hidden = !isBatch || DATA.runs.length > TOO_MANY;
  if (!isBatch) return;
  byId("runs").open = DATA.runs.length <= 10;
  if (DATA.runs.length <= TOO_MANY) byId("run-choice").replaceChildren(...DATA.runs.map(option));
  const states = {};
  for (const run of DATA.runs) states[run.state] = (states[run.state] || 0) + 1;
  const words = Object.entries(states).map(([name, number]) => `${count(number)} ${STATES[name]}`);
  const tokens = DATA.runs.reduce((sum, run) => sum + run.totals.read + run.totals.written, 0);
  byId("runs-words").textContent = `${count(DATA.runs.length)} runs in this file: ${words.join(", ")}; ${count(tokens)} tokens`;
  showRunsTable();
}

function option(run, number) {
  return make("option", { value: String(number) }, `${number + 1}. ${run.crew || "Run"} · ${dated(run)} · ${STATES[run.state]}`);
}

const tokensOfRun = (run) => run.totals.read + run.totals.written;
const ORDERS = {
  failed: (runs) => runs.filter((run) => run.state !== "finished"),
  longest: (runs) => [...runs].sort((one, other) => other.seconds - one.seconds),
  dearest: (runs) => [...runs].sort((one, other) => tokensOfRun(other) - tokensOfRun(one)),
};

function showRunsTable(most = PAGE) {
  const order = ORDERS[byId("runs-only").value];
  const found = order ? order(DATA.runs) : DATA.runs;
  const priced = DATA.runs.some((run) => run.totals.cost);
  const heads = [["Run", ""], ["State", ""], ["Began", ""], ["Took", "number"], ["Calls", "number"], ["Tokens", "number"]];
  if (priced) heads.push(["Cost", "number"]);
  const box = table(heads, found.slice(0, most).map((run) => runCells(run, priced)));
  [...box.tBodies[0].rows].forEach((row, place) => found[place] === state.run && row.setAttribute("aria-current", "true"));
  const more = () => {
    showRunsTable(most + PAGE);
    byId("runs").querySelectorAll("tbody [data-run]")[most].focus();
  };
  const left = found.length - most;
  const button = left > 0 ? [make("button", { type: "button", onclick: more }, `Show ${count(Math.min(PAGE, left))} more of ${count(left)}`)] : [];
  byId("runs").querySelector(".wide").replaceChildren(found.length ? box : nothing("There are none."), ...button);
  scrolling(byId("runs").querySelector(".wide"), "Runs");
}

function runCells(run, priced) {
  const number = DATA.runs.indexOf(run);
  const choose = () => {
    showRun(number);
    byId("title").focus();
  };
  const button = make("button", { type: "button", class: "open", "data-run": number, onclick: choose }, `${number + 1}. ${run.crew || "Run"}`);
  const error = run.error ? make("span", { class: "says" }, run.error.slice(0, 160)) : null;
  const mark = { finished: "mark finished", failed: "mark bad" }[run.state] || "mark warn";
  const cells = [[button, error], make("span", { class: mark }, STATES[run.state]), dated(run), time(run.seconds), count(run.totals.calls), count(tokensOfRun(run))];
  if (priced) cells.push(run.totals.cost ? money(run.totals.cost) : "");
  return cells;
}

byId("runs-only").addEventListener("change", () => showRunsTable());
byId("run-choice").addEventListener("change", (event) => showRun(Number(event.target.value)));
