/** The list of sessions: filter, pages, and the buttons that close them. story.js shows one session. */

import { EVERY_NODE, get, part } from "../api.js";
import { badge, byId, given, make, twoLines, valuesOf } from "../dom.js";
import { bytes, count, duration, many, shorten, without } from "../format.js";
import { Table } from "../table.js";
import { suggestAll } from "./canisters.js";
import { closeSessions } from "./close_sessions.js";
import { enterStory, refreshStory } from "./story.js";

const PAGE = 50;
const STATES = { open: "good", opening: "warn", hello: "", new: "" };

const form = byId("session-filter");
let filter = {};
let pages = [null];
let next = null;
let story = null;

const table = new Table("session-table", {
  key: (session) => session.id,
  head: "id",
  show: {
    id: (session) => {
      const link = make("a", { href: `#sessions/${part(session.id)}`, class: "code" }, session.id);
      return twoLines(link, session.node && `node ${session.node}`);
    },
    state: (session) => [badge(session.state, STATES[session.state]), " ", session.generation],
    canister: (session) =>
      session.canister_name
        ? twoLines(session.canister_name, shorten(session.canister, 17))
        : shorten(session.canister ?? "", 17),
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
  if (JSON.stringify(given(valuesOf(form))) !== JSON.stringify(filter)) show([null]);
  filter = given(valuesOf(form));
}

export const refresh = () => (story === null ? refreshList() : refreshStory());

async function refreshList() {
  const asked = pages; // another list for each filter and each page
  const found = await get("v1/sessions", { ...filter, limit: PAGE, after: asked.at(-1), node: EVERY_NODE });
  if (asked !== pages) return;
  table.update(found.items);
  next = found.next;
  byId("next-page").disabled = next === null;
  byId("first-page").disabled = pages.length === 1;
  const where = pages.length > 1 || next ? `Page ${pages.length}` : many(found.items.length, "session");
  byId("page-note").textContent = [where, ...without(found.missing)].join("; ");
}

function show(list) {
  pages = list;
  next = null; // until the answer says what follows this page
}

function turnTo(list) {
  show(list);
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

byId("close-sessions").addEventListener("click", () => closeSessions(given(valuesOf(form))));
