// Runs a driver of this folder once for each connection, in one process: what a driver imports is compiled once, and
// not for every test.
//
// Arguments: the driver's file, and the number of a listening socket. The first line of a connection is the driver's
// argument, the others are its standard input, and what it prints is sent back. When the driver calls process.exit(),
// whatever it has left behind is ended: timers and connections. The last line is {"again": true} if nothing is pending
// after that; otherwise the connection ends without, and so does the process, as it does when a driver throws what
// nobody catches. One run follows another. The process ends with its own standard input.
"use strict";

const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const net = require("node:net");
const vm = require("node:vm");

const PATIENCE_MS = 2000;
const { setTimeout, setInterval, clearTimeout } = globalThis;
const [script, number] = process.argv.slice(2);
const driver = vm.compileFunction(readFileSync(script, "utf8"), ["require", "process"], { filename: script });
const timers = new Set();
const sockets = new Set();
let isRunning = false;

for (const [name, start] of Object.entries({ setTimeout, setInterval })) {
  globalThis[name] = (...args) => {
    const timer = start(...args);
    timers.add(timer);
    return timer;
  };
}

const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...args) {
  sockets.add(this);
  this.once("close", () => sockets.delete(this));
  return connect.apply(this, args);
};

for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error) => {
    if (isRunning) console.error(error);
    process.exit(isRunning ? 1 : 0); // of what was just ended, or a fault: there is no other run in this process
  });
}

// How much keeps this process alive, beside its own timers.
const pending = () => process.getActiveResourcesInfo().filter((name) => name !== "Immediate").length;

// Whether a run has left nothing behind.
async function isOver(before) {
  const until = Date.now() + PATIENCE_MS;
  do {
    timers.forEach(clearTimeout);
    timers.clear();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 1).unref());
    if (pending() <= before && !sockets.size && !timers.size) return true;
  } while (Date.now() < until);
  return false;
}

async function firstLine(connection) {
  let seen = Buffer.alloc(0);
  for (;;) {
    await new Promise((resolve) => connection.once("readable", resolve));
    const more = connection.read();
    if (more === null) continue;
    seen = Buffer.concat([seen, more]);
    const end = seen.indexOf("\n");
    if (end >= 0) {
      connection.unshift(seen.subarray(end + 1));
      return seen.subarray(0, end).toString();
    }
  }
}

async function serve(connection) {
  connection.on("error", () => process.exit(1));
  const argument = await firstLine(connection);
  const before = pending();
  isRunning = true;
  await new Promise((exit) => {
    const own = Object.create(process, {
      argv: { value: [process.execPath, script, argument] },
      stdin: { value: connection },
      stdout: { value: { write: (text) => isRunning && connection.write(text) } },
      exitCode: { value: undefined, writable: true },
      exit: {
        value() {
          isRunning = false;
          exit();
        },
      },
    });
    driver(createRequire(script), own);
  });
  if (!(await isOver(before))) process.exit(0);
  connection.end('{"again": true}\n');
}

net.createServer({ allowHalfOpen: true }, serve).listen({ fd: Number(number) });
process.stdin.on("end", () => process.exit(0)).resume();
