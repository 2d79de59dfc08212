/** The gateway at a glance. */

import { get, put as set, send } from "../api.js";
import { Chart } from "../chart.js";
import { badge, byId, make, put, say, showFacts } from "../dom.js";
import { count, duration, many, moment, rate } from "../format.js";
import { notify, showProblem } from "../notices.js";
import { ERRORS, onSample } from "../samples.js";
import { Table } from "../table.js";

const HOPS = {
  client_to_gateway: "client to gateway",
  gateway_to_ic: "gateway to IC",
  canister_to_polled: "canister to gateway",
  polled_to_written: "gateway to client",
  reply_verification: "verifying a reply",
  frame_verification: "verifying a client's message",
};
const CHARTED = ["client_to_gateway", "gateway_to_ic", "canister_to_polled", "polled_to_written"];
const nameOf = (hop) => HOPS[hop] ?? hop.replaceAll("_", " ");

const charts = [
  new Chart("chart-sessions", {
    series: [
      { name: "sessions", label: "open", area: true },
      { name: "connections", label: "connected", thin: true },
    ],
    format: (value) => count(value, true),
    least: 1,
    idle: 4,
  }),
  new Chart("chart-messages", {
    series: [
      { name: "up", label: "to canisters" },
      { name: "down", label: "to clients" },
    ],
    format: rate,
    idle: 4,
  }),
  new Chart("chart-latency", {
    series: CHARTED.map((name) => ({ name, label: nameOf(name) })),
    format: duration,
    idle: 0.1,
  }),
  new Chart("chart-errors", {
    series: ERRORS.map(([name, label]) => ({ name, label })),
    format: (value) => count(value, true),
    least: 1,
    idle: 4,
  }),
];

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

/** By the ranges of our close codes and of RFC 6455. */
function meaningOf(code) {
  if (code === 1000 || code === 1001) return "the client left";
  if (code === 1006) return "the connection broke";
  if (code === 1012) return "come back: the gateway stops";
  if (code === 1013) return "come back later";
  if (code >= 4500) return "do not come back as you are";
  if (code >= 4000) return "come back";
  return "not as the protocol has it";
}

function rowsOf(stats) {
  const kinds = [...ERRORS, ["doubted", "would be refused"], ["failed_farewells", "canisters not told"]];
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
  for (const chart of charts) chart.update(samples);
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
    reload.problem ? `: ${reload.problem}` : "",
  ];
}

byId("log-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const alert = form.querySelector(".alert");
  try {
    const { level } = await set("v1/log", { level: form.elements.level.value });
    showProblem(alert, null);
    notify(`The log has ${level} and above now`);
  } catch (error) {
    showProblem(alert, error);
  }
});

export async function enter() {
  identity ??= await get("v1/identity").catch(() => null);
  const log = await get("v1/log").catch(() => null);
  if (log) byId("log-form").elements.level.value = log.level;
}

export async function refresh() {
  const response = await send("GET", "readyz", { query: { verbose: "true" } });
  const { checks } = await response.json();
  tables.checks.update(checks ?? []);
}
