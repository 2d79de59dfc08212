/** What the page has to say: problems where they belong, and news at its corner. */

import { byId, make, put } from "./dom.js";

const SHOWN_MS = 8000;
const MOST = 4;

/** Show what went wrong in an alert; null takes it away. `onFault` makes the place of a fault something to press. */
export function showProblem(alert, error, onFault) {
  if (!error) {
    put(alert);
    return;
  }
  complain(error);
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
  const place = [fault.place, fault.key].filter(Boolean).join(" ");
  const button = onFault && /:\d+/.test(fault.place) ? make("button", { type: "button", class: "quiet" }, place) : null;
  button?.addEventListener("click", () => onFault(fault));
  return make("li", {}, button ?? place, `: ${fault.problem}`);
}

/** With a capital at the beginning, unless that is a name with a mark in it, and a full stop at the end. */
export function sentence(text) {
  const whole = /^[a-z]+[\s,.]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.?!…]$/.test(whole) ? whole : `${whole}.`;
}

/** Say something in passing. It is read out, and goes away by itself. */
export function tell(text, { bad = false } = {}) {
  const toasts = byId("toasts");
  const toast = make("div", { class: bad ? "toast bad" : "toast" }, sentence(text));
  toasts.append(toast);
  while (toasts.children.length > MOST) toasts.firstChild.remove();
  setTimeout(() => toast.remove(), SHOWN_MS);
}

/** Do something, and say so in passing where it fails. */
export async function attempt(action) {
  try {
    await action();
  } catch (error) {
    complain(error);
    tell(error.message, { bad: true });
  }
}

/** A fault of the page itself belongs to whoever develops it, too. */
function complain(error) {
  if (!error.faults && error.constructor !== Error) console.error(error);
}
