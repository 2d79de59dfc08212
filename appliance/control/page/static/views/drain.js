/** Draining: begun, watched, cancelled. */

import { get, post, remove } from "../api.js";
import { badge, byId, given, say, showFacts, valuesOf } from "../dom.js";
import { confirm } from "../dialog.js";
import { canisterLabel, count, duration, moment, rate } from "../format.js";
import { attempt, notify, showProblem } from "../notices.js";
import { action, Table } from "../table.js";
import { suggestAll } from "./canisters.js";

const WORDS = {
  none: "The gateway as a whole is not drained.",
  waiting: "Waiting before the first close, for balancers to see that this gateway is not ready.",
  closing: "Closing sessions.",
  done: "Done. The gateway is not ready until it accepts clients again.",
  cancelled: "Cancelled.",
};

const form = byId("drain-form");
const isOn = (drain) => drain.state === "waiting" || drain.state === "closing";

const table = new Table("drain-table", {
  key: (drain) => drain.canister,
  head: "canister",
  show: {
    canister: (drain) => canisterLabel(drain),
    state: (drain) => badge(drain.state, isOn(drain) ? "warn" : ""),
    closed: (drain) => `${count(drain.closed)} of ${count(drain.total)}`,
    eta: (drain) => (isOn(drain) ? duration(drain.eta_s) : ""),
    actions: (drain) => action("cancel", "Cancel", `the drain of ${canisterLabel(drain)}`),
  },
  actions: { cancel: (drain) => cancel(drain.canister) },
});

export function enter({ query }) {
  suggestAll();
  if (query.canister) form.elements.canister.value = query.canister;
}

export async function refresh() {
  show(await get("v1/drain"));
}

function show(drain) {
  say(byId("drain-state"), WORDS[drain.state] ?? drain.state);
  byId("drain-bar").hidden = drain.state === "none";
  byId("drain-bar").max = Math.max(1, drain.total);
  byId("drain-bar").value = drain.total ? drain.closed : isOn(drain) ? 0 : 1;
  const isDone = drain.state === "done";
  byId("cancel-drain").hidden = !isOn(drain) && !isDone;
  say(byId("cancel-drain"), isDone ? "Accept clients again" : "Cancel the drain");
  showFacts(byId("drain-facts"), drain.state === "none" ? [] : factsOf(drain));
  byId("canister-drains").hidden = drain.canisters.length === 0;
  table.update(drain.canisters);
}

const factsOf = (drain) => [
  ["Closed", `${count(drain.closed)} of ${count(drain.total)}`],
  ["Left", count(drain.left)],
  ["Rate", drain.rate === null ? null : `${rate(drain.rate)} a second`],
  ["Started", drain.started_at && moment(drain.started_at)],
  ["Over in", isOn(drain) && drain.eta_s !== null ? duration(drain.eta_s) : null],
];

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const alert = form.querySelector(".alert");
  const wanted = given(valuesOf(form));
  showProblem(alert, null);
  const begun = await confirm({
    title: wanted.canister ? `Drain ${wanted.canister}?` : "Drain this gateway?",
    text: wanted.canister
      ? "All of its sessions will be closed."
      : "Every session will be closed, and the gateway says that it is not ready.",
    action: "Drain",
    danger: true,
    submit: () => post("v1/drain", wanted),
  });
  if (begun) notify("The drain has begun");
  look();
});

const look = () => document.dispatchEvent(new Event("look"));

const cancel = (canister) =>
  attempt(async () => {
    await remove("v1/drain", { canister });
    notify("The drain is cancelled");
    look();
  });

byId("cancel-drain").addEventListener("click", () => cancel(null));
