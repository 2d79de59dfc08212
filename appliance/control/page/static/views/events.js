/** What happens, as it happens. */

import { badge, byId, make, say } from "../dom.js";
import { count, moment, shorten } from "../format.js";

const MOST = 300;
const MOST_TEXT = 200;
const MOODS = {
  "session.opened": "good",
  "session.closed": "",
  "connection.refused": "bad",
  limit: "warn",
  reload: "warn",
  drain: "warn",
  audit: "",
  lost: "bad",
};

const list = byId("event-list");
const form = byId("event-kinds");
const waiting = [];
let isPaused = false;
let isConnected = false;
let isDue = false;

/** An event has come. */
export function take(event) {
  waiting.push(event);
  while (waiting.length > MOST) waiting.shift();
  if (!isPaused) writeSoon();
  else note();
}

/** Whether there is a stream. */
export function setConnected(value) {
  isConnected = value;
  note();
}

function writeSoon() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    if (!isPaused) write();
  }, 200);
}

function write() {
  list.prepend(...waiting.splice(0).map(lineOf).reverse());
  while (list.children.length > MOST) list.lastElementChild.remove();
  note();
}

function lineOf({ at, kind, data }) {
  const line = make(
    "li",
    { "data-kind": kind },
    make("time", { class: "when", datetime: at }, moment(at)),
    make("span", {}, badge(kind, MOODS[kind] ?? "")),
    make("p", {}, sentenceOf(data)),
  );
  line.hidden = !isWanted(kind);
  return line;
}

/** The facts in a line; what names a session leads to it. */
function sentenceOf(data) {
  return Object.entries(data)
    .filter(([name, value]) => value !== null && value !== "" && name !== "at")
    .flatMap(([name, value], index) => {
      const text = typeof value === "object" ? JSON.stringify(value) : String(value);
      const link = { href: `#sessions/${encodeURIComponent(text)}` };
      const shown =
        name === "session"
          ? make("a", link, text)
          : make("span", { title: text }, shorten(text, name === "client" ? 24 : MOST_TEXT));
      return [index ? ", " : "", `${name.replaceAll("_", " ")} `, shown];
    });
}

const isWanted = (kind) => form.elements[kind]?.checked ?? true;

function note() {
  const held = isPaused && waiting.length ? `${count(waiting.length)} more wait` : "";
  const empty = list.children.length ? "" : "Nothing has happened yet";
  say(byId("event-note"), isConnected ? held || empty : "No stream of events; trying again");
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", () => {
  for (const line of list.children) line.hidden = !isWanted(line.dataset.kind);
});
byId("pause-events").addEventListener("click", (event) => {
  isPaused = !isPaused;
  event.currentTarget.setAttribute("aria-pressed", String(isPaused));
  if (!isPaused) write();
  note();
});
byId("clear-events").addEventListener("click", () => {
  list.replaceChildren();
  note();
});
