/** What the charts show: the gateway's counters, looked at again and again, as values over time. */

import { get } from "./api.js";

const KEPT_MS = 600_000;
const ERRORS_OVER_MS = 60_000;
/** What counts as an error: splits of /v1/stats, with how the page calls them. */
export const ERRORS = [
  ["refused", "sockets closed for an error"],
  ["rejected_requests", "connections not let in"],
  ["failed_relays", "messages not relayed"],
  ["failed_polls", "failed polls"],
];

const looks = [];
const samples = [];
const listeners = new Set();

/** Call with every new sample: the list of them (the oldest first), the latest status and statistics. */
export const onSample = (listener) => listeners.add(listener);

/** Look at the counters once. */
export async function look() {
  const [status, stats] = await Promise.all([get("v1/status"), get("v1/stats")]);
  const now = lookOf(status, stats);
  const before = looks.at(-1);
  if (before && (now.at <= before.at || isEarlierThan(stats, before.stats))) looks.length = 0; // another process
  looks.push(now);
  samples.push(sampleOf(looks, now));
  while (looks[0].at < now.at - ERRORS_OVER_MS - 10_000) looks.shift();
  while (samples[0].at < now.at - KEPT_MS) samples.shift();
  for (const listener of listeners) listener(samples, status, stats);
  return { status, stats };
}

const isEarlierThan = (stats, before) => Object.keys(before.counters).some((name) => stats.counters[name] < before.counters[name]);

const lookOf = (status, stats) => ({ at: Date.parse(stats.at), status, stats });

/** The values at the last of these looks, by what has changed since those before. */
export function sampleOf(all, now) {
  const before = all.at(-2);
  const seconds = before && (now.at - before.at) / 1000;
  const perSecond = (name) => (before ? (now.stats.counters[name] - before.stats.counters[name]) / seconds : null);
  const minuteAgo = all.find(({ at }) => at >= now.at - ERRORS_OVER_MS);
  const sample = {
    at: now.at,
    sessions: now.status.sessions,
    connections: now.status.connections,
    up: perSecond("relayed"),
    down: perSecond("delivered"),
  };
  for (const [name] of ERRORS) sample[name] = before ? total(now.stats, name) - total(minuteAgo.stats, name) : null;
  for (const hop of now.stats.hops) sample[hop.name] = before ? meanSince(before.stats, hop) : null;
  return sample;
}

/** All of a split counter. */
export const total = (stats, name) => Object.values(stats.by[name] ?? {}).reduce((sum, each) => sum + each, 0);

function meanSince(stats, hop) {
  const before = stats.hops.find(({ name }) => name === hop.name);
  const times = hop.count - (before?.count ?? 0);
  return times > 0 ? (hop.sum_s - (before?.sum_s ?? 0)) / times : null;
}
