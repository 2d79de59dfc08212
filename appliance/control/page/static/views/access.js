/** Who may use the API, and what they did. */

import { get, part, post, Problem, remove } from "../api.js";
import { badge, byId, given, make, valuesOf } from "../dom.js";
import { confirm, openDialog } from "../dialog.js";
import { moment, value } from "../format.js";
import { linesInWords, notify } from "../notices.js";
import { action, Table } from "../table.js";

const tokens = new Table("token-table", {
  key: (token) => token.name,
  head: "name",
  show: {
    name: (token) => token.name,
    role: (token) => badge(token.role),
    actions: (token) => action("end", "Remove…", token.name),
  },
  actions: { end },
});

const audit = new Table("audit-table", {
  key: (entry) => `${entry.at} ${entry.actor} ${entry.action}`,
  show: {
    at: (entry) => make("time", { datetime: entry.at }, moment(entry.at)),
    actor: (entry) => [entry.actor, make("span", { class: "sub" }, entry.role)],
    action: (entry) => entry.action,
    target: (entry) => entry.target ?? "",
    status: (entry) => [
      badge(String(entry.status), entry.status < 400 ? "good" : "bad"),
      entry.problem ? make("span", { class: "sub" }, linesInWords(entry.problem)) : null,
    ],
    detail: (entry) => detailOf(entry),
  },
});

function detailOf({ before, after }) {
  const sides = { before, after };
  const parts = Object.keys(given(sides)).map((side) => `${side}: ${value(sides[side])}`);
  if (!parts.length) return "";
  return make(
    "details",
    {},
    make("summary", {}, "before and after"),
    parts.map((each) => make("div", { class: "code" }, each)),
  );
}

async function end(token) {
  const done = await confirm({
    title: `Remove the token ${token.name}?`,
    text: "Whoever holds it is let in no more.",
    action: "Remove",
    danger: true,
    submit: () => remove(`v1/tokens/${part(token.name)}`),
  });
  if (done) notify(`The token ${token.name} is removed`);
  look();
}

byId("add-token").addEventListener("click", async () => {
  const dialog = byId("new-token-dialog");
  const form = dialog.querySelector("form");
  form.reset();
  const made = await openDialog(dialog, {
    submit: () => {
      const { name, role } = valuesOf(form);
      return post("v1/tokens", { name: name ?? "", role });
    },
  });
  if (made) await showToken(made.token);
  look();
});

async function showToken(token) {
  showIt(token);
  await openDialog(byId("shown-token-dialog"));
  showIt("");
}

function showIt(token) {
  byId("shown-token").textContent = token;
  byId("copy-token").dataset.copy = token;
}

const look = () => document.dispatchEvent(new Event("look"));

export async function refresh() {
  const [log, known] = await Promise.all([get("v1/audit"), get("v1/tokens").catch(unlessTooSmall)]);
  audit.update(log.items);
  tokens.update(known.items);
}

/** Only an admin sees the tokens; the rest of the view is for everybody. */
function unlessTooSmall(error) {
  if (error instanceof Problem && error.status === 403) return { items: [] };
  throw error;
}
