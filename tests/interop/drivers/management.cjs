// Deploys a canister through the management canister that the agent of the project in the working directory brings.
//
// Argument: JSON {networkUrl, module}: a file. Output: one line of JSON for each step, {"step": name, ...what was seen}.
// Ends with code 1 and {"step": "failed", "error": ...} where a step throws.
"use strict";

const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");

const local = createRequire(path.join(process.cwd(), "package.json"));
const { HttpAgent, getManagementCanister } = local("@dfinity/agent");
const { Ed25519KeyIdentity } = local("@dfinity/identity");

const options = JSON.parse(process.argv[2]);

function say(step, seen) {
  const text = JSON.stringify({ step, ...seen }, (_, value) => (typeof value === "bigint" ? Number(value) : value));
  process.stdout.write(text + "\n");
}

async function main() {
  const identity = Ed25519KeyIdentity.generate();
  const agent = await HttpAgent.create({ host: options.networkUrl, identity, shouldFetchRootKey: true, retryTimes: 1 });
  const ic = getManagementCanister({ agent });
  const version = { sender_canister_version: [] };
  const wanted = { amount: [], settings: [], specified_id: [], ...version };
  const { canister_id } = await ic.provisional_create_canister_with_cycles(wanted);
  const code = { wasm_module: readFileSync(options.module), arg: new Uint8Array() };
  await ic.install_code({ mode: { install: null }, canister_id, ...code, ...version });
  const before = await ic.canister_status({ canister_id });
  say("installed", { id: canister_id.toText(), memory: before.memory_size, status: before.status });
  await ic.stop_canister({ canister_id });
  say("stopped", { status: (await ic.canister_status({ canister_id })).status });
  const { canister_log_records: lines } = await ic.fetch_canister_logs({ canister_id });
  say("log", { lines: lines.map(({ content }) => Buffer.from(content).toString()) });
}

main()
  .catch((error) => {
    say("failed", { error: error.stack });
    process.exitCode = 1;
  })
  .finally(() => process.exit());
