/** One operation of the API: what it does, a form that sends it, and what came back. */

import { send } from "../api.js";
import { badge, make } from "../dom.js";
import { attempt, notify, showProblem } from "../notices.js";
import { token } from "../token.js";
import { commandOf, requestOf } from "./request.js";

const MOST_SHOWN = 200_000;
const CHANGES = ["post", "put", "delete"];

/** An element that unfolds to all of it. `declared` is the operation of the description, `schemas` are all of it. */
export function operationNode({ method, path, declared, schemas }) {
  const title = make(
    "summary",
    {},
    badge(method.toUpperCase(), CHANGES.includes(method) ? "warn" : "good"),
    " ",
    make("code", {}, path),
    make("span", { class: "sentence" }, coded(firstSentence(declared))),
  );
  const node = make("details", { class: "operation", id: declared.operationId }, title);
  node.addEventListener(
    "toggle",
    () => node.children.length === 1 && node.append(...partsOf({ method, path, declared, schemas })),
  );
  return node;
}

const firstSentence = ({ description = "" }) => description.split(/\n\n|(?<=\.)\s/)[0];

function partsOf(operation) {
  const { declared, schemas } = operation;
  return [
    ...paragraphs(declared.description ?? ""),
    formOf(operation),
    make("h3", {}, "Answers"),
    ...Object.entries(declared.responses).map(([status, answer]) => answerOf(status, answer, schemas)),
  ];
}

/** Text with what stands in backticks as code. */
const coded = (text) => text.split(/`+([^`]+)`+/).map((part, index) => (index % 2 ? make("code", {}, part) : part));

/** The paragraphs of a description. */
export const paragraphs = (text) =>
  text
    .trim()
    .split(/\n\s*\n/)
    .map((each) => make("p", {}, coded(each)));

function answerOf(status, { description, content = {} }, schemas) {
  const [{ schema } = {}] = Object.values(content);
  const rows = schema ? schemas.rows(schema) : [];
  const line = [make("strong", {}, status), " ", status < 300 ? (schema?.$ref?.split("/").pop() ?? "") : description];
  if (!rows.length || status >= 300) return make("p", {}, line);
  return make("details", {}, make("summary", {}, line), fieldTable(rows, `Fields of the answer ${status}`));
}

const fieldTable = (rows, caption) =>
  make(
    "div",
    { class: "table", tabindex: 0, role: "region", "aria-label": caption },
    make(
      "table",
      {},
      make("caption", { class: "unseen" }, caption),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          ["Field", "Type", "Meaning"].map((each) => make("th", { scope: "col" }, each)),
        ),
      ),
      make(
        "tbody",
        {},
        rows.map(({ name, type, isRequired, note }) =>
          make(
            "tr",
            {},
            make(
              "th",
              { scope: "row" },
              make("code", {}, name),
              isRequired ? "" : make("span", { class: "sub" }, "optional"),
            ),
            make("td", {}, type),
            make("td", {}, coded(note)),
          ),
        ),
      ),
    ),
  );

// --- the form ---

function formOf({ method, path, declared, schemas }) {
  const parameters = (declared.parameters ?? []).map((each) => ({
    ...each,
    isList: schemas.choices(each.schema).some(({ type }) => type === "array"),
  }));
  const body = declared.requestBody?.content["application/json"]?.schema;
  const alert = make("div", { class: "alert", role: "alert" });
  const shown = make("div", { class: "answer", role: "status" });
  const isChange = CHANGES.includes(method);
  const sender = make(
    "button",
    { type: "submit", class: isChange ? "danger" : "primary" },
    isChange ? "Send: it changes this gateway" : "Send",
  );
  const copier = make("button", { type: "button" }, "Copy as curl");
  const form = make(
    "form",
    { novalidate: true },
    parameters.length
      ? make(
          "div",
          { class: "fields" },
          parameters.map((each) => fieldOf(each, schemas)),
        )
      : null,
    body ? [bodyOf(body, declared.operationId, schemas), fieldTable(schemas.rows(body), "Fields of the body")] : null,
    make("div", { class: "actions" }, sender, copier),
    alert,
    shown,
  );
  const request = () => requestOf({ method, path, parameters, hasBody: Boolean(body) }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    showProblem(alert, null);
    shown.replaceChildren();
    sender.disabled = true;
    await sendAndShow(request, shown).catch((error) => showProblem(alert, error));
    sender.disabled = false;
  });
  copier.addEventListener("click", () =>
    attempt(() => copy(commandOf(request(), { origin: location.origin, hasToken: token() !== null }))),
  );
  return form;
}

function fieldOf({ name, schema, required, description }, schemas) {
  const values = schemas.values(schema) ?? (schemas.inWords(schema) === "true or false" ? ["true", "false"] : null);
  const input = values
    ? make(
        "select",
        { name },
        [...(required ? [] : [""]), ...values].map((each) => make("option", { value: each }, each)),
      )
    : make("input", { name, autocomplete: "off", spellcheck: "false", placeholder: schema.default ?? "" });
  const note = schemas.noteOf({ description, ...schema });
  return make(
    "label",
    { class: "field" },
    make("span", {}, required ? name : `${name} (optional)`),
    input,
    note ? make("small", {}, coded(note)) : null,
  );
}

function bodyOf(schema, id, schemas) {
  const example = JSON.stringify(schemas.example(schema), null, 2);
  const text = make("textarea", {
    name: "body",
    rows: Math.min(20, example.split("\n").length + 1),
    spellcheck: "false",
    id: `${id}-body`,
  });
  text.value = example;
  return make("label", { class: "field" }, make("span", {}, "Body, JSON"), text);
}

async function copy(text) {
  await navigator.clipboard.writeText(text);
  notify("Copied");
}

// --- the answer ---

async function sendAndShow(request, shown) {
  const { method, path, ...rest } = request();
  const stop = new AbortController();
  const started = performance.now();
  const text = make("pre", { tabindex: 0, "aria-label": "Answer" });
  const stopper = make("button", { type: "button", hidden: true }, "Stop");
  stopper.addEventListener("click", () => stop.abort());
  shown.replaceChildren(make("p", {}, "Waiting for the answer…"));
  const response = await send(method, path, { ...rest, signal: stop.signal }).catch((error) => {
    shown.replaceChildren();
    throw error;
  });
  const took = `${Math.round(performance.now() - started)} ms`;
  shown.replaceChildren(
    make(
      "p",
      {},
      badge(String(response.status), response.ok ? "good" : "bad"),
      ` ${response.statusText} after ${took}`,
      " ",
      stopper,
    ),
    text,
  );
  if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
    stopper.hidden = false;
    await showStream(response, text).catch((error) => {
      if (!stop.signal.aborted) throw error;
    });
    stopper.hidden = true;
  } else text.textContent = pretty(await response.text());
}

/** Events as they come, until somebody stops them. */
async function showStream(response, text) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text.textContent = (text.textContent + value).slice(-MOST_SHOWN);
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2).slice(0, MOST_SHOWN);
  } catch {
    return text.slice(0, MOST_SHOWN);
  }
}
