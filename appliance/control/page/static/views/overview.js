/** The gateway at a glance. */

import { get, put as set, send } from "../api.js";
import { Charts, chooseSpan, HOPS, spanIn } from "../charts.js";
import { meaningOf } from "../close_codes.js";
import { badge, byId, make, put, say, showFacts } from "../dom.js";
import { count, duration, many, moment, rate } from "../format.js";
import { linesInWords, notify, showProblem } from "../notices.js";
import { ERRORS, KeptSamples, LIVE, onSample } from "../samples.js";
import { Table } from "../table.js";

const NAMES = {
  ...HOPS,
  reply_verification: "verifying a reply",
  frame_verification: "verifying a client's message",
};
/** Of the table only: nothing was lost for a client by them. */
const MORE_ERRORS = [
  ["unverified", "would be refused"],
  ["failed_farewells", "canisters not told"],
];
const nameOf = (hop) => NAMES[hop] ?? hop.replaceAll("_", " ");

const charts = new Charts("chart", { connections: "connected" });
const spanChoice = byId("span");
let longer = null; // samples of a longer span than the live one

chooseSpan(spanChoice, () => "#overview");

const tables = {
  hops: new Table("hops", {
    key: (hop) => hop.name,
    head: "name",
    show: {
      name: (hop) => nameOf(hop.name),
      count: (hop) => count(hop.count, true),
      p50_s: (hop) => duration(hop.p50_s),
      p90_s: (hop) => duration(hop.p90_s),
      p99_s: (hop) => duration(hop.p99_s),
    },
  }),
  reasons: new Table("reasons", {
    key: (row) => `${row.what} ${row.reason}`,
    show: {
      what: (row) => row.what,
      reason: (row) => row.reason.replaceAll("_", " "),
      count: (row) => count(row.count, true),
    },
  }),
  closes: new Table("closes", {
    key: (row) => row.code,
    head: "code",
    show: {
      code: (row) => row.code,
      meaning: (row) => meaningOf(Number(row.code)),
      count: (row) => count(row.count, true),
    },
  }),
  checks: new Table("checks", {
    key: (check) => check.name,
    head: "name",
    show: {
      name: (check) => check.name.replaceAll("_", " "),
      ok: (check) => (check.ok ? badge("fine", "good") : badge("failing", "bad")),
      detail: (check) => check.detail,
    },
  }),
};

function rowsOf(stats) {
  const kinds = [...ERRORS.slice(1), ["refused", "sockets closed for an error"], ...MORE_ERRORS];
  return kinds
    .flatMap(([split, what]) =>
      Object.entries(stats.by[split] ?? {}).map(([reason, number]) => ({ what, reason, count: number })),
    )
    .filter((row) => row.count)
    .sort((one, other) => other.count - one.count);
}

const closesOf = (stats) =>
  Object.entries(stats.by.closed ?? {})
    .map(([code, number]) => ({ code, count: number }))
    .sort((one, other) => other.count - one.count);

onSample((samples, status, stats) => {
  if (byId("overview").hidden) return;
  if (!longer) charts.update(samples);
  showTiles(samples.at(-1), status, stats);
  tables.hops.update(stats.hops);
  tables.reasons.update(rowsOf(stats));
  tables.closes.update(closesOf(stats));
  showAbout(status);
});

function showTiles(sample, status, stats) {
  const perSecond = (value) => [rate(value), make("small", {}, " /s")];
  const errors = ERRORS.reduce((sum, [name]) => sum + (sample[name] ?? 0), 0);
  tile("sessions", [count(status.sessions)], many(status.connections, "connection"));
  tile("up", perSecond(sample.up), messages(stats.counters.relayed));
  tile("down", perSecond(sample.down), messages(stats.counters.delivered));
  tile("errors", [count(errors)], "in the last minute");
  tile(
    "canisters",
    [count(status.canisters)],
    status.departing ? `${many(status.departing, "client")} still to report` : "listed",
  );
  tile("lag", [duration(stats.loop_lag_s)], "at the last look");
}

const messages = (number) => `${count(number, true)} so far`;

function tile(name, figure, note) {
  put(byId(`tile-${name}`), ...figure);
  say(byId(`tile-${name}-note`), note);
}

let identity = null;

function showAbout(status) {
  showFacts(byId("about"), [
    ["Principal of the gateway", make("code", {}, status.gateway_principal), " ", copyButton(status.gateway_principal)],
    ["Key", identity?.key_file],
    ["Clients connect to", ...status.urls.flatMap((url) => [make("code", {}, url), make("br")])],
    ["Running for", duration(status.uptime_s)],
    ["Started", moment(status.started_at)],
    ["Version", status.version],
    ["Configuration", `revision ${status.generation}`, status.differs_from_file ? ", differs from the file" : ""],
    ["File", status.config_file],
    ["Last reload", ...reloadOf(status.last_reload)],
    ["Problems", status.problems.join("; ")],
  ]);
}

const copyButton = (text) =>
  make(
    "button",
    { type: "button", class: "quiet small", "data-copy": text, "aria-label": "Copy the principal" },
    "Copy",
  );

function reloadOf(reload) {
  const mood = { applied: "good", confirmed: "good", rejected: "bad", "rolled back": "warn" }[reload.result];
  return [
    badge(reload.result, mood ?? ""),
    ` ${moment(reload.at)} by ${reload.actor} (${reload.trigger})`,
    reload.problem ? `: ${linesInWords(reload.problem)}` : "",
  ];
}

const logForm = byId("log-form");
let isChosen = false; // a level that is not sent yet
let levelLooks = 0;

logForm.addEventListener("change", () => {
  isChosen = true;
});
logForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  const alert = logForm.querySelector(".alert");
  isChosen = false;
  try {
    const { level } = await set("v1/log", { level: logForm.elements.level.value });
    showProblem(alert, null);
    notify(`The log has ${level} and above now`);
  } catch (error) {
    isChosen = true;
    showProblem(alert, error);
  }
});

export async function enter({ query }) {
  const span = spanIn(query, spanChoice);
  longer = span === LIVE ? null : new KeptSamples({ span });
  await Promise.all([showLogLevel(), learnIdentity()]);
}

export function leave() {
  isChosen = false;
}

async function learnIdentity() {
  identity ??= await get("v1/identity").catch(() => null);
}

/** Nobody can choose before the level is known: the answer would replace what is chosen meanwhile. */
async function showLogLevel() {
  if (isChosen) return;
  const { level } = logForm.elements;
  levelLooks += 1;
  const mine = levelLooks;
  level.disabled = true;
  const log = await get("v1/log").catch(() => null);
  if (mine !== levelLooks) return; // the view was entered again, and waits for an answer of its own
  if (log) level.value = log.level;
  level.disabled = false;
}

async function showLonger() {
  const asked = longer;
  const samples = await asked?.look();
  if (samples && asked === longer) charts.update(samples);
}

export async function refresh() {
  await showLonger();
  const response = await send("GET", "readyz", { query: { verbose: "true" } });
  const { checks } = await response.json();
  tables.checks.update(checks ?? []);
}
