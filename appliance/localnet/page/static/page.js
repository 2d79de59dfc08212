// Shows the canisters of the local network, and calls them. All text is put in as text, never as markup.
const REFRESH_MS = 1500;
const OTHER = "";

const at = (id) => document.getElementById(id);
const state = { id: null, methods: new Map(), nextLine: 0, version: "" };

async function ask(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(`api/${path}`, options);
  const answer = await response.json();
  if (answer.problem) throw new Error(answer.problem);
  return answer;
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function describe(list, facts) {
  const shown = facts.filter(([, value]) => value !== "" && value !== undefined);
  const text = JSON.stringify(shown);
  if (list.dataset.shown === text) return; // so that what somebody has selected stays selected
  list.dataset.shown = text;
  list.replaceChildren(...shown.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

const size = (bytes) => (bytes ? `${(bytes / 1048576).toFixed(1)} MiB` : "");
const clock = (ms) => new Date(ms).toISOString().replace("T", " ").replace("Z", " UTC");

function showNet(net) {
  describe(at("facts"), [
    ["API", location.origin],
    ["WebSocket gateway", net.gateway_url],
    ["Gateway's principal", net.gateway_principal],
    ["Control plane", net.control_url],
    ["Root key", net.root_key],
    ["Time", clock(net.time_ms).replace(/\.\d+/, "") + (net.ahead_s ? `, moved by ${net.ahead_s} s` : "")],
    ["Developer", net.developer],
  ]);
  at("none").hidden = net.canisters.length > 0;
  showCanisters(net.canisters);
}

function showCanisters(canisters) {
  const text = JSON.stringify(canisters.map(({ id, name, status, kind }) => [id, name, status, kind, id === state.id]));
  const list = at("canisters");
  if (list.dataset.shown === text) return;
  list.dataset.shown = text;
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
  list.replaceChildren(
    ...canisters.map(({ id, name, status, kind }) => {
      const button = element("button", name || id, { type: "button", "data-id": id });
      button.setAttribute("aria-current", String(id === state.id));
      button.append(element("small", [name && id, kind, status].filter(Boolean).join(" · ")));
      button.addEventListener("click", () => open(id, { move: true }));
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
  if (focused) list.querySelector(`[data-id="${focused}"]`)?.focus();
}

async function open(id, { move = false } = {}) {
  const isOther = id !== state.id;
  if (isOther) {
    Object.assign(state, { id, nextLine: 0, version: "" });
    at("log").textContent = "";
    at("result").hidden = true;
    history.replaceState(null, "", `#${id}`);
  }
  await refresh();
  if (move) at("canister").focus();
}

function showCanister(canister) {
  at("canister").hidden = false;
  at("title").textContent = canister.name || canister.id;
  describe(at("about"), [
    ["Id", canister.id],
    ["Code", [canister.kind, canister.module_hash].filter(Boolean).join(", ")],
    ["Status", canister.status],
    ["Memory", size(canister.memory)],
    ["Cycles", canister.cycles.replace(/\B(?=(\d{3})+$)/g, "_")],
    ["Controllers", canister.controllers.join(", ")],
    ["Interface", canister.candid_source],
    ...Object.entries(canister.metadata),
    ["Variables", Object.entries(canister.variables).map((pair) => pair.join("=")).join(", ")],
  ]);
  const version = canister.id + canister.module_hash + canister.candid;
  if (version !== state.version) showMethods(canister, version);
}

function showMethods(canister, version) {
  const chosen = at("method").value;
  const [before, arg, isUpgrade] = [state.methods.get(chosen), at("arg").value, state.version.startsWith(canister.id)];
  state.version = version;
  state.methods = new Map(canister.methods.map((method) => [method.name, method]));
  const options = canister.methods.map(({ name, is_query: isQuery }) =>
    element("option", isQuery ? `${name} (query)` : name, { value: name }),
  );
  at("method").replaceChildren(...options, element("option", "another, by its name …", { value: OTHER }));
  at("candid").textContent = canister.candid;
  at("interface").hidden = !canister.candid;
  const after = state.methods.get(chosen);
  const isKept = isUpgrade && (chosen === OTHER || (after && before?.arguments === after.arguments));
  if (isKept) at("method").value = chosen;
  chooseMethod();
  if (isKept) at("arg").value = arg; // whoever upgrades a canister tries the same call again
}

function chooseMethod() {
  const method = state.methods.get(at("method").value);
  at("other").hidden = Boolean(method);
  at("signature").textContent = method
    ? `${method.arguments} → ${method.results}${method.is_query ? " query" : ""}`
    : "An update method that the interface does not name; numbers need their types, e.g. 7 : nat64.";
  at("arg").value = method ? method.sample : "()";
}

async function showLog() {
  const { id } = state;
  const { next, lines } = await ask(`canisters/${id}/log?after=${state.nextLine}`);
  if (id !== state.id) return; // another canister was opened meanwhile
  const log = at("log");
  const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  for (const [, time, text] of lines) log.append(`${clock(time)}  ${text}\n`);
  state.nextLine = next;
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

let shown = Promise.resolve();

// One after another, so that no line of the log is shown twice.
function refresh() {
  shown = shown.then(show);
  return shown;
}

async function show() {
  try {
    const net = await ask("net");
    const ids = net.canisters.map(({ id }) => id);
    if (!ids.includes(state.id)) {
      const wanted = location.hash.slice(1);
      Object.assign(state, { id: ids.includes(wanted) ? wanted : (ids[0] ?? null), nextLine: 0, version: "" });
      at("log").textContent = "";
      at("canister").hidden = !state.id;
    }
    showNet(net);
    if (state.id) {
      const canister = await ask(`canisters/${state.id}`);
      if (canister.id !== state.id) return; // the refresh of who has opened another one comes next
      showCanister(canister);
      await showLog();
    }
    at("trouble").hidden = true;
  } catch (error) {
    at("trouble").hidden = false;
    at("trouble").textContent = `The network does not answer: ${error.message}`;
  }
}

function showResult(isGood, verdict, text) {
  at("result").hidden = false;
  at("verdict").className = isGood ? "good" : "bad";
  at("verdict").textContent = verdict;
  at("reply").textContent = text;
}

async function call() {
  const { id } = state;
  const tell = (...words) => id === state.id && showResult(...words); // another canister may have been opened meanwhile
  const button = at("call").querySelector("button.main");
  const method = at("method").value === OTHER ? at("name").value : at("method").value;
  const started = performance.now();
  button.disabled = true;
  try {
    const { reply, reject, note } = await ask("call", {
      canister: id,
      method,
      arg: at("arg").value,
      identity: at("identity").value,
    });
    const took = `${Math.round(performance.now() - started)} ms`;
    if (reject) tell(false, `Rejected, code ${reject.reject_code}, ${reject.error_code}`, reject.reject_message);
    else tell(true, [`Reply of ${method} after ${took}`, note].filter(Boolean).join("; "), reply);
  } catch (error) {
    tell(false, "Not sent", error.message);
  } finally {
    button.disabled = false;
  }
  await refresh();
}

at("method").addEventListener("change", chooseMethod);
at("fill").addEventListener("click", chooseMethod);
at("call").addEventListener("submit", (event) => {
  event.preventDefault();
  call();
});
at("arg").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("call").requestSubmit();
});
at("forward").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const { time_ms: time } = await ask("fast-forward", { seconds: Number(at("seconds").value) });
    at("moved").textContent = `now ${clock(time)}`;
  } catch (error) {
    at("moved").textContent = error.message;
  }
  await refresh();
});
globalThis.addEventListener("hashchange", () => {
  const target = location.hash.slice(1);
  if (!at(target)) open(target); // otherwise it is a place on this page, to which the first link of it leads
});

for (;;) {
  await refresh();
  await new Promise((resolve) => setTimeout(resolve, document.hidden ? 10 * REFRESH_MS : REFRESH_MS));
}
