/** Talks to the API. A request that is not answered as it was meant raises Problem, with the API's own sentences. */

import { askForToken, token } from "./token.js";

/** What the API answered instead (RFC 9457). */
export class Problem extends Error {
  constructor(details) {
    super(details.detail || details.title);
    this.kind = String(details.type ?? "")
      .split(":")
      .pop();
    this.title = details.title;
    this.status = details.status;
    this.faults = details.errors ?? [];
  }
}

/** There was no answer. */
export class Unreachable extends Error {
  constructor() {
    super("The control plane does not answer.");
    this.faults = [];
  }
}

/** The answer to a request, as it came. Asks for a token where one is needed. */
export async function send(method, path, { query = {}, body, headers = {}, signal } = {}) {
  for (;;) {
    const used = token();
    const response = await fetch(address(path, query), {
      method,
      headers: {
        ...headers,
        ...(used && { Authorization: `Bearer ${used}` }),
        ...(body && { "Content-Type": "application/json" }),
      },
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      signal,
    }).catch((error) => {
      throw signal?.aborted ? error : new Unreachable();
    });
    if (response.status !== 401) return response;
    const problem = await problemOf(response);
    if (!(await askForToken(used, problem.message))) throw problem;
  }
}

/** What a request is answered with: the object that its JSON holds. */
async function call(method, path, options) {
  const response = await send(method, path, options);
  if (!response.ok) throw await problemOf(response);
  return response.json().catch(() => {
    throw new Unreachable();
  });
}

const asked = new Set(); // changes that are not answered yet
const made = new Set();

/** The same where it may change something. */
function change(method, path, options) {
  const answered = call(method, path, options).then((answer) => {
    made.add(outcomeOf(answer.applied ?? answer));
    return answer;
  });
  asked.add(answered);
  return answered.finally(() => asked.delete(answered));
}

/** Whether this outcome of a reload is that of a change by this page. A refusal leaves the revision that ran before. */
export async function isMade(reload) {
  const answers = await Promise.allSettled(asked);
  if (reload.result === "rejected") return answers.some(({ status }) => status === "rejected");
  return made.has(outcomeOf(reload));
}

const outcomeOf = ({ result, generation }) => `${result} ${generation}`;

export const get = (path, query) => call("GET", path, { query });
export const post = (path, body = {}, headers) => change("POST", path, { body, headers });
export const put = (path, body) => change("PUT", path, { body });
export const remove = (path, query) => change("DELETE", path, { query });

/** What the API calls all nodes of a cluster. A gateway without one is its only node. */
export const EVERY_NODE = "*";

/** Part of a path. */
export const part = (text) => encodeURIComponent(text);

/** What such a part stands for; the text as it is where it stands for nothing. */
export function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function address(path, query) {
  const url = new URL(path, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) if (each !== null && each !== undefined) url.searchParams.append(name, each);
  }
  return url;
}

/** The problem that a response tells of. */
export async function problemOf(response) {
  const text = await response.text().catch(() => "");
  try {
    return new Problem(JSON.parse(text));
  } catch {
    return new Problem({ status: response.status, title: response.statusText || `HTTP ${response.status}` });
  }
}
