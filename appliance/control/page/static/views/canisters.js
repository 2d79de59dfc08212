/** The canisters: who is there, how they are polled, and what can be done about it. */

import { get, part, post, remove } from "../api.js";
import { badge, byId, given, make, put, twoLines, valuesOf } from "../dom.js";
import { confirm, openDialog } from "../dialog.js";
import { count, duration, many, rate } from "../format.js";
import { attempt, notify } from "../notices.js";
import { action, Table } from "../table.js";
import { enterCanister, MOODS, refreshCanister } from "./canister.js";

const GENERATIONS = ["v0", "v1", "v2"];

let isOne = false;

const agoOf = (seconds) => (seconds === null ? "none yet" : `${duration(seconds)} ago`);
const nameOf = (canister) => canister.name ?? canister.id;

const table = new Table("canister-table", {
  key: (canister) => canister.id,
  head: "canister",
  show: {
    canister: (canister) => [
      make("a", { href: `#canisters/${part(canister.id)}` }, nameOf(canister)),
      canister.name ? make("span", { class: "sub" }, canister.id) : null,
      canister.listed ? null : make("span", { class: "sub" }, "not listed"),
    ],
    state: (canister) => badge(canister.state, MOODS[canister.state]),
    generation: (canister) => canister.generation.join(", "),
    clients: (canister) => [
      make(
        "a",
        {
          href: `#sessions?canister=${part(canister.id)}`,
          "aria-label": `${many(canister.clients, "client")} of ${nameOf(canister)}`,
        },
        count(canister.clients),
      ),
      canister.max_clients ? ` of ${count(canister.max_clients)}` : null,
    ],
    waiting_calls: (canister) => count(canister.waiting_calls),
    lag: ({ polling }) => (polling ? twoLines(agoOf(polling.lag_s), `next nonce ${count(polling.next_nonce)}`) : ""),
    polls: ({ polling }) => (polling ? rate(polling.polls_per_message) : ""),
    error: ({ polling }) =>
      polling?.last_error
        ? [
            polling.last_error,
            polling.failures ? make("span", { class: "sub" }, `${count(polling.failures)} in a row`) : null,
          ]
        : "",
    actions: (canister) =>
      make(
        "div",
        { class: "actions-cell" },
        canister.listed
          ? [
              canister.state === "paused"
                ? action("resume", "Resume", nameOf(canister))
                : action("pause", "Pause", nameOf(canister)),
              action("drain", "Drain", nameOf(canister)),
              action("end", "Remove…", nameOf(canister)),
            ]
          : action("drain", "Drain", nameOf(canister)),
      ),
  },
  actions: {
    pause: (canister) => turn(canister, "pause", "Paused"),
    resume: (canister) => turn(canister, "resume", "Resumed"),
    drain: (canister) => {
      location.hash = `drain?canister=${part(nameOf(canister))}`;
    },
    end,
  },
});

const turn = (canister, what, done) =>
  attempt(async () => {
    await post(`v1/canisters/${part(canister.id)}/${what}`);
    notify(`${done} ${nameOf(canister)}`);
    look();
  });

async function end(canister) {
  const [save, force] = [tick("Remove it from the file too"), tick("Although it is the last one and has sessions")];
  force.hidden = true;
  const path = `v1/canisters/${part(canister.id)}`;
  const done = await confirm({
    title: `Remove ${nameOf(canister)}?`,
    text: [
      `${many(canister.clients, "client")} of it will be closed at a pace, and told not to come back.`,
      save,
      force,
    ],
    action: "Remove",
    danger: true,
    submit: () =>
      remove(path, { save: isTicked(save), force: isTicked(force) }).catch((error) => {
        if (error.kind === "force-needed") force.hidden = false;
        throw error;
      }),
  });
  if (done) notify(`Removed ${nameOf(canister)}`);
  look();
}

const tick = (label) => make("label", { class: "tick" }, make("input", { type: "checkbox" }), make("span", {}, label));
const isTicked = (label) => label.querySelector("input").checked;

byId("add-canister").addEventListener("click", async () => {
  const dialog = byId("canister-dialog");
  const form = dialog.querySelector("form");
  form.reset();
  const added = await openDialog(dialog, { submit: () => post("v1/canisters", requestOf(valuesOf(form))) });
  if (added) notify(`Added ${added.canister}`);
  look();
});

function requestOf({ id, name, max_clients, paused, save, ...rest }) {
  return given({ id: id ?? "", name, max_clients, paused, save, generation: GENERATIONS.filter((each) => rest[each]) });
}

const look = () => document.dispatchEvent(new Event("look"));

export function enter({ path, query }) {
  isOne = path.length > 0;
  byId("canister-list").hidden = isOne;
  byId("canister-shown").hidden = !isOne;
  if (isOne) enterCanister(path[0], query);
}

export const refresh = () => (isOne ? refreshCanister() : refreshList());

async function refreshList() {
  const { items } = await get("v1/canisters");
  table.update(items);
  suggest(items);
}

/** Let forms that ask for a canister offer these. */
export const suggest = (items) =>
  put(
    byId("canister-names"),
    items.map((each) => make("option", { value: nameOf(each) })),
  );

/** The same, asked for now. */
export const suggestAll = () =>
  get("v1/canisters").then(
    ({ items }) => suggest(items),
    () => null,
  );
