// Deploys a canister with an unmodified agent of the project in the working directory, and calls it: what a deploy
// script does.
//
// Argument: JSON {networkUrl, first, second, target}: files with two modules, and the effective id for creating, as
// {"canisterId": id} or {"subnetId": id}. Output: one line of JSON for each step, {"step": name, ...what was seen}.
// Ends with code 1 and {"step": "failed", "error": ...} where a step throws that must not.
"use strict";

const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");

const local = createRequire(path.join(process.cwd(), "package.json"));
const { Actor, CanisterStatus, HttpAgent, RejectError } = local("@icp-sdk/core/agent");
const { IDL } = local("@icp-sdk/core/candid");
const { Ed25519KeyIdentity } = local("@icp-sdk/core/identity");
const { Principal } = local("@icp-sdk/core/principal");

const CHUNK = 1024 * 1024;
const options = JSON.parse(process.argv[2]);
const creating = Object.fromEntries(Object.entries(options.target).map(([key, id]) => [key, Principal.fromText(id)]));

const about = IDL.Record({ canister_id: IDL.Principal });
const chunk = IDL.Record({ hash: IDL.Vec(IDL.Nat8) });
const mode = IDL.Variant({
  install: IDL.Null,
  reinstall: IDL.Null,
  upgrade: IDL.Opt(IDL.Record({ skip_pre_upgrade: IDL.Opt(IDL.Bool) })),
});
const settings = IDL.Record({ controllers: IDL.Opt(IDL.Vec(IDL.Principal)), freezing_threshold: IDL.Opt(IDL.Nat) });

const management = () =>
  IDL.Service({
    create_canister: IDL.Func([IDL.Record({ settings: IDL.Opt(settings) })], [about], []),
    provisional_create_canister_with_cycles: IDL.Func(
      [IDL.Record({ amount: IDL.Opt(IDL.Nat), settings: IDL.Opt(settings), specified_id: IDL.Opt(IDL.Principal) })],
      [about],
      [],
    ),
    install_code: IDL.Func(
      [
        IDL.Record({
          mode,
          canister_id: IDL.Principal,
          wasm_module: IDL.Vec(IDL.Nat8),
          arg: IDL.Vec(IDL.Nat8),
          sender_canister_version: IDL.Opt(IDL.Nat64),
        }),
      ],
      [],
      [],
    ),
    upload_chunk: IDL.Func([IDL.Record({ canister_id: IDL.Principal, chunk: IDL.Vec(IDL.Nat8) })], [chunk], []),
    stored_chunks: IDL.Func([about], [IDL.Vec(chunk)], []),
    install_chunked_code: IDL.Func(
      [
        IDL.Record({
          mode,
          target_canister: IDL.Principal,
          store_canister: IDL.Opt(IDL.Principal),
          chunk_hashes_list: IDL.Vec(chunk),
          wasm_module_hash: IDL.Vec(IDL.Nat8),
          arg: IDL.Vec(IDL.Nat8),
        }),
      ],
      [],
      [],
    ),
    update_settings: IDL.Func([IDL.Record({ canister_id: IDL.Principal, settings })], [], []),
    canister_status: IDL.Func(
      [about],
      [
        IDL.Record({
          status: IDL.Variant({ running: IDL.Null, stopping: IDL.Null, stopped: IDL.Null }),
          settings: IDL.Record({ controllers: IDL.Vec(IDL.Principal), freezing_threshold: IDL.Nat }),
          module_hash: IDL.Opt(IDL.Vec(IDL.Nat8)),
          memory_size: IDL.Nat,
          cycles: IDL.Nat,
        }),
      ],
      [],
    ),
    start_canister: IDL.Func([about], [], []),
    stop_canister: IDL.Func([about], [], []),
    delete_canister: IDL.Func([about], [], []),
    raw_rand: IDL.Func([], [IDL.Vec(IDL.Nat8)], []),
  });

const application = () => IDL.Service({ add: IDL.Func([], [IDL.Nat64], []), peek: IDL.Func([], [IDL.Nat64], ["query"]) });

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const sha256 = (bytes) => createHash("sha256").update(bytes).digest();

function say(step, seen) {
  const text = JSON.stringify({ step, ...seen }, (_, value) => (typeof value === "bigint" ? Number(value) : value));
  process.stdout.write(text + "\n");
}

async function makeAgent(identity) {
  return HttpAgent.create({
    host: options.networkUrl,
    identity,
    shouldFetchRootKey: true,
    verifyQuerySignatures: true,
    // A query is sent beside the request for the keys of the nodes, whose time may be later; then it is sent again.
    retryTimes: 1,
  });
}

// As agents do it: the effective id is that of the canister the argument names.
function manage(agent) {
  const target = (method, [first]) => {
    const id = first?.canister_id ?? first?.target_canister;
    return { effectiveTarget: id ? { canisterId: id } : creating };
  };
  return Actor.createActor(management, {
    agent,
    canisterId: Principal.managementCanister(),
    callTransform: target,
    queryTransform: target,
  });
}

async function refused(step, promise) {
  try {
    await promise;
    say(step, { code: 0 });
  } catch (error) {
    if (!(error instanceof RejectError)) throw error;
    say(step, { code: error.code.rejectCode, errorCode: error.code.rejectErrorCode });
  }
}

async function upload(ic, canisterId, module) {
  const hashes = [];
  for (let start = 0; start < module.length; start += CHUNK) {
    hashes.push(await ic.upload_chunk({ canister_id: canisterId, chunk: module.subarray(start, start + CHUNK) }));
  }
  return hashes;
}

async function life(ic, agent, other) {
  const [first, second] = [readFileSync(options.first), readFileSync(options.second)];
  const wanted = { amount: [1_000_000_000_000n], settings: [], specified_id: [] };
  const { canister_id: id } = await ic.provisional_create_canister_with_cycles(wanted);
  const subject = { canister_id: id };
  say("created", { id: id.toText(), cycles: (await ic.canister_status(subject)).cycles });

  const chunks = await upload(ic, id, first);
  await ic.install_chunked_code({
    mode: { install: null },
    target_canister: id,
    store_canister: [],
    chunk_hashes_list: chunks,
    wasm_module_hash: sha256(first),
    arg: new Uint8Array(),
  });
  const stored = (await ic.stored_chunks(subject)).map(({ hash }) => hex(hash));
  const paths = ["module_hash", "controllers"];
  const certified = await CanisterStatus.request({ canisterId: id, agent, paths });
  say("installed", {
    chunks: stored.length,
    hash: certified.get("module_hash"),
    controllers: certified.get("controllers").map((one) => one.toText()),
  });

  const actor = Actor.createActor(application, { agent, canisterId: id });
  say("called", { answers: [await actor.add(), await actor.add(), await actor.peek()] });
  await ic.install_code({
    mode: { upgrade: [] },
    canister_id: id,
    wasm_module: second,
    arg: new Uint8Array(),
    sender_canister_version: [],
  });
  say("upgraded", { answers: [await actor.peek(), await actor.add()] });

  await ic.update_settings({ canister_id: id, settings: { controllers: [], freezing_threshold: [7n] } });
  const status = await ic.canister_status(subject);
  say("settings", { threshold: status.settings.freezing_threshold, hash: hex(status.module_hash[0]) });
  await refused("foreign", other.stop_canister(subject));
  await refused("not stopped", ic.delete_canister(subject));
  await refused("for canisters", ic.raw_rand());
  await ic.stop_canister(subject);
  await refused("stopped", actor.add());
  await ic.start_canister(subject);
  say("started", { answer: await actor.add() });
  await ic.stop_canister(subject);
  await ic.delete_canister(subject);
  await refused("deleted", actor.add());
}

async function main() {
  const identity = Ed25519KeyIdentity.generate();
  const agent = await makeAgent(identity);
  const ic = manage(agent);
  say("identity", { principal: identity.getPrincipal().toText() });
  await life(ic, agent, manage(await makeAgent(Ed25519KeyIdentity.generate())));
  const wished = Principal.fromText("rrkah-fqaaa-aaaaa-aaaaq-cai");
  const named = await ic.provisional_create_canister_with_cycles({ amount: [], settings: [], specified_id: [wished] });
  const plain = await ic.create_canister({ settings: [] });
  say("wished", { named: named.canister_id.toText(), plain: plain.canister_id.toText() });
}

main()
  .catch((error) => {
    say("failed", { error: error.stack });
    process.exitCode = 1;
  })
  .finally(() => process.exit());
