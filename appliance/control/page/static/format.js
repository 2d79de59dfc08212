/** Numbers, sizes and times as people read them. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FINE = [
  [1e6, "µs"],
  [1e3, "ms"],
  [1, "s"],
];
const STEPS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];
export const NOTHING = "–";

/** 12345 as "12,345"; large numbers shortened where `short`. */
export function count(value, short = false) {
  if (value === null || value === undefined) return NOTHING;
  if (short && Math.abs(value) >= 999_950) return `${trim(value / 1e6, 1)} M`; // no "1000 k"
  if (short && Math.abs(value) >= 1e4) return `${trim(value / 1e3, 1)} k`;
  return WHOLE.format(value);
}

/** A quantity with at most three digits that matter. */
export function rate(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value >= 999.5) return count(value, true);
  return trim(value, value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

const trim = (value, digits) => String(Number(value.toFixed(digits)));

/** Seconds: "850 µs", "12 ms", "2.4 s", "3 min 5 s", "2 d 4 h". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds <= 0) return "0 ms";
  if (seconds < 59.5) return fineDuration(seconds);
  return coarseDuration(Math.round(seconds));
}

/** Rounded before the unit is chosen: 0.9996 s is "1 s", not "1000 ms". */
function fineDuration(seconds) {
  for (const [times, unit] of FINE) {
    const amount = seconds * times;
    const digits = times === 1e6 || amount >= (times === 1 ? 10 : 100) ? 0 : 1;
    const rounded = Number(amount.toFixed(digits));
    if (rounded < 1000 || times === 1) return `${rounded} ${unit}`;
  }
}

function coarseDuration(seconds) {
  const first = STEPS.findIndex(([size]) => seconds >= size);
  const [size, unit] = STEPS[first];
  const whole = Math.floor(seconds / size);
  const [nextSize, nextUnit] = STEPS[first + 1];
  const rest = Math.floor((seconds - whole * size) / nextSize);
  return rest ? `${whole} ${unit} ${rest} ${nextUnit}` : `${whole} ${unit}`;
}

/** Bytes: "512 B", "1.5 KiB". */
export function bytes(value) {
  if (value === null || value === undefined) return NOTHING;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let index = 0;
  let left = value;
  while (left >= 1023.5 && index < units.length - 1) {
    left /= 1024;
    index += 1;
  }
  return `${trim(left, index && left < 10 ? 1 : 0)} ${units[index]}`;
}

/** A countdown: "1:05". */
export function clock(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  const parts = [Math.floor(left / 60) % 60, left % 60].map((part) => String(part).padStart(2, "0"));
  return left >= 3600 ? `${Math.floor(left / 3600)}:${parts.join(":")}` : `${Number(parts[0])}:${parts[1]}`;
}

/** A time of day; with its date where that is another day. */
export function moment(at, { now = new Date(), fine = false } = {}) {
  const date = new Date(at);
  const time = date.toLocaleTimeString("en-GB") + (fine ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "");
  return date.toDateString() === now.toDateString() ? time : `${day(date)} ${time}`;
}

const day = (date) =>
  [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0")).join("-");

/** The beginning and the end of something long. */
export function shorten(text, most = 20) {
  if (!text || text.length <= most) return text ?? NOTHING;
  const side = Math.floor((most - 1) / 2);
  return `${text.slice(0, most - 1 - side)}…${text.slice(-side)}`;
}

/** A value of the configuration, as YAML would have it in one line. */
export function value(of) {
  if (of === null || of === undefined) return NOTHING;
  return typeof of === "string" ? of : JSON.stringify(of);
}

/** A number of times a second, minute or hour, whichever is readable. */
export function pace(perSecond) {
  if (perSecond >= 1 || !perSecond) return `${rate(perSecond)} /s`;
  return perSecond * 60 >= 1 ? `${rate(perSecond * 60)} /min` : `${rate(perSecond * 3600)} /h`;
}

/** "1 session", "2 sessions". */
export const many = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** The name of a canister with its id behind it, or the id alone. */
export const canisterLabel = ({ canister, canister_name }) =>
  canister && canister_name ? `${canister_name} (${canister})` : canister;

/** What is said of nodes that did not answer. */
export const without = (missing = []) =>
  missing.map(({ node, problem }) => `without ${node ? `node ${node}` : "the other nodes"}: ${problem}`);
