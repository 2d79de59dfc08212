/** What close codes mean, in the words that the document has for them. */

import { byId } from "./dom.js";

const entries = new Map(
  [...byId("close-meanings").querySelectorAll("dt")].map((term) => [Number(term.textContent), term]),
);

/** A few words, and whether a client with this code may come back. */
export const meaningOf = (code) => entries.get(code)?.nextElementSibling.textContent ?? "a code of the client's own";

/** Whether a code is that of an ordinary end. */
export const isNormal = (code) => entries.get(code)?.dataset.normal !== undefined;
