/** What is used of a session. `IcWebSocket` of ic-websocket-js is one. */
export interface Session<M> {
  onopen: ((this: any, event: any) => unknown) | null;
  onmessage: ((this: any, event: any) => unknown) | null;
  onerror: ((this: any, event: any) => unknown) | null;
  onclose: ((this: any, event: any) => unknown) | null;
  send(message: M): void;
  close(): void;
}

/** Why a session ended: the code and the reason of its close frame, or why it was given up here (code 1006). */
export interface End {
  code: number;
  reason: string;
}

/** Times in milliseconds. The wait doubles from `firstWait` to `longestWait`; up to a half of it is left out by chance. */
export interface Options {
  firstWait: number;
  longestWait: number;
  /** How long a session may take to open. */
  openTimeout: number;
  /** How long a page may stand still, frozen or on a sleeping machine, before its session is replaced: the canister
   * expects an answer within a minute. Not below a minute: that is how slow the timers of hidden pages may be. */
  staleAfter: number;
}

const DEFAULTS: Options = { firstWait: 500, longestWait: 30_000, openTimeout: 90_000, staleAfter: 120_000 };
const TICK = 5000;
/** Browsers take a longer timeout for none. */
const LONGEST_TIMEOUT = 2 ** 31 - 1;
const FINAL = [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4001];
/** ic-websocket-js closes with it what it cannot verify. */
const UNTRUSTED = "Error receiving message";

/**
 * Whether another session may succeed after this end. 4001 is a close by the canister's application. A gateway that
 * sends what cannot be verified in a session that was open is not used again. Before, the SDK itself may be the reason:
 * on local networks it fetches the root key while it opens, and refuses messages that are faster.
 */
export function mayReconnect({ code, reason }: End, wasOpen: boolean): boolean {
  const isUntrusted = wasOpen && code === 4000 && reason === UNTRUSTED;
  return !FINAL.includes(code) && !(code >= 4500 && code <= 4999) && !isUntrusted;
}

/** When the gateway wants the client back, in milliseconds: "…, open a new connection in 5 s". */
export function hintedWait(reason: string): number {
  return 1000 * Number(/ in (\d+(?:\.\d+)?) s$/.exec(reason)?.[1] ?? 0);
}

/**
 * Keeps a session open: `open` makes one, and is called again when it is lost. A new session is a new client to the
 * canister, so subscribe again in `onopen`. A message that was sent shortly before a loss may have arrived or not.
 */
export class Reconnecting<M> {
  /** A session is open; `number` counts them from 1. */
  onopen: (number: number) => void = () => {};
  onmessage: (message: M) => void = () => {};
  /** The session is lost, or an attempt has failed; the next attempt is in `wait` milliseconds, or earlier if the
   * page comes back from being offline, frozen or hidden. */
  onlost: (end: End, wait: number) => void = () => {};
  /** There will be no other session. */
  onclose: (end: End) => void = () => {};

  readonly #open: () => Session<M>;
  readonly #options: Options;
  #session: Session<M> | null = null;
  #isOpen = false;
  #isClosed = false;
  #sessions = 0;
  #tries = 0;
  #startedAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the gateway that closed wants the client back. */
  #notBefore = 0;
  #tickedAt = Date.now();
  readonly #ticks: ReturnType<typeof setInterval>;
  readonly #listeners = new AbortController();

  constructor(open: () => Session<M>, options: Partial<Options> = {}) {
    this.#open = open;
    this.#options = { ...DEFAULTS, ...options };
    this.#ticks = setInterval(() => this.#tick(), TICK);
    this.#watchPage();
    this.#timer = setTimeout(() => this.#start()); // the caller sets its handlers first
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Throws an Error while no session is open: whether a message still makes sense later, the caller knows. */
  send(message: M): void {
    if (this.#session === null || !this.#isOpen) throw new Error("no session is open; wait for onopen");
    this.#session.send(message);
  }

  /** Ends the session, and opens no other. */
  close(): void {
    this.#finish({ code: 1000, reason: "" });
  }

  #start(): void {
    this.#isOpen = false;
    this.#startedAt = Date.now();
    this.#arm(() => this.#lose({ code: 1006, reason: "the session did not open in time" }), this.#options.openTimeout);
    try {
      this.#listen(this.#open());
    } catch (error) {
      this.#lose({ code: 1006, reason: String(error) });
    }
  }

  #listen(session: Session<M>): void {
    this.#session = session;
    session.onopen = () => {
      clearTimeout(this.#timer);
      this.#isOpen = true;
      this.onopen(++this.#sessions);
    };
    session.onmessage = (event) => this.onmessage(event.data);
    session.onerror = () => {}; // a close follows; without a handler ic-websocket-js warns
    session.onclose = ({ code, reason }) => this.#lose({ code, reason });
  }

  #lose(end: End): void {
    const wasOpen = this.#isOpen;
    this.#release();
    if (this.#isClosed) return;
    if (!mayReconnect(end, wasOpen)) return this.#finish(end);
    if (Date.now() - this.#startedAt > this.#options.longestWait) this.#tries = 0;
    const { firstWait, longestWait } = this.#options;
    const backoff = Math.min(longestWait, firstWait * 2 ** this.#tries++) * (1 - Math.random() / 2);
    const hint = hintedWait(end.reason);
    const wait = hint + backoff; // the chance in it spreads clients that got the same hint
    this.#notBefore = Date.now() + hint;
    this.#arm(() => this.#start(), wait);
    this.onlost(end, wait);
  }

  #finish(end: End): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listeners.abort();
    clearInterval(this.#ticks);
    clearTimeout(this.#timer);
    this.#release();
    this.onclose(end);
  }

  /** Closes the session, whose late events are nobody's any more. */
  #release(): void {
    const session = this.#session;
    this.#session = null;
    this.#isOpen = false;
    if (session === null) return;
    session.onopen = session.onmessage = session.onclose = null;
    session.onerror = () => {};
    session.close();
  }

  #arm(action: () => void, wait: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, Math.min(wait, LONGEST_TIMEOUT));
  }

  /** Browsers slow the timers of a hidden page, stop those of a frozen one, and close no socket when a network goes. */
  #watchPage(): void {
    const on = (target: EventTarget, names: string[], act: () => void) => {
      for (const name of names) target.addEventListener(name, act, { signal: this.#listeners.signal });
    };
    if (globalThis.document === undefined) return; // Node has neither pages nor these events
    on(globalThis.window, ["online"], () => {
      this.#replace("the network has changed");
      this.#hurry();
    });
    on(globalThis.window, ["pageshow"], () => this.#comeBack());
    on(globalThis.document, ["resume", "visibilitychange"], () => document.hidden || this.#comeBack());
  }

  #comeBack(): void {
    this.#tick();
    this.#hurry();
  }

  /** Replaces a session during which the page stood still for too long: also a machine that slept, without an event. */
  #tick(): void {
    const stoodStill = Date.now() - this.#tickedAt;
    this.#tickedAt = Date.now();
    if (stoodStill >= this.#options.staleAfter) this.#replace("the page stood still");
  }

  #replace(reason: string): void {
    if (this.#isOpen) this.#lose({ code: 1006, reason });
  }

  /** Waits no longer than the gateway wants for a session that is missing. */
  #hurry(): void {
    if (this.#session === null && !this.#isClosed) this.#arm(() => this.#start(), this.#notBefore - Date.now());
  }
}
