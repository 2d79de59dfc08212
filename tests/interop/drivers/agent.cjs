// Drives an unmodified JavaScript agent of the project in the working directory, with all its checks on.
//
// Argument: JSON {networkUrl, canisterId}. Output: one line of JSON for each step, {"step": name, ...what was seen}.
// Ends with code 1 and {"step": "failed", "error": ...} where a step throws that must not.
"use strict";

const { createRequire } = require("node:module");
const path = require("node:path");

const project = require(path.join(process.cwd(), "package.json"));
const local = createRequire(path.join(process.cwd(), "package.json"));
const isCore = "@icp-sdk/core" in project.dependencies;
const [agentLib, candidLib, identityLib, principalLib] = ["agent", "candid", "identity", "principal"].map((name) =>
  local(isCore ? `@icp-sdk/core/${name}` : `@dfinity/${name}`),
);
const { Actor, CanisterStatus, HttpAgent } = agentLib;
const { Ed25519KeyIdentity, ECDSAKeyIdentity, DelegationChain, DelegationIdentity } = identityLib;
const { Principal } = principalLib;

const options = JSON.parse(process.argv[2]);
const canisterId = Principal.fromText(options.canisterId);

const service = ({ IDL }) =>
  IDL.Service({
    greet: IDL.Func([IDL.Text], [IDL.Text], ["query"]),
    count: IDL.Func([], [IDL.Nat], []),
    absent: IDL.Func([], [], []),
    absent_query: IDL.Func([], [], ["query"]),
  });

const hex = (bytes) => Buffer.from(bytes).toString("hex");

function say(step, seen) {
  const text = JSON.stringify({ step, ...seen }, (_, value) => (typeof value === "bigint" ? Number(value) : value));
  process.stdout.write(text + "\n");
}

async function makeAgent(identity) {
  // shouldFetchRootKey trusts the local network; verifyQuerySignatures is what these tests are about.
  return HttpAgent.create({
    host: options.networkUrl,
    identity,
    shouldFetchRootKey: true,
    verifyQuerySignatures: true,
    // A query is sent beside the request for the keys of the nodes, whose time may be later; then it is sent again.
    retryTimes: 1,
  });
}

async function delegated() {
  const root = await ECDSAKeyIdentity.generate();
  const session = Ed25519KeyIdentity.generate();
  const expiry = new Date(Date.now() + 3600 * 1000);
  const chain = await DelegationChain.create(root, session.getPublicKey(), expiry, { targets: [canisterId] });
  return DelegationIdentity.fromDelegation(session, chain);
}

async function refused(step, promise) {
  try {
    await promise;
    say(step, { refused: false });
  } catch (error) {
    say(step, { refused: true, error: String(error) });
  }
}

async function main() {
  for (const [name, identity] of [
    ["ed25519", Ed25519KeyIdentity.generate()],
    ["p256", await ECDSAKeyIdentity.generate()],
    ["delegation", await delegated()],
  ]) {
    const agent = await makeAgent(identity);
    const actor = Actor.createActor(service, { agent, canisterId });
    if (name === "ed25519") say("status", { rootKey: hex(agent.rootKey) });
    say("query", { identity: name, answer: await actor.greet(name) });
    say("update", { identity: name, answers: [await actor.count(), await actor.count()] });
    const status = await CanisterStatus.request({ canisterId, agent, paths: ["time", "subnet"] });
    const subnet = status.get("subnet");
    say("read_state", {
      identity: name,
      time: new Date(status.get("time")).toISOString(),
      nodes: subnet.nodeKeys?.size,
    });
    await refused("absent update", actor.absent());
    await refused("absent query", actor.absent_query());
  }
  const anonymous = Actor.createActor(service, { agent: await makeAgent(undefined), canisterId });
  say("query", { identity: "anonymous", answer: await anonymous.greet("nobody") });
}

main()
  .catch((error) => {
    say("failed", { error: error.stack });
    process.exitCode = 1;
  })
  .finally(() => process.exit());
