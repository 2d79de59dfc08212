/** Rate limits, and who runs into them. */

import { get } from "../api.js";
import { badge, byId, make, twoLines } from "../dom.js";
import { canisterLabel, count, duration, pace } from "../format.js";
import { Table } from "../table.js";

const MODES = { enforce: "good", shadow: "warn", off: "" };
const FILTERS = {
  connections_per_ip: (key) => ({ address: key }),
  frames_per_ip: (key) => ({ address: key }),
  tls_handshakes_per_ip: (key) => ({ address: key }),
  control_requests_per_ip: (key) => ({ address: key }),
  messages_per_client: (key) =>
    Object.fromEntries(
      key.split(" at ").map((part, index) => [["client", "canister"][index], part.replace(/^.* \((.*)\)$/, "$1")]),
    ),
};
const words = (name) => name.replaceAll("_", " ");

const limits = new Table("limit-table", {
  key: (limit) => `${limit.scope} ${limit.canister}`,
  head: "scope",
  show: {
    scope: (limit) => twoLines(words(limit.scope), canisterLabel(limit)),
    mode: (limit) => badge(limit.mode, MODES[limit.mode]),
    counted_by: (limit) => limit.counted_by,
    rate: (limit) => pace(limit.rate),
    burst: (limit) => count(limit.burst),
    keys: (limit) => count(limit.keys),
    allowed: (limit) => count(limit.allowed, true),
    limited: (limit) => count(limit.limited, true),
    shadowed: (limit) => count(limit.shadowed, true),
  },
});

const limited = new Table("limited-table", {
  key: (each) => `${each.scope} ${each.key}`,
  head: "key",
  show: {
    scope: (each) => words(each.scope),
    key: (each) => make("span", { class: "code" }, each.key),
    times: (each) => count(each.times),
    retry_after_s: (each) => duration(each.retry_after_s),
    find: (each) =>
      FILTERS[each.scope]
        ? make(
            "a",
            {
              href: `#sessions?${new URLSearchParams(FILTERS[each.scope](each.key))}`,
              "aria-label": `Sessions of ${each.key}`,
            },
            "find",
          )
        : "",
  },
});

export async function refresh() {
  const { items, problem } = await get("v1/limits");
  const alone = byId("limits-problem");
  alone.hidden = problem === null;
  alone.textContent = problem === null ? "" : `This node counts alone: ${problem}`;
  limits.update(items);
  limited.update(items.flatMap(({ scope, waiting }) => waiting.map((each) => ({ ...each, scope }))));
}
