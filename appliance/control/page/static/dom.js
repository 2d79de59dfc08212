/** Makes and finds elements. Text is always set as text: nothing that the API says can become markup. */

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** The heading of the view that is shown. */
export const heading = () => document.querySelector(".view:not([hidden]) h1:not([hidden] *)");

/** An element. Attributes that are null, undefined or false are left out; children may be text, nodes or lists. */
export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same, for drawings. */
export function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Set the text of an element, touching nothing where it says so already. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const written = new WeakMap();

/** Let a node hold this, touching nothing where it was given the same before: focus and opened details stay. */
export function put(node, ...content) {
  const fresh = make(node.localName, {}, ...content);
  if (written.get(node)?.isEqualNode(fresh)) return;
  written.set(node, fresh.cloneNode(true));
  const place = node.contains(document.activeElement) ? controls(node).indexOf(document.activeElement) : -1;
  node.replaceChildren(...fresh.childNodes);
  if (place >= 0) controls(node)[place]?.focus();
}

const controls = (node) => [...node.querySelectorAll("a[href], button, input, select, textarea, [tabindex]")];

/** A word with a colour: good, warn, bad or none. */
export const badge = (text, mood = "") => make("span", { class: `badge ${mood}`.trim() }, text);

/** Two lines, the second smaller. */
export const twoLines = (first, second) => (second ? [first, make("span", { class: "sub" }, second)] : [first]);

/** A key of the configuration, which may be broken where its parts meet. */
export const keyOf = (key) =>
  make(
    "code",
    {},
    key.split(/(?=[.[])/).flatMap((part) => [make("wbr"), part]),
  );

/** Names with values, as a `dl` has them: [[name, content], …]. */
export function showFacts(list, facts) {
  put(
    list,
    facts
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, ...value]) => make("div", {}, make("dt", {}, name), make("dd", {}, ...value.flat()))),
  );
}

/** What a form says: names with trimmed text, null where nothing was entered, numbers as numbers, ticks as booleans. */
export function valuesOf(form) {
  const values = {};
  for (const input of form.elements) {
    if (!input.name) continue;
    if (input.type === "checkbox") values[input.name] = input.checked;
    else if (input.value.trim() === "") values[input.name] = null;
    else values[input.name] = input.type === "number" ? Number(input.value) : input.value.trim();
  }
  return values;
}

/** Without the names that have no value. */
export const given = (values) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== undefined));
