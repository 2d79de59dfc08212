/** The sessions: found, paged through, closed. One of them, with its story, is story.js. */

import { get, part, post } from "../api.js";
import { badge, byId, given, make, twoLines, valuesOf } from "../dom.js";
import { openDialog } from "../dialog.js";
import { bytes, count, duration, many, shorten } from "../format.js";
import { tell } from "../news.js";
import { Table } from "../table.js";
import { suggestAll } from "./canisters.js";
import { enterStory, refreshStory } from "./story.js";

const PAGE = 50;
const STATES = { open: "good", opening: "warn", hello: "", new: "" };
const WORDS = { id: "session", min_age_s: "at least this old in seconds" };

const form = byId("session-filter");
let filter = {};
let pages = [null];
let next = null;
let story = null;

const table = new Table("session-table", {
  key: (session) => session.id,
  head: "id",
  show: {
    id: (session) => make("a", { href: `#sessions/${part(session.id)}`, class: "code" }, session.id),
    state: (session) => [badge(session.state, STATES[session.state]), " ", session.generation],
    canister: (session) => (session.canister ? (session.canister_name ?? shorten(session.canister, 17)) : ""),
    client: (session) =>
      session.client ? make("span", { class: "code", title: session.client }, shorten(session.client, 18)) : "",
    address: (session) => session.address,
    age: (session) => duration(session.age_s),
    in: (session) => twoLines(count(session.frames_in), bytes(session.bytes_in)),
    out: (session) => twoLines(count(session.delivered), bytes(session.bytes_out)),
    waiting: (session) => waitingOf(session),
  },
});

function waitingOf({ waiting_bytes, waiting_calls }) {
  const parts = [waiting_calls && many(waiting_calls, "call"), waiting_bytes && bytes(waiting_bytes)].filter(Boolean);
  return parts.join(", ");
}

export function enter({ path, query }) {
  story = path[0] ?? null;
  byId("session-list").hidden = story !== null;
  byId("session-story").hidden = story === null;
  if (story !== null) {
    enterStory(story);
    return;
  }
  suggestAll();
  for (const input of form.elements) if (input.name) input.value = query[input.name] ?? "";
  if (JSON.stringify(given(valuesOf(form))) !== JSON.stringify(filter)) pages = [null];
  filter = given(valuesOf(form));
}

export const refresh = () => (story === null ? refreshList() : refreshStory());

async function refreshList() {
  const asked = pages.at(-1);
  const found = await get("v1/sessions", { ...filter, limit: PAGE, after: asked });
  if (asked !== pages.at(-1)) return;
  table.update(found.items);
  next = found.next;
  byId("next-page").disabled = next === null;
  byId("first-page").disabled = pages.length === 1;
  byId("page-note").textContent =
    pages.length > 1 || next ? `Page ${pages.length}` : many(found.items.length, "session");
}

function turnTo(list) {
  pages = list;
  document.dispatchEvent(new Event("look"));
}

byId("next-page").addEventListener("click", () => next && turnTo([...pages, next]));
byId("first-page").addEventListener("click", () => turnTo([null]));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  seek(given(valuesOf(form)));
});
form.addEventListener("reset", () => seek({}));

function seek(wanted) {
  const query = new URLSearchParams(wanted).toString();
  const hash = query ? `#sessions?${query}` : "#sessions";
  if (hash === location.hash) turnTo([null]);
  else location.hash = hash;
}

byId("close-sessions").addEventListener("click", () => close(given(valuesOf(form))));

/** Close the sessions that fit; they are counted first. */
export async function close(wanted) {
  const dialog = byId("close-dialog");
  const [inside, button, said] = [
    dialog.querySelector("form"),
    dialog.querySelector("[type=submit]"),
    byId("close-count"),
  ];
  inside.reset();
  byId("close-filter").textContent = inWords(wanted);
  said.textContent = "";
  button.textContent = "Count them";
  let counted = 0;
  const closed = await openDialog(dialog, {
    submit: async () => {
      const { code, reason } = valuesOf(inside);
      const order = given({ filter: wanted, code: Number(code), reason });
      if (counted) return post("v1/sessions/close", { ...order, dry_run: false });
      const { matched } = await post("v1/sessions/close", { ...order, dry_run: true });
      said.textContent = matched ? `${many(matched, "session")} would be closed.` : "No session fits.";
      counted = matched;
      if (counted) button.textContent = `Close ${many(matched, "session")}`;
      return undefined;
    },
  });
  if (closed) tell(`${many(closed.closed, "session")} closed`);
  document.dispatchEvent(new Event("look"));
}

function inWords(wanted) {
  const parts = Object.entries(wanted).map(([name, value]) => `${WORDS[name] ?? name} ${value}`);
  return parts.length ? `Sessions with ${parts.join(", ")}.` : "No filter is set, so this would mean every session.";
}
