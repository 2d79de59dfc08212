/** The configuration: edited, planned and applied. Its values and its history are values.js and history.js. */

import { get, post } from "../api.js";
import { badge, byId, keyOf, make, say, valuesOf } from "../dom.js";
import { openDialog } from "../dialog.js";
import { count, many, value } from "../format.js";
import { notify, showProblem } from "../notices.js";
import { onSample } from "../samples.js";
import { Table } from "../table.js";
import { EFFECTS, enterHistory, refreshHistory } from "./history.js";
import { showValues } from "./values.js";

const EFFECT_WORDS = { live: "at once", "new sessions": "for new sessions", restart: "with a restart" };
const TABS = ["edit", "values", "history"];

const text = byId("config-text");
const alert = byId("config-edit").querySelector(".alert");
const applyForm = byId("apply-dialog").querySelector("form");
let tab = "edit";
let running = null;
let base = null;
let version = null;
let loadedVersion;
let changes = 0; // of the configuration, known to this page
let plans = 0; // asked for: the answer to the latest one counts

const planTable = new Table("plan-table", {
  key: (row) => row.key,
  head: "key",
  show: {
    key: (row) => keyOf(row.key),
    old: (row) => (row.in_file ? "what the file said" : make("span", { class: "old" }, value(row.old))),
    new: (row) => (row.in_file ? "what it says now" : make("span", { class: "new" }, value(row.new))),
    effect: (row) => badge(row.effect, EFFECTS[row.effect]),
    sessions: (row) => count(row.sessions),
  },
});

export function enter({ path }) {
  plans += 1;
  tab = TABS.includes(path[0]) ? path[0] : "edit";
  for (const each of TABS) byId(`config-${each}`).hidden = each !== tab;
  if (tab === "history") enterHistory(path[1]);
}

export function leave() {
  plans += 1; // nobody waits for an answer here any more
}

onSample((_, status) => {
  version = `${status.generation} ${status.config_hash} ${status.differs_from_file} ${status.confirm_by}`;
});

/** Another configuration runs. */
export function changed() {
  changes += 1;
  loadedVersion = undefined;
}

export async function refresh() {
  if (loadedVersion === undefined || loadedVersion !== version) {
    const [asked, before] = [version, changes];
    const found = await get("v1/config");
    if (before !== changes) return; // it may be from before the change, of which the next look tells
    running = found;
    loadedVersion = asked;
    showRunning();
  }
  if (tab === "values") showValues(running);
  if (tab === "history") await refreshHistory(running.generation);
}

const isEdited = () => base !== null && text.value !== base.text;

function showRunning() {
  byId("config-hidden").hidden = running.text !== null;
  byId("editor").hidden = running.text === null;
  if (!isEdited()) load();
  const waiting = running.pending_restart.length
    ? `; waiting for a restart: ${running.pending_restart.join(", ")}`
    : "";
  say(
    byId("config-note"),
    `Revision ${running.generation} runs${running.file ? `, from ${running.file}` : ""}${waiting}.`,
  );
  banner(
    "config-changed",
    base.etag !== running.etag,
    `Revision ${running.generation} runs meanwhile; your edits are based on revision ${base.generation}.`,
  );
  banner("config-differs", running.differs_from_file, "The file on disk says something else than what runs.");
}

function banner(id, isShown, words) {
  byId(id).hidden = !isShown;
  say(byId(id).querySelector("span"), words);
}

function load() {
  base = { text: running.text ?? "", etag: running.etag, generation: running.generation };
  if (text.value !== base.text) text.value = base.text;
  base.text = text.value; // as the browser keeps it: line ends are its own
  byId("config-changed").hidden = true;
  byId("config-undo").disabled = true;
}

// --- plan ---

/** What is to run: the edited text, or the file on disk (null). */
const orderOf = (source) => (source === null ? {} : { text: source });

async function plan(source) {
  plans += 1;
  const mine = plans;
  showProblem(alert, null);
  byId("plan-result").hidden = true;
  try {
    const found = await post("v1/config/plan", orderOf(source));
    if (mine !== plans) return null;
    showPlan(found);
    return found;
  } catch (error) {
    if (mine === plans) showProblem(alert, error, goTo);
    return null;
  }
}

function showPlan({ changes, refused }) {
  byId("plan-result").hidden = false;
  planTable.update(changes);
  say(byId("plan-summary"), summaryOf(changes));
  if (refused)
    showProblem(alert, { title: refused.title, message: refused.detail, faults: refused.errors ?? [] }, goTo);
}

function summaryOf(changes) {
  if (!changes.length) return "Nothing would change.";
  const kinds = Object.entries(EFFECT_WORDS)
    .map(([effect, words]) => [changes.filter((each) => each.effect === effect).length, words])
    .filter(([number]) => number)
    .map(([number, words]) => `${number} ${words}`);
  const sessions = Math.max(...changes.map((each) => each.sessions));
  return `${many(changes.length, "change")}: ${kinds.join(", ")}. Open sessions touched: ${count(sessions)}.`;
}

byId("plan").addEventListener("click", async () => {
  if (await plan(text.value)) byId("plan-result").focus();
});

// --- apply ---

byId("apply").addEventListener("click", () => apply(text.value));
byId("apply-file").addEventListener("click", () => apply(null));

async function apply(source) {
  const found = await plan(source);
  if (!found) return;
  if (!found.changes.length && source === running.text) {
    notify("Nothing would change");
    return;
  }
  applyForm.reset();
  offer(
    "allow_restart",
    found.changes.some((each) => each.effect === "restart"),
  );
  offer("force", found.refused?.type.endsWith("force-needed"));
  offer("save", source !== null && running.file);
  byId("trial").hidden = true;
  say(byId("apply-summary"), `${source === null ? "The file on disk. " : ""}${summaryOf(found.changes)}`);
  const headers = { "If-Match": `"${(source === null ? running : base).etag}"` };
  const applied = await openDialog(byId("apply-dialog"), {
    submit: (signal) =>
      post("v1/config/apply", { ...orderOf(source), ...options() }, headers).catch((error) => {
        if (!signal.aborted) offerWhatIsMissing(error);
        throw error;
      }),
  });
  if (applied) showApplied(applied, source);
}

function options() {
  const { trial, confirm_within_s, keep_if_healthy, save, allow_restart, force } = valuesOf(applyForm);
  return { ...(trial ? { confirm_within_s, keep_if_healthy } : { save }), allow_restart, force };
}

function offer(name, isOffered) {
  applyForm.elements[name].closest("label").hidden = !isOffered;
}

/** What the API asks for can be ticked from now on. */
function offerWhatIsMissing(error) {
  if (error.kind === "restart-needed") offer("allow_restart", true);
  if (error.kind === "force-needed") offer("force", true);
}

applyForm.elements.trial.addEventListener("change", ({ target }) => {
  byId("trial").hidden = !target.checked;
  offer("save", !target.checked && running.file);
});

function showApplied(applied, source) {
  showProblem(alert, null);
  // What was typed since stays an edit; and so do all edits where it was the file on disk that was applied.
  if (source !== null) base = { text: source, etag: applied.etag, generation: applied.generation };
  changed();
  const waits = applied.pending_restart.length ? `; ${applied.pending_restart.join(", ")} with the next restart` : "";
  notify(applied.result === "unchanged" ? "Nothing had changed" : `Revision ${applied.generation} runs${waits}`);
  byId("plan-result").hidden = true;
  document.dispatchEvent(new Event("look"));
}

// --- the editor ---

/** Put the caret where a fault is. */
function goTo(fault) {
  const [, line, column = 1] = /:(\d+)(?::(\d+))?/.exec(fault.place) ?? [];
  if (!line) return;
  const lines = text.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  text.focus();
  text.setSelectionRange(start + Number(column) - 1, start + (lines[line - 1]?.length ?? 0));
  text.scrollTop = Math.max(0, (line - 5) * parseFloat(getComputedStyle(text).lineHeight));
}

function showCaret() {
  const before = text.value.slice(0, text.selectionStart).split("\n");
  say(byId("caret"), `line ${before.length}, column ${before.at(-1).length + 1}`);
}

document.addEventListener("selectionchange", () => document.activeElement === text && showCaret());
text.addEventListener("input", () => {
  byId("config-undo").disabled = !isEdited();
});
byId("config-undo").addEventListener("click", () => {
  text.value = base.text;
  byId("config-undo").disabled = true;
  showProblem(alert, null);
});
byId("config-load").addEventListener("click", load);
