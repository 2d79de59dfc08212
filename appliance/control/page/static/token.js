/** The token of whoever looks at the page: asked for once, kept until the tab is closed. */

import { byId } from "./dom.js";
import { openDialog } from "./dialog.js";

const KEY = "icws.token";
let current = sessionStorage.getItem(KEY);
let asking = null;
let refused = false;

/** The token, null without one. */
export const token = () => current;

/** Whether one was asked for and not given. */
export const isMissing = () => refused;

/**
 * Get another token than the one that was used, or none instead of a wrong one: over a Unix socket none is needed.
 * Resolves to whether it is worth trying again. `why` is what the API said.
 */
export function askForToken(used, why) {
  if (used !== current) return Promise.resolve(true);
  if (refused) return Promise.resolve(false);
  asking ??= ask(used, used ? why : "").finally(() => {
    asking = null;
  });
  return asking;
}

/** Ask again, after it was not given. */
export function giveToken() {
  refused = false;
  announceChange();
}

/** Go on without it. */
export function forgetToken() {
  keep(null);
  refused = false;
  announceChange();
}

async function ask(used, why) {
  const dialog = byId("token-dialog");
  const input = dialog.querySelector("input");
  input.value = "";
  const entered = await openDialog(dialog, { problem: why, submit: () => input.value.trim() || null });
  keep(entered);
  input.value = "";
  refused = entered === null && used === null;
  announceChange();
  return !refused;
}

function keep(text) {
  current = text;
  if (text === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, text);
}

const announceChange = () => document.dispatchEvent(new Event("token"));
