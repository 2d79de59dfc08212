/** The page as a whole: which view is shown, what all views share, and when they look again. */

import { decoded, get, isMade, post, Problem } from "./api.js";
import { badge, byId, heading, put, say } from "./dom.js";
import { confirm } from "./dialog.js";
import { clock, many } from "./format.js";
import { attempt, notify, showProblem } from "./notices.js";
import { look, onSample } from "./samples.js";
import { Stream } from "./stream.js";
import { forgetToken, giveToken, isMissing, token } from "./token.js";
import * as access from "./views/access.js";
import * as canisters from "./views/canisters.js";
import * as config from "./views/config.js";
import * as drain from "./views/drain.js";
import * as events from "./views/events.js";
import * as limits from "./views/limits.js";
import * as overview from "./views/overview.js";
import * as plugins from "./views/plugins.js";
import * as sessions from "./views/sessions.js";

const VIEWS = { overview, canisters, sessions, config, drain, limits, plugins, events, access };
const LOOK_MS = 2000;
const RELOADS = {
  applied: ({ generation, actor }) => `Revision ${generation} of the configuration runs, by ${actor}`,
  confirmed: ({ generation, actor }) => `Revision ${generation} of the configuration is confirmed, by ${actor}`,
  rejected: ({ actor, problem }) => `A configuration of ${actor} was rejected: ${problem}`,
  "rolled back": ({ generation, actor }) =>
    `Rolled back: revision ${generation} of the configuration runs, by ${actor}`,
};

let shown = null;
let wake = () => {};

// --- views ---

/** "#sessions/ab12?canister=chat" as {name, path: ["ab12"], query}. */
export function parse(hash) {
  const [path, query] = hash.replace(/^#/, "").split("?");
  const [name, ...rest] = path.split("/").map(decoded);
  return { name, path: rest, query: Object.fromEntries(new URLSearchParams(query)) };
}

function show({ moveFocus }) {
  let place = parse(location.hash || "#overview");
  if (!Object.hasOwn(VIEWS, place.name)) {
    history.replaceState(null, "", "#overview");
    place = parse("#overview");
  }
  closeMenu();
  const changed = shown?.name !== place.name;
  if (changed) shown?.view.leave?.();
  shown = { name: place.name, view: VIEWS[place.name] };
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== place.name;
  for (const link of document.querySelectorAll("#navigation a, .tabs a")) mark(link, place);
  showProblem(byId("problem"), null);
  shown.view.enter?.(place);
  const title = heading();
  document.title = `${title.textContent} – icws`;
  if (moveFocus) title.focus();
  wake();
}

function mark(link, place) {
  const to = parse(link.getAttribute("href"));
  const isHere =
    to.name === place.name && (link.closest("#navigation") || (to.path[0] ?? "") === (place.path[0] ?? ""));
  if (isHere) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

/** Let the shown view look again for as long as the page is open and seen. */
async function keepLooking() {
  for (;;) {
    const { view } = shown;
    const woken = new Promise((resolve) => {
      wake = resolve; // also while it looks: what it sees then may be from before
    });
    if (!document.hidden && !isMissing()) await lookOnce(view);
    setTimeout(wake, LOOK_MS);
    await woken;
  }
}

async function lookOnce(view) {
  try {
    await Promise.all([look(), view.refresh?.()]);
    if (view === shown.view) showProblem(byId("problem"), null);
  } catch (error) {
    if (view === shown.view) showProblem(byId("problem"), error);
    if (!(error instanceof Problem)) showHealth(null);
  }
}

// --- what all views share ---

function showHealth(status) {
  const [text, mood] = !status
    ? ["not reachable", "bad"]
    : status.stopping
      ? ["stopping", "bad"]
      : status.draining
        ? ["draining", "warn"]
        : ["running", "good"];
  put(byId("health"), badge(text, mood));
}

let offsetMs = 0;
let deadline = null;

function showUnconfirmed(status) {
  offsetMs = Date.parse(status.started_at) + status.uptime_s * 1000 - Date.now();
  deadline = status.confirm_by && Date.parse(status.confirm_by);
  byId("unconfirmed").hidden = !deadline;
  say(byId("unconfirmed-revision"), String(status.generation));
  countDown();
}

function countDown() {
  if (deadline) say(byId("countdown"), clock((deadline - Date.now() - offsetMs) / 1000));
}

let who = null;
let whoAsked = 0;
let isWhoKnown = true; // or asked for now

async function showWho() {
  whoAsked += 1;
  const mine = whoAsked;
  isWhoKnown = true;
  byId("give-token").hidden = !isMissing();
  byId("forget-token").hidden = token() === null;
  const answer = isMissing() ? null : await get("v1/whoami").catch(() => null);
  if (mine !== whoAsked) return; // another token is used since
  who = answer;
  isWhoKnown = who !== null;
  say(byId("who"), who ? `${who.name}, ${who.role}` : "");
  document.body.dataset.role = who?.role ?? "";
}

const confirmTrial = () =>
  attempt(async () => {
    await post("v1/config/confirm", { save: byId("confirm-save").checked });
    notify("The configuration is confirmed");
    config.changed();
    wake();
  });

async function rollBack() {
  const said = await confirm({
    title: "Roll back?",
    text: "The configuration that ran before is run again.",
    action: "Roll back",
    danger: true,
    submit: () => post("v1/config/rollback"),
  });
  if (said) wake();
}

/** Copy what stands in `data-copy`, where the browser lets a page do that. */
async function copy(event) {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const done = await navigator.clipboard?.writeText(button.dataset.copy).then(
    () => true,
    () => false,
  );
  notify(done ? "Copied" : "This browser does not copy here; select the text", { bad: !done });
}

// --- the stream ---

const stream = new Stream({
  onEvent(event, isLive) {
    events.take(event);
    if (!isLive) return;
    if (event.kind === "lost") onLoss(event.data);
    if (event.kind === "reload") onReload(event.data);
    if (["reload", "drain", "canister.state"].includes(event.kind)) wake();
  },
  onState: events.setConnected,
});

/** Tell of what others did; what this page did itself, it tells when it is answered. */
async function onReload(reload) {
  config.changed();
  const words = RELOADS[reload.result];
  if (words && !(await isMade(reload))) notify(words(reload), { bad: reload.result === "rejected" });
}

const onLoss = ({ events: number }) =>
  notify(`${many(number, "event")} came while this page was away or too slow, and are not shown`, { bad: true });

// --- beginning ---

function closeMenu() {
  byId("navigation").classList.remove("open");
  byId("menu").setAttribute("aria-expanded", "false");
}

function listen() {
  // A dialog in a view would be hidden with it, and what cannot be seen would keep everything else from being used.
  document.body.append(...document.querySelectorAll(".view dialog"));
  document.addEventListener("click", copy);
  addEventListener("hashchange", () => show({ moveFocus: true }));
  document.addEventListener("visibilitychange", () => wake());
  document.addEventListener("look", () => wake());
  document.addEventListener("token", () => {
    showWho();
    stream.again();
    wake();
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    heading().focus();
  });
  byId("menu").addEventListener("click", () => {
    const isOpen = byId("navigation").classList.toggle("open");
    byId("menu").setAttribute("aria-expanded", String(isOpen));
  });
  byId("give-token").addEventListener("click", giveToken);
  byId("forget-token").addEventListener("click", forgetToken);
  byId("confirm-now").addEventListener("click", confirmTrial);
  byId("roll-back-now").addEventListener("click", rollBack);
  onSample((_, status) => {
    showHealth(status);
    showUnconfirmed(status);
    if (!isWhoKnown) showWho();
  });
  setInterval(countDown, 500);
}

listen();
show({ moveFocus: false });
showWho();
stream.run();
keepLooking();
