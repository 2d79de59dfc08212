/** The dialog that closes sessions. A module of its own, because both the list and the view of one session open it. */

import { EVERY_NODE, post } from "../api.js";
import { byId, given, valuesOf } from "../dom.js";
import { openDialog } from "../dialog.js";
import { many, without } from "../format.js";
import { notify } from "../notices.js";

const CLOSE = `v1/sessions/close?node=${encodeURIComponent(EVERY_NODE)}`;
const WORDS = { id: "session", min_age_s: "at least this old in seconds" };

/** Close the sessions that match a filter, after showing how many they are. */
export async function closeSessions(wanted) {
  const dialog = byId("close-dialog");
  const [inside, button, said] = [
    dialog.querySelector("form"),
    dialog.querySelector("[type=submit]"),
    byId("close-count"),
  ];
  inside.reset();
  byId("close-filter").textContent = inWords(wanted);
  said.textContent = "";
  button.textContent = "Count them";
  let counted = 0;
  const closed = await openDialog(dialog, {
    submit: async (signal) => {
      const { code, reason } = valuesOf(inside);
      const order = given({ filter: wanted, code: Number(code), reason });
      if (counted) return post(CLOSE, { ...order, dry_run: false });
      const { matched, missing } = await post(CLOSE, { ...order, dry_run: true });
      if (signal.aborted) return undefined;
      const found = matched ? `${many(matched, "session")} would be closed.` : "No session matches.";
      said.textContent = [found, ...without(missing).map((each) => `${each}.`)].join(" ");
      counted = matched;
      if (counted) button.textContent = `Close ${many(matched, "session")}`;
      return undefined;
    },
  });
  if (closed) notify([`${many(closed.closed, "session")} closed`, ...without(closed.missing)].join("; "));
  document.dispatchEvent(new Event("look"));
}

function inWords(wanted) {
  const parts = Object.entries(wanted).map(([name, value]) => `${WORDS[name] ?? name} ${value}`);
  return parts.length ? `Sessions with ${parts.join(", ")}.` : "No filter is set, so this matches every session.";
}
