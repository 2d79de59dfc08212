/** Plugins, and how they do. */

import { get } from "../api.js";
import { badge, make } from "../dom.js";
import { count } from "../format.js";
import { Table } from "../table.js";

const MOODS = { on: "good", failing: "warn", off: "bad" };

const table = new Table("plugin-table", {
  key: (plugin) => plugin.name,
  head: "name",
  show: {
    name: (plugin) => plugin.name,
    state: (plugin) => badge(plugin.state, MOODS[plugin.state] ?? ""),
    hooks: (plugin) => plugin.hooks.join(", "),
    calls: (plugin) => count(plugin.calls, true),
    failures: (plugin) => count(plugin.failures),
    slow: (plugin) => count(plugin.slow),
    source: (plugin) => make("span", { class: "code" }, plugin.source),
    last_error: (plugin) => plugin.last_error ?? "",
  },
});

export async function refresh() {
  table.update((await get("v1/plugins")).items);
}
