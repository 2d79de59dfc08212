/** The configurations that ran: shown, compared with what runs, run again. */

import { get, post } from "../api.js";
import { badge, byId, keyOf, make, put, say } from "../dom.js";
import { confirm } from "../dialog.js";
import { moment, value } from "../format.js";
import { linesInWords, notify } from "../notices.js";
import { action, Table } from "../table.js";

const MOODS = { good: "good", candidate: "warn", rejected: "bad", "rolled back": "warn" };
export const EFFECTS = { live: "good", "new sessions": "warn", restart: "bad" };

let chosen = null;
let shown = null;

const table = new Table("history-table", {
  key: (entry) => entry.generation,
  head: "generation",
  show: {
    generation: (entry) => String(entry.generation),
    state: (entry) =>
      [
        badge(entry.state, MOODS[entry.state]),
        entry.is_running ? [" ", badge("running", "good")] : null,
        entry.problem ? make("span", { class: "sub" }, linesInWords(entry.problem)) : null,
      ].flat(),
    at: (entry) => make("time", { datetime: entry.at }, moment(entry.at)),
    actor: (entry) => entry.actor,
    trigger: (entry) => entry.trigger,
    actions: (entry) =>
      make(
        "div",
        { class: "actions-cell" },
        make(
          "a",
          { href: `#config/history/${entry.generation}`, "aria-label": `Show revision ${entry.generation}` },
          "Show",
        ),
        entry.is_running ? null : action("run", "Roll back…", `to revision ${entry.generation}`),
      ),
  },
  actions: { run: rollBack },
});

const difference = new Table("difference-table", {
  key: (row) => row.key,
  head: "key",
  show: {
    key: (row) => keyOf(row.key),
    old: (row) => make("span", { class: "old" }, value(row.old)),
    new: (row) => make("span", { class: "new" }, value(row.new)),
    effect: (row) => badge(row.effect, EFFECTS[row.effect]),
  },
});

/** Show the history, and one revision of it unless that is undefined. */
export function enterHistory(revision) {
  chosen = revision ? Number(revision) : null;
  shown = null;
  byId("revision").hidden = true;
}

/** Look again. */
export async function refreshHistory(running) {
  table.update((await get("v1/config/history")).items);
  const wanted = chosen && `${chosen} ${running}`;
  if (!wanted || wanted === shown) return;
  const asked = chosen;
  const [entry, compared] = await Promise.all([
    get(`v1/config/history/${asked}`),
    asked === running ? null : get(`v1/config/history/${asked}/diff`),
  ]);
  if (asked !== chosen) return;
  shown = wanted;
  showRevision(entry, compared, running);
}

function showRevision(entry, compared, running) {
  const isFirst = byId("revision").hidden;
  byId("revision").hidden = false;
  const title = compared
    ? `From revision ${running}, which runs, to revision ${entry.generation}`
    : `Revision ${entry.generation}, which runs`;
  say(byId("revision-title"), title);
  byId("difference-table").parentElement.hidden = !compared;
  difference.update(compared?.changes ?? []);
  put(byId("revision-text"), ...(compared?.text ? linesOf(compared.text) : [entry.text]));
  if (isFirst) byId("revision-title").focus();
}

/** A unified diff, line by line. */
function linesOf(text) {
  const kinds = [
    [/^(---|\+\+\+|@@)/, "place"],
    [/^\+/, "added"],
    [/^-/, "removed"],
  ];
  return text
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [, kind] = kinds.find(([pattern]) => pattern.test(line)) ?? [];
      return kind ? make("span", { class: kind }, line) : `${line}\n`;
    });
}

async function rollBack(entry) {
  const done = await confirm({
    title: `Roll back to revision ${entry.generation}?`,
    text: `It ran from ${moment(entry.at)}, by ${entry.actor}. It is planned and applied as any other configuration.`,
    action: "Roll back",
    danger: true,
    submit: () => post("v1/config/rollback", { generation: entry.generation }),
  });
  if (done) notify(`Revision ${done.generation} runs`);
  document.dispatchEvent(new Event("look"));
}
