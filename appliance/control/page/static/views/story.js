/** One session: what it is, and what happened in it. */

import { EVERY_NODE, get, part, Problem } from "../api.js";
import { isNormal, meaningOf } from "../close_codes.js";
import { badge, byId, make, put, say, showFacts } from "../dom.js";
import { bytes, count, duration, moment } from "../format.js";
import { closeSessions } from "./close_sessions.js";

const MOODS = {
  joined: "good",
  opened: "good",
  turned_away: "bad",
  failed: "bad",
  limited: "warn",
  doubted: "warn",
  closing: "warn",
  ended: "warn",
};

let id = null;
let isClosed = false;

/** Begin with another session. */
export function enterStory(session) {
  if (session !== id) {
    put(byId("moments"));
    put(byId("session-facts"));
    put(byId("story-summary"));
  }
  id = session;
  isClosed = false;
  say(byId("story-title"), `Session ${id}`);
  say(byId("story-note"), "");
}

/** Look again, unless it is over. */
export async function refreshStory() {
  if (isClosed) return;
  const asked = id;
  const [session, story] = await Promise.all([
    get(`v1/sessions/${part(asked)}`, { node: EVERY_NODE }).catch(unlessGone),
    get(`v1/sessions/${part(asked)}/story`, { node: EVERY_NODE }),
  ]);
  if (asked !== id) return;
  isClosed = story.closed;
  byId("close-session").hidden = isClosed;
  put(byId("story-summary"), ...story.summary.map((each) => `${each} `));
  showFacts(byId("session-facts"), session ? factsOf(session) : factsOfClosed(story));
  showMoments(story);
}

function unlessGone(error) {
  if (error instanceof Problem && error.status === 404) return null;
  throw error;
}

function factsOf(session) {
  return [
    ["State", badge(session.state, session.state === "open" ? "good" : "warn")],
    ...nodeOf(session),
    ["Canister", session.canister_name, " ", session.canister && make("code", {}, session.canister)],
    ["Client", session.client && make("code", {}, session.client)],
    ["Wire generation", session.generation],
    ["Address", session.address],
    ["Path", make("code", {}, session.path)],
    ["Connected", moment(session.connected_at), `, ${duration(session.age_s)} ago`],
    ["From the client", `${count(session.frames_in)} messages, ${bytes(session.bytes_in)}`],
    ["To the client", `${count(session.delivered)} messages, ${bytes(session.bytes_out)}`],
    ["Waiting for the IC", count(session.waiting_calls)],
    ["Waiting for the client", bytes(session.waiting_bytes)],
  ];
}

const nodeOf = ({ node }) => (node ? [["Node", node]] : []);

const factsOfClosed = (story) => [
  [
    "State",
    badge("closed", story.close_code === null || isNormal(story.close_code) ? "" : "bad"),
    story.close_code === null ? "" : ` with code ${story.close_code}: ${meaningOf(story.close_code)}`,
  ],
  ...nodeOf(story),
  ["Canister", story.canister_name, " ", story.canister && make("code", {}, story.canister)],
  ["Client", story.client && make("code", {}, story.client)],
  ["Wire generation", story.generation],
  ["Address", story.address],
  ["Path", story.path && make("code", {}, story.path)],
];

function showMoments({ moments, dropped }) {
  const first = moments[0];
  say(byId("story-note"), dropped ? `${count(dropped)} moments in between are forgotten.` : "");
  put(
    byId("moments"),
    moments.map((each) =>
      make(
        "li",
        {},
        make(
          "time",
          { class: "when", datetime: each.at },
          moment(each.at, { fine: true }),
          make("span", { class: "since" }, since(each, first)),
        ),
        make("span", {}, badge(each.kind.replaceAll("_", " "), moodOf(each))),
        make("div", {}, make("p", {}, each.sentence), make("small", {}, inOneLine(each.facts))),
      ),
    ),
  );
}

const moodOf = ({ kind, facts }) => (kind === "ended" && isNormal(facts.code) ? "" : (MOODS[kind] ?? ""));

const since = (each, first) => `+${duration((Date.parse(each.at) - Date.parse(first.at)) / 1000)}`;

const inOneLine = (facts) =>
  Object.entries(facts)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join("  ");

byId("with-facts").addEventListener("change", ({ target }) =>
  byId("moments").classList.toggle("with-facts", target.checked),
);
byId("close-session").addEventListener("click", () => closeSessions({ id }));
