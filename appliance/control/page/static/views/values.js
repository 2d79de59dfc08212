/** Every value of the configuration, and where it is from. */

import { byId, keyOf, make } from "../dom.js";
import { value } from "../format.js";
import { Table } from "../table.js";

const find = byId("find-value");
let rows = [];

const table = new Table("value-table", {
  key: (row) => row.key,
  head: "key",
  show: {
    key: (row) => keyOf(row.key),
    value: (row) => make("span", { class: "new" }, value(row.value)),
    origin: (row) => row.origin,
  },
});

/** Show those of a configuration. */
export function showValues({ values, origins, file }) {
  rows = flatten(values).map(([key, of]) => ({ key, value: of, origin: short(originOf(key, origins), file) }));
  write();
}

/** Nested values as [key, value], keys written as the API writes them: `canisters[bkyz2-…].polling.timeout`. */
export function flatten(values, above = "") {
  return Object.entries(values).flatMap(([name, of]) => {
    const key = above ? `${above}.${name}` : name;
    if (Array.isArray(of) && of.length && of.every(isSection)) {
      return of.flatMap((each, index) => flatten(each, `${key}[${each.id ?? each.name ?? index}]`));
    }
    return isSection(of) && Object.keys(of).length ? flatten(of, key) : [[key, of]];
  });
}

const isSection = (of) => of !== null && typeof of === "object" && !Array.isArray(of);

/** Of the key, or of what it is part of. */
function originOf(key, origins) {
  for (let part = key; part; part = part.replace(/(\.[^.[\]]*|\[[^\]]*\]|^[^.[]*)$/, "")) {
    if (origins[part]) return origins[part];
  }
  return "default";
}

/** Without the folders of the file, which are the same everywhere. */
const short = (origin, file) =>
  file && origin.startsWith(file) ? file.split("/").pop() + origin.slice(file.length) : origin;

function write() {
  const wanted = find.value.trim().toLowerCase();
  table.update(rows.filter((row) => `${row.key} ${value(row.value)} ${row.origin}`.toLowerCase().includes(wanted)));
}

find.addEventListener("input", write);
