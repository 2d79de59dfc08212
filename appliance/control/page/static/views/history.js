/** The configurations that ran: shown, compared with what runs, run again. */

import { get, post } from "../api.js";
import { badge, byId, keyOf, make, put, say } from "../dom.js";
import { confirm } from "../dialog.js";
import { moment, value } from "../format.js";
import { tell } from "../news.js";
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
        entry.problem ? make("span", { class: "sub" }, entry.problem) : null,
      ].flat(),
    at: (entry) => make("time", { datetime: entry.at }, moment(entry.at)),
    actor: (entry) => entry.actor,
    trigger: (entry) => entry.trigger,
    actions: (entry) =>
      make(
        "div",
        { class: "actions-cell", "data-needs": "admin" },
        make(
          "a",
          { href: `#config/history/${entry.generation}`, "aria-label": `Show generation ${entry.generation}` },
          "Show",
        ),
        entry.is_running ? null : action("run", "Roll back…", `to generation ${entry.generation}`),
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

/** Begin with a generation to show, or without. */
export function enterHistory(generation) {
  chosen = generation ? Number(generation) : null;
  shown = null;
  byId("generation").hidden = true;
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
  showGeneration(entry, compared, running);
}

function showGeneration(entry, compared, running) {
  const isFirst = byId("generation").hidden;
  byId("generation").hidden = false;
  const title = compared
    ? `From generation ${running}, which runs, to generation ${entry.generation}`
    : `Generation ${entry.generation}, which runs`;
  say(byId("generation-title"), title);
  byId("difference-table").parentElement.hidden = !compared;
  difference.update(compared?.changes ?? []);
  put(byId("generation-text"), ...(compared?.text ? linesOf(compared.text) : [entry.text]));
  if (isFirst) byId("generation-title").focus();
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
    title: `Roll back to generation ${entry.generation}?`,
    text: `It ran from ${moment(entry.at)}, by ${entry.actor}. It is planned and applied as any other configuration.`,
    action: "Roll back",
    danger: true,
    submit: () => post("v1/config/rollback", { generation: entry.generation }),
  });
  if (done) tell(`Generation ${done.generation} runs`);
  document.dispatchEvent(new Event("look"));
}
