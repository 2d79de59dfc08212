// Deploys a canister with an unmodified agent of the project in the working directory, calls it, and reads its status.
//
// Argument: JSON {networkUrl, module}: a file. Output: one line of JSON for each step, {"step": name, ...what was seen}.
// Ends with code 1 and {"step": "failed", "error": ...} where a step throws.
"use strict";

const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");

const project = require(path.join(process.cwd(), "package.json"));
const local = createRequire(path.join(process.cwd(), "package.json"));
const isCore = "@icp-sdk/core" in project.dependencies;
const [agentLib, candidLib, identityLib, principalLib] = ["agent", "candid", "identity", "principal"].map((name) =>
  local(isCore ? `@icp-sdk/core/${name}` : `@dfinity/${name}`),
);
const { Actor, HttpAgent } = agentLib;
const { IDL } = candidLib;
const { Ed25519KeyIdentity } = identityLib;
const { Principal } = principalLib;

const options = JSON.parse(process.argv[2]);
const creating = Principal.fromText("bkyz2-fmaaa-aaaaa-qaaaq-cai"); // any of the network

const about = IDL.Record({ canister_id: IDL.Principal });
const blob = IDL.Vec(IDL.Nat8);
const mode = IDL.Variant({ install: IDL.Null, reinstall: IDL.Null, upgrade: IDL.Null });
const management = () =>
  IDL.Service({
    provisional_create_canister_with_cycles: IDL.Func([IDL.Record({ amount: IDL.Opt(IDL.Nat) })], [about], []),
    install_code: IDL.Func(
      [IDL.Record({ mode, canister_id: IDL.Principal, wasm_module: blob, arg: blob })],
      [],
      [],
    ),
    canister_status: IDL.Func(
      [about],
      [
        IDL.Record({
          status: IDL.Variant({ running: IDL.Null, stopping: IDL.Null, stopped: IDL.Null }),
          cycles: IDL.Nat,
        }),
      ],
      [],
    ),
  });
const application = () => IDL.Service({ add: IDL.Func([], [IDL.Nat64], []), peek: IDL.Func([], [IDL.Nat64], ["query"]) });

function say(step, seen) {
  const text = JSON.stringify({ step, ...seen }, (_, value) => (typeof value === "bigint" ? Number(value) : value));
  process.stdout.write(text + "\n");
}

async function main() {
  const agent = await HttpAgent.create({
    host: options.networkUrl,
    identity: Ed25519KeyIdentity.generate(),
    shouldFetchRootKey: true,
    verifyQuerySignatures: true,
  });
  const target = (_, [first]) => {
    const id = first.canister_id ?? creating;
    return isCore ? { effectiveTarget: { canisterId: id } } : { effectiveCanisterId: id };
  };
  const canisterId = Principal.fromText("aaaaa-aa");
  const ic = Actor.createActor(management, { agent, canisterId, callTransform: target, queryTransform: target });
  const { canister_id: id } = await ic.provisional_create_canister_with_cycles({ amount: [1_000_000_000_000n] });
  say("created", { id: id.toText() });
  const code = { wasm_module: readFileSync(options.module), arg: new Uint8Array() };
  await ic.install_code({ mode: { install: null }, canister_id: id, ...code });
  say("installed", {});
  const actor = Actor.createActor(application, { agent, canisterId: id });
  say("called", { answers: [await actor.add(), await actor.add()] });
  say("queried", { answer: await actor.peek() });
  const status = await ic.canister_status({ canister_id: id });
  say("status", { status: Object.keys(status.status)[0], cycles: status.cycles });
}

main()
  .catch((error) => {
    say("failed", { error: error.stack });
    process.exitCode = 1;
  })
  .finally(() => process.exit());
