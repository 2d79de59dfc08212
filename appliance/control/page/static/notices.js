/** Messages to the user: problems beside what caused them, and short notices in the corner. */

import { byId, make, put } from "./dom.js";

const SHOWN_MS = 8000;
const MOST = 4;

/** Show a problem in an alert; null clears it. With `onFault` the place of each fault is a button. */
export function showProblem(alert, error, onFault) {
  if (!error) {
    put(alert);
    return;
  }
  logError(error);
  const faults = (error.faults ?? []).filter((fault) => fault.problem);
  const said = faults.length
    ? [
        make(
          "ul",
          {},
          faults.map((fault) => faultLine(fault, onFault)),
        ),
      ]
    : [];
  const first = error.title ? [make("strong", {}, `${error.title}. `)] : [];
  put(alert, ...first, ...(faults.length && error.title ? [] : [sentence(error.message)]), ...said);
}

function faultLine(fault, onFault) {
  const place = [placeInWords(fault.place), fault.key].filter(Boolean).join(" ");
  const button = onFault && /:\d+/.test(fault.place) ? make("button", { type: "button", class: "quiet" }, place) : null;
  button?.addEventListener("click", () => onFault(fault));
  return make("li", {}, button ?? place, place ? `: ${fault.problem}` : fault.problem);
}

/** Where a fault is; of a request's own fields the key says enough. */
const placeInWords = (place) => (["body", "query", "path"].includes(place) ? "" : linesInWords(place));

/** With "line 27, column 9" for "text:27:9", as the API calls a place in a text that it was sent. */
export const linesInWords = (text) => text.replace(/\btext:(\d+):(\d+)/g, "line $1, column $2");

/** With a capital and a full stop. A first word that looks like a key, such as `polling.rate`, keeps its case. */
export function sentence(given) {
  const text = linesInWords(given);
  const whole = /^[a-z]+[\s,.]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.?!…]$/.test(whole) ? whole : `${whole}.`;
}

/** Show a short notice. Screen readers read it, and it disappears after a while. */
export function notify(text, { bad = false } = {}) {
  const toasts = byId("toasts");
  const toast = make("div", { class: bad ? "toast bad" : "toast" }, sentence(text));
  toasts.append(toast);
  while (toasts.children.length > MOST) toasts.firstChild.remove();
  setTimeout(() => toast.remove(), SHOWN_MS);
}

/** Run an action, and show a notice if it fails. */
export async function attempt(action) {
  try {
    await action();
  } catch (error) {
    logError(error);
    notify(error.message, { bad: true });
  }
}

/** Errors of the page itself go to the console too, for its developers. */
function logError(error) {
  if (!error.faults && error.constructor !== Error) console.error(error);
}
