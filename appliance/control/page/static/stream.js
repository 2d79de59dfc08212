/** The stream of events. Read with fetch, because EventSource sends no token. */

import { problemOf, send, Unreachable } from "./api.js";

const WAIT_MS = [1000, 2000, 5000, 10000];
const SILENCE_MS = 45000; // the server says something every 15 s

/** Reads a stream as the HTML standard has it ("Server-sent events"). */
export class EventParser {
  constructor() {
    this.rest = "";
    this.event = {};
  }

  /** The events that are complete with this text. */
  push(text) {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    return lines.map((line) => this.take(line)).filter(Boolean);
  }

  take(line) {
    if (line === "") {
      const { event } = this;
      this.event = {};
      return event.data === undefined ? null : event;
    }
    const [, name, value] = /^([^:]*)(?:: ?)?(.*)$/s.exec(line);
    if (name === "data" && this.event.data !== undefined) this.event.data += `\n${value}`;
    else if (name) this.event[name] = value;
    return null;
  }
}

/** Reads the stream of events, and reconnects whenever it breaks. `onEvent` gets each event, and whether it is live:
 * the first ones may be from before. `onState` gets whether there is a connection. */
export class Stream {
  constructor({ onEvent, onState }) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.last = "0"; // everything that the server keeps
    this.failures = 0;
    this.current = null;
  }

  /** Connect, and connect again whenever the stream ends. Never returns. */
  async run() {
    for (;;) {
      await this.listen().catch(() => this.onState(false));
      const wait = WAIT_MS[Math.min(this.failures, WAIT_MS.length - 1)];
      this.failures += 1;
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, wait);
      });
    }
  }

  /** Reconnect at once: after a change of the token, or when the network is back. */
  again() {
    this.current?.abort();
    this.failures = 0;
    this.wake?.();
  }

  async listen() {
    this.current = new AbortController();
    const headers = { Accept: "text/event-stream", "Last-Event-ID": this.last };
    const response = await send("GET", "v1/events", { headers, signal: this.current.signal });
    if (!response.ok) throw await problemOf(response);
    this.openedAt ??= Date.parse(response.headers.get("Date")) || Date.now();
    this.onState(true);
    await this.read(response.body.pipeThrough(new TextDecoderStream()).getReader());
    throw new Unreachable();
  }

  async read(reader) {
    const parser = new EventParser();
    let silence;
    for (;;) {
      clearTimeout(silence);
      silence = setTimeout(() => this.current.abort(), SILENCE_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      this.failures = 0;
      for (const each of parser.push(value)) this.take(each);
    }
  }

  take({ id, data }) {
    this.last = id ?? this.last;
    const event = JSON.parse(data);
    this.onEvent(event, Date.parse(event.at) >= this.openedAt);
  }
}
