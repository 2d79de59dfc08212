/** The values of the charts, from samples of the gateway's counters over time. */

import { get } from "./api.js";

/** What charts may show, in milliseconds by the API's words for it. */
export const SPANS = { "10m": 600_000, "1h": 3_600_000, "6h": 21_600_000, "24h": 86_400_000 };
/** The one that this page takes samples of itself, between those of the gateway. */
export const LIVE = "10m";
const ERRORS_OVER_MS = 60_000;
const MEAN_OVER_MS = 10_000;
const AWAY_MS = 10_000;
const APART_MS = 1000; // samples closer together are too noisy for a rate
/** What counts as an error: counters of the API that are split by reason, with how the page calls them. */
export const ERRORS = [
  ["refused", "sockets closed for another error"],
  ["rejected_requests", "connections not let in"],
  ["failed_relays", "messages not relayed"],
  ["failed_polls", "failed polls"],
];

let looks = [];
const listeners = new Set();

/** Call `listener` after every sample, with all samples (the oldest first), the latest status and the latest statistics. */
export const onSample = (listener) => listeners.add(listener);

/** Take one sample of the counters. */
export async function look() {
  const [status, stats] = await Promise.all([get("v1/status"), get("v1/stats")]);
  const now = lookOf(status, stats);
  if (!looks.length || now.at - looks.at(-1).at > AWAY_MS) await loadHistory(now.at);
  if (isNext(looks.at(-1), now)) looks = follow(looks, now);
  const samples = samplesOf(looks);
  for (const listener of listeners) listener(samples, status, stats);
}

/** Whether a sample is far enough from the last one. One of before it is of a clock that was set back. */
export const isNext = (last, now) => !last || now.at < last.at || now.at - last.at >= APART_MS;

/** Fill the time in which this page took no samples with those that the gateway kept. */
async function loadHistory(before) {
  const { items } = await get("v1/stats/recent");
  for (const item of items) {
    const at = Date.parse(item.at);
    if (at < before && at > (looks.at(-1)?.at ?? -Infinity)) looks = follow(looks, { ...item, at });
  }
}

/** The samples that the gateway keeps, of a longer span or of one canister. */
export class KeptSamples {
  /** `query` has `span`, and `canister` unless it is the whole gateway. */
  constructor(query) {
    this.query = query;
    this.kept = [];
  }

  /** The values of each sample, and of one taken now. */
  async look() {
    const { items, now } = await get("v1/stats/recent", { ...this.query, after: this.kept.at(-1)?.taken });
    for (const item of items) this.kept = follow(this.kept, parsed(item), SPANS[this.query.span]);
    return samplesOf(follow(this.kept, parsed(now), SPANS[this.query.span]));
  }
}

/** `taken` stays as it came: its microseconds say which samples are later. */
const parsed = (sample) => ({ ...sample, at: Date.parse(sample.at), taken: sample.at });

const lookOf = ({ sessions, connections }, { at, counters, by, hops }) => ({
  at: Date.parse(at),
  sessions,
  connections,
  counters,
  totals: Object.fromEntries(Object.entries(by).map(([name, split]) => [name, sum(Object.values(split))])),
  hops,
});

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

/** The samples with another one, without those that are too old or of an earlier process, whose counters started at 0. */
export function follow(before, now, keptMs = SPANS[LIVE]) {
  const last = before.at(-1);
  const isNew =
    last && (now.at <= last.at || Object.keys(now.counters).some((name) => now.counters[name] < last.counters[name]));
  return [...(isNew ? [] : before.filter(({ at }) => at >= now.at - keptMs)), now];
}

/** The values of each sample, from the difference to the samples before it; to the one before where they are far apart. */
export function samplesOf(all) {
  const since = [0, 0];
  return all.map((now, index) => {
    const [minuteAgo, whileAgo] = [ERRORS_OVER_MS, MEAN_OVER_MS].map((span, which) => {
      while (since[which] < index - 1 && all[since[which]].at < now.at - span) since[which] += 1;
      return all[since[which]];
    });
    return sampleOf(all[index - 1], now, { minuteAgo, whileAgo });
  });
}

function sampleOf(before, now, { minuteAgo, whileAgo }) {
  const perSecond = (name) =>
    before ? ((now.counters[name] - before.counters[name]) * 1000) / (now.at - before.at) : null;
  const sample = {
    at: now.at,
    sessions: now.sessions,
    connections: now.connections,
    up: perSecond("relayed"),
    down: perSecond("delivered"),
  };
  const minutes = Math.max(1, (now.at - minuteAgo.at) / ERRORS_OVER_MS);
  for (const [name] of ERRORS) {
    sample[name] = before ? (errorsOf(now, name) - errorsOf(minuteAgo, name)) / minutes : null;
  }
  for (const hop of now.hops) sample[hop.name] = before ? meanSince(whileAgo, hop) : null;
  return sample;
}

/** Each error once: a message that is not relayed closes its socket too, and is among those already. */
const errorsOf = ({ totals, counters }, name) =>
  (totals[name] ?? 0) - (name === "refused" ? (counters.relay_closes ?? 0) : 0);

function meanSince({ hops }, hop) {
  const before = hops.find(({ name }) => name === hop.name) ?? { count: 0, sum_s: 0 };
  const times = hop.count - before.count;
  return times > 0 ? (hop.sum_s - before.sum_s) / times : null;
}
