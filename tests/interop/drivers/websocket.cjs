// Drives an unmodified ic-websocket-js of the project in the working directory, with the messages of the ping-pong.
//
// Argument: JSON {url, networkUrl, canisterId, identity}; identity is "secp256k1", "ed25519", "delegation", or "forger"
// whose signatures are wrong.
// Input: lines of JSON, {"send": text} or {"close": true}.
// Output: lines of JSON, {"event": "open" | "message" | "error" | "close", ...}; ends after "close".
"use strict";

const { createRequire } = require("node:module");
const path = require("node:path");
const readline = require("node:readline");

const local = createRequire(path.join(process.cwd(), "package.json"));
const { Actor, HttpAgent } = local("@dfinity/agent");
const { IDL } = local("@dfinity/candid");
const { DelegationChain, DelegationIdentity, Ed25519KeyIdentity } = local("@dfinity/identity");
const { Secp256k1KeyIdentity } = local("@dfinity/identity-secp256k1");

require("./browser_globals.cjs")(local);

const sdk = local("ic-websocket-js");
const IcWebSocket = sdk.IcWebSocket ?? sdk.default;
// Before 0.2 messages are bytes to the SDK; later it takes their type from an actor and encodes them itself.
const takesBytes = local("ic-websocket-js/package.json").version.startsWith("0.1.");
const Message = IDL.Record({ text: IDL.Text, timestamp: IDL.Nat64 });

const options = JSON.parse(process.argv[2]);

function say(event) {
  process.stdout.write(JSON.stringify(event) + "\n");
}

async function makeIdentity(kind) {
  if (kind === "secp256k1") return Secp256k1KeyIdentity.generate();
  if (kind === "ed25519") return Ed25519KeyIdentity.generate();
  if (kind === "forger") return forger(Ed25519KeyIdentity.generate());
  const root = Secp256k1KeyIdentity.generate();
  const session = Ed25519KeyIdentity.generate();
  const expiry = new Date(Date.now() + 3600 * 1000);
  const chain = await DelegationChain.create(root, session.getPublicKey(), expiry);
  return DelegationIdentity.fromDelegation(session, chain);
}

function forger(identity) {
  const sign = identity.sign.bind(identity);
  identity.sign = async (challenge) => {
    const signature = new Uint8Array(await sign(challenge));
    signature[0] ^= 1;
    return signature.buffer;
  };
  return identity;
}

function makeActor() {
  // The SDK reads the type of messages from the second argument of ws_message.
  const service = () =>
    IDL.Service({
      ws_message: IDL.Func(
        [IDL.Record({ msg: IDL.Record({}) }), IDL.Opt(Message)],
        [IDL.Variant({ Ok: IDL.Null, Err: IDL.Text })],
        [],
      ),
    });
  const agent = new HttpAgent({ host: options.networkUrl });
  return Actor.createActor(service, { agent, canisterId: options.canisterId });
}

function encode(text) {
  const message = { text, timestamp: BigInt(Date.now()) * 1_000_000n };
  return takesBytes ? new Uint8Array(IDL.encode([Message], [message])) : message;
}

function decode(data) {
  return takesBytes ? IDL.decode([Message], data.slice().buffer)[0] : data;
}

async function main() {
  // The SDK asks for the root key without waiting for it, and refuses what arrives before. Node's first fetch is slower
  // than a whole round trip through gateway and canister on one machine; later ones are not.
  await (await fetch(`${options.networkUrl}/api/v2/status`)).arrayBuffer();
  const socket = new IcWebSocket(options.url, undefined, {
    canisterId: options.canisterId,
    canisterActor: takesBytes ? undefined : makeActor(),
    identity: await makeIdentity(options.identity ?? "secp256k1"),
    networkUrl: options.networkUrl,
  });
  socket.onopen = () => say({ event: "open", principal: socket.getPrincipal().toText() });
  socket.onmessage = ({ data }) => say({ event: "message", text: decode(data).text });
  socket.onerror = ({ error }) => say({ event: "error", message: String(error) });
  socket.onclose = ({ code, reason }) => {
    say({ event: "close", code, reason });
    process.exit(0);
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    if (command.close) socket.close();
    else socket.send(encode(command.send));
  }
  process.exit(0); // who gives the commands is gone
}

main();
