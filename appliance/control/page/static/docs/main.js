/** The description of the API, with a form for every operation. Made of /openapi.json, as other tools are. */

import { decoded, get } from "../api.js";
import { byId, make, put } from "../dom.js";
import { showProblem } from "../notices.js";
import { forgetToken, token } from "../token.js";
import { operationNode, paragraphs } from "./operation.js";
import { Schemas } from "./schema.js";

/** The operations of a description, by tag, in its order. */
function byTag({ paths, components }) {
  const schemas = new Schemas(components);
  const tags = new Map();
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, declared] of Object.entries(methods)) {
      const [tag = "others"] = declared.tags ?? [];
      tags.set(tag, [...(tags.get(tag) ?? []), { method, path, declared, schemas }]);
    }
  }
  return tags;
}

function show(description) {
  put(byId("description"), paragraphs(description.info.description));
  const tags = [...byTag(description)];
  put(
    byId("tags"),
    tags.map(([tag]) => make("li", {}, make("a", { href: `#tag-${tag}` }, tag))),
  );
  byId("operations").replaceChildren(
    ...tags.map(([tag, operations]) =>
      make(
        "section",
        { "aria-labelledby": `tag-${tag}` },
        make("h2", { id: `tag-${tag}`, tabindex: -1 }, tag),
        operations.map(operationNode),
      ),
    ),
  );
}

/** Unfold the operation that the address names, or go to its tag. */
function goTo() {
  const target = document.getElementById(decoded(location.hash.slice(1)));
  if (!target?.closest("#operations")) return;
  if (target.localName === "details") target.open = true;
  target.scrollIntoView();
  (target.querySelector("summary") ?? target).focus();
}

/** Show only what has all the words that are looked for. */
function find() {
  const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of byId("operations").children) {
    const all = [...section.querySelectorAll(".operation")];
    for (const each of all) {
      const text = `${each.id} ${each.querySelector("summary").textContent}`.toLowerCase();
      each.hidden = !words.every((word) => text.includes(word));
    }
    section.hidden = all.every(({ hidden }) => hidden);
  }
}

const showToken = () => {
  byId("forget-token").hidden = token() === null;
};

document.addEventListener("token", showToken);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("title").focus();
});
byId("forget-token").addEventListener("click", forgetToken);
byId("find").addEventListener("input", find);
addEventListener("hashchange", goTo);
showToken();
try {
  show(await get("openapi.json"));
  goTo();
} catch (error) {
  showProblem(byId("problem"), error);
}
