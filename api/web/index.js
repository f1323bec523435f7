// The page of what runs: asks the API every few seconds and shows what it says, also when it says nothing.
"use strict";

const EVERY_MS = 5000;
const PATIENCE_MS = 4500;
const byId = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (className) made.className = className;
  return made;
}

const known = (value, digits) =>
  value === null || value === undefined ? "–" : digits === undefined ? String(value) : value.toFixed(digits);

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  for (const [unit, size] of units) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}

function row(cells) {
  const made = element("tr");
  for (const cell of cells) made.append(cell);
  return made;
}

function badge(word, mood) {
  const cell = element("td");
  cell.append(element("span", word, `badge ${mood}`));
  return cell;
}

function processRow(process) {
  const running = process.state === "RUNNING";
  const wished = process.desired === "stopped" && process.state === "STOPPED";
  const name = element("td", process.name);
  if (!running && process.explanation) name.append(element("small", process.explanation));
  const full = process.memory_mb !== null && process.memory_mb > 0.7 * process.ceiling_mb;
  return row([
    name,
    badge(process.state.toLowerCase(), running ? "good" : wished ? "dim" : "bad"),
    element("td", known(process.pid), "number"),
    element("td", duration(process.uptime_s), "number"),
    element("td", known(process.restarts), process.restarts ? "number warn" : "number"),
    element("td", known(process.memory_mb, 1), full ? "number warn" : "number"),
    element("td", known(process.ceiling_mb), "number"),
    element("td", known(process.heartbeat_age_s, 1), "number"),
    element("td", known(process.last_work)),
  ]);
}

function checkRow(check) {
  return row([element("td", check.name), badge(check.state, check.ok ? "good" : "bad"), element("td", check.detail)]);
}

function noticeRow(notice) {
  const mood = { info: "dim", warning: "warn", critical: "bad" }[notice.level];
  const at = element("td");
  const time = element("time", new Date(notice.at).toLocaleString());
  time.dateTime = notice.at;
  at.append(time);
  return row([at, badge(notice.level, mood), element("td", notice.subject), element("td", notice.text)]);
}

function showFacts(status) {
  const running = { true: "yes", false: "no", null: "unknown" }[String(status.isRunning)];
  const facts = [
    ["Working", running],
    ["For", status.uptime === null ? "–" : duration(status.uptime * 3600)],
    ["Processor", status.cpu_usage === null ? "–" : `${status.cpu_usage.toFixed(0)} %`],
    ["Memory of the machine", status.memory_usage === null ? "–" : `${status.memory_usage.toFixed(0)} %`],
    ["Memory of the fleet", fleetMemory(status.processes)],
    ["Version", status.version],
  ];
  byId("facts").replaceChildren(
    ...facts.map(([name, value]) => {
      const fact = element("div");
      fact.append(element("dt", name), element("dd", value));
      return fact;
    }),
  );
}

function fleetMemory(processes) {
  const sizes = processes.map((process) => process.memory_mb).filter((size) => size !== null);
  return sizes.length ? `${sizes.reduce((sum, size) => sum + size, 0).toFixed(0)} MB` : "–";
}

function showProblems(problems) {
  const box = byId("problems");
  const text = problems.join("\n");
  if (box.dataset.text === text) return; // an alert that is written again is read out again
  box.dataset.text = text;
  box.hidden = problems.length === 0;
  box.replaceChildren(...problems.map((problem) => element("p", problem)));
}

function showReady(word, mood) {
  byId("ready").textContent = word;
  byId("ready").className = `badge ${mood}`;
}

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
  return answer.json();
}

async function refresh() {
  try {
    const [status, health, notices] = await Promise.all([
      ask("/api/system/status"),
      ask("/health/ready"),
      ask("/api/system/notices?limit=20"),
    ]);
    const ready = health.data.status === "ready";
    showReady(ready ? "ready" : "not ready", ready ? "good" : "bad");
    const away = health.data.checks.filter((check) => !check.ok).map((check) => `${check.name}: ${check.detail}`);
    showProblems(away);
    showFacts(status.data);
    byId("processes").replaceChildren(...status.data.processes.map(processRow));
    byId("no-processes").hidden = status.data.processes.length > 0;
    byId("checks").replaceChildren(...health.data.checks.map(checkRow));
    byId("notices").replaceChildren(...(notices.data ? notices.data.notices : []).map(noticeRow));
    byId("no-notices").hidden = !notices.data || notices.data.notices.length > 0;
    document.body.classList.remove("stale");
    byId("asked").textContent = `Asked at ${new Date().toLocaleTimeString()}, again every ${EVERY_MS / 1000} s.`;
  } catch (error) {
    showReady("no answer", "bad");
    showProblems([`The API does not answer (${error.message}). What is shown below is old. It is asked again every ${EVERY_MS / 1000} s.`]);
    document.body.classList.add("stale");
  }
}

async function refreshForever() {
  await refresh();
  setTimeout(refreshForever, EVERY_MS);
}

refreshForever();
