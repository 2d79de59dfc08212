// Clients of the published ic-websocket-js as a load generator, in the project of the working directory.
//
// Argument: JSON {url, networkUrl, canisterId, clients, rate, seconds, size}.
// Output: lines of JSON. {"event": "ready"} once every session is open; then, after a line of input, {"event": "done",
// sent, received, wrong, latencies_ms}, or {"event": "failed", message}.
"use strict";

const { createRequire } = require("node:module");
const path = require("node:path");
const readline = require("node:readline");

const local = createRequire(path.join(process.cwd(), "package.json"));
const { Actor, HttpAgent } = local("@dfinity/agent");
const { IDL } = local("@dfinity/candid");

require("../tests/interop/drivers/browser_globals.cjs")(local);

const { IcWebSocket, generateRandomIdentity } = local("ic-websocket-js");
const Message = IDL.Record({ text: IDL.Text, number: IDL.Nat64 });
const PATIENCE_MS = 60_000;
const options = JSON.parse(process.argv[2]);

function say(event) {
  process.stdout.write(JSON.stringify(event) + "\n");
}

function fail(message) {
  say({ event: "failed", message: String(message) });
  process.exit(1);
}

function makeActor() {
  const service = () =>
    IDL.Service({
      ws_message: IDL.Func(
        [IDL.Record({ msg: IDL.Record({}) }), IDL.Opt(Message)],
        [IDL.Variant({ Ok: IDL.Null, Err: IDL.Text })],
        [],
      ),
    });
  const agent = HttpAgent.createSync({ host: options.networkUrl });
  return Actor.createActor(service, { agent, canisterId: options.canisterId });
}

async function open(onMessage) {
  const socket = new IcWebSocket(options.url, undefined, {
    canisterId: options.canisterId,
    canisterActor: makeActor(),
    identity: generateRandomIdentity(),
    networkUrl: options.networkUrl,
  });
  socket.onmessage = ({ data }) => onMessage(data);
  socket.onerror = ({ error }) => fail(error);
  socket.onclose = ({ code, reason }) => fail(`closed with ${code}: ${reason}`);
  await new Promise((resolve) => (socket.onopen = resolve));
  return socket;
}

async function main() {
  // The SDK asks for the root key without waiting for it, and Node's first fetch is slow.
  await (await fetch(`${options.networkUrl}/api/v2/status`)).arrayBuffer();
  const count = Math.round(options.rate * options.seconds);
  const due = new Map();
  const latencies = [];
  let wrong = 0;
  let finished;
  const all = new Promise((resolve) => (finished = resolve));

  function received({ number, text }) {
    const at = due.get(number);
    if (at === undefined || text.length !== options.size) {
      wrong += 1;
      return;
    }
    due.delete(number);
    latencies.push(performance.now() - at);
    if (latencies.length === count) finished();
  }

  // One after the other: each opening verifies a certificate, which takes this process tens of milliseconds.
  const sockets = [];
  while (sockets.length < options.clients) sockets.push(await open(received));
  say({ event: "ready" });
  await new Promise((resolve) => readline.createInterface({ input: process.stdin }).once("line", resolve));

  // By a schedule fixed ahead: a message that this process sends late has waited since it was due.
  const begun = performance.now();
  const text = "x".repeat(options.size);
  for (let number = 0; number < count; number++) {
    const at = begun + (number * 1000) / options.rate;
    const wait = at - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    due.set(BigInt(number), at);
    sockets[number % sockets.length].send({ text, number: BigInt(number) });
  }
  await Promise.race([all, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
  say({ event: "done", sent: count, received: latencies.length, wrong, latencies_ms: latencies });
  process.exit(0);
}

main().catch(fail);
