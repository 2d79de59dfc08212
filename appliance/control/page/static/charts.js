/** The four charts of the gateway, which are those of each canister too, and the choice of how far back they reach. */

import { Chart } from "./chart.js";
import { count, duration, rate } from "./format.js";
import { ERRORS } from "./samples.js";

export const HOPS = {
  client_to_gateway: "client to gateway",
  gateway_to_ic: "gateway to IC",
  canister_to_polled: "canister to gateway",
  polled_to_written: "gateway to client",
};

/** Four charts in the figures whose ids begin with `prefix`. `connections` and `errors` are what they call those. */
export class Charts {
  constructor(prefix, { connections, errors = ERRORS }) {
    this.all = [
      new Chart(`${prefix}-sessions`, {
        series: [
          { name: "sessions", label: "open", area: true },
          { name: "connections", label: connections, thin: true },
        ],
        format: (value) => count(value, true),
        least: 1,
        idle: 4,
      }),
      new Chart(`${prefix}-messages`, {
        series: [
          { name: "up", label: "to canisters" },
          { name: "down", label: "to clients" },
        ],
        format: rate,
        idle: 4,
      }),
      new Chart(`${prefix}-latency`, {
        series: Object.entries(HOPS).map(([name, label]) => ({ name, label })),
        format: duration,
        idle: 0.1,
      }),
      new Chart(`${prefix}-errors`, {
        series: errors.map(([name, label]) => ({ name, label })),
        format: rate,
        idle: 4,
      }),
    ];
  }

  /** Show these samples, the oldest first. */
  update(samples) {
    for (const chart of this.all) chart.update(samples);
  }
}

/** Let a select choose the span in the address of its view, so that the address is one to pass on. */
export function chooseSpan(select, place) {
  select.addEventListener("change", () => {
    location.hash = `${place()}?span=${select.value}`;
  });
}

/** The span that an address names, or the shortest. */
export function spanIn({ span }, select) {
  const known = [...select.options].map(({ value }) => value);
  select.value = known.includes(span) ? span : known[0];
  return select.value;
}
