/** One canister: how it is polled, and the four charts of its clients. */

import { get, part, Problem } from "../api.js";
import { Charts, chooseSpan, spanIn } from "../charts.js";
import { badge, byId, make, say, showFacts } from "../dom.js";
import { count, duration, many, rate } from "../format.js";
import { ERRORS, KeptSamples } from "../samples.js";

export const MOODS = { ok: "good", degraded: "bad", paused: "warn", draining: "warn", idle: "" };

const select = byId("canister-span");
const charts = new Charts("canister", {
  connections: "joined",
  errors: ERRORS.filter(([name]) => name !== "rejected_requests"), // those have not named a canister yet
});
let id = null;
let samples = null;

chooseSpan(select, () => `#canisters/${part(id)}`);

/** Begin with another canister, or another span. */
export function enterCanister(canister, query) {
  if (canister !== id) showFacts(byId("canister-facts"), []);
  id = canister;
  samples = new KeptSamples({ canister, span: spanIn(query, select) });
  say(byId("canister-title"), canister);
  say(byId("canister-note"), "");
  charts.update([]);
}

/** Look again. */
export async function refreshCanister() {
  const asked = samples;
  const [canister, shown] = await Promise.all([get(`v1/canisters/${part(id)}`), asked.look()]).catch(unlessGone);
  if (asked !== samples) return;
  say(byId("canister-note"), noteOf(canister, asked));
  charts.update(shown);
  showFacts(byId("canister-facts"), canister ? factsOf(canister) : []);
  if (canister) say(byId("canister-title"), canister.name ?? canister.id);
}

/** An unlisted canister is gone with its last client. */
function unlessGone(error) {
  if (error instanceof Problem && error.status === 404) return [null, []];
  throw error;
}

function noteOf(canister, { kept }) {
  if (!canister) return "This canister is not listed, and has no clients.";
  if (kept.length) return "";
  return "Nothing was kept of this canister: it is new, or more canisters are in use than metrics.canisters has charts of.";
}

const factsOf = ({ polling, ...canister }) => [
  ["Principal", make("code", {}, canister.id)],
  ["State", badge(canister.state, MOODS[canister.state])],
  ["Wire generation", canister.generation.join(", ")],
  ["Clients", make("a", { href: `#sessions?canister=${part(canister.id)}` }, many(canister.clients, "client"))],
  ["Waiting for the IC", count(canister.waiting_calls)],
  ["Last good poll", polling && (polling.lag_s === null ? "none yet" : `${duration(polling.lag_s)} ago`)],
  ["Next nonce", polling && count(polling.next_nonce)],
  ["Polls per message", polling && rate(polling.polls_per_message)],
  ["Last error", polling?.last_error],
];
