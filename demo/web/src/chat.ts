import { Actor, type ActorMethod, HttpAgent } from "@dfinity/agent";
import type { IDL } from "@dfinity/candid";
import { IcWebSocket, createWsConfig, generateRandomIdentity } from "ic-websocket-js";
import { Reconnecting } from "icws-reconnect";

type Line = { name: string; text: string };

/** The methods of the canister that the SDK's types want; generated bindings have them all. */
interface ChatService {
  ws_open: ActorMethod<[any], any>;
  ws_message: ActorMethod<[any, [] | [Line]], any>;
}

/** The SDK reads the type of messages from the second argument of ws_message, and uses nothing else of it. */
const chatIdl: IDL.InterfaceFactory = ({ IDL }) => {
  const AppMessage = IDL.Record({ name: IDL.Text, text: IDL.Text });
  const result = IDL.Variant({ Ok: IDL.Null, Err: IDL.Text });
  return IDL.Service({
    ws_message: IDL.Func([IDL.Record({ msg: IDL.Reserved }), IDL.Opt(AppMessage)], [result], []),
  });
};

/** From the page's address (?gateway=…&canister=…&network=…), or from the local network that serves this page. */
async function findChat(): Promise<{ gateway: string; canister: string; network: string }> {
  const query = Object.fromEntries(new URLSearchParams(location.search));
  if (query.gateway && query.canister && query.network) return query as { gateway: string; canister: string; network: string };
  const net = await (await fetch("/_/api/net")).json();
  const chat = net.canisters.find(({ name }: { name: string }) => name === "chat");
  return { gateway: net.gateway_url, canister: chat.id, network: location.origin };
}

async function connect(): Promise<Reconnecting<Line>> {
  const { gateway, canister, network } = await findChat();
  // The key of a local network is not known beforehand. On the mainnet leave shouldFetchRootKey out.
  const agent = await HttpAgent.create({ host: network, shouldFetchRootKey: true });
  const canisterActor = Actor.createActor<ChatService>(chatIdl, { agent, canisterId: canister });
  const identity = generateRandomIdentity();
  const config = createWsConfig({ canisterId: canister, canisterActor, identity, networkUrl: network });
  return new Reconnecting<Line>(() => new IcWebSocket(gateway, undefined, config));
}

// --- the page ---

const part = <E extends HTMLElement>(id: string) => document.getElementById(id) as E;
const [status, lines, form] = [part("status"), part("lines"), part<HTMLFormElement>("say")];
const [name, text] = [part<HTMLInputElement>("name"), part<HTMLInputElement>("text")];

function showLine(line: Line): void {
  const item = document.createElement("li");
  const who = document.createElement("b");
  who.textContent = line.name;
  item.append(who, ` ${line.text}`);
  item.classList.toggle("own", line.name === name.value);
  item.classList.toggle("canister", line.name === "chat");
  lines.append(item);
  item.scrollIntoView({ block: "end" });
}

function showStatus(sentence: string, isOpen = false): void {
  status.textContent = sentence;
  status.classList.toggle("open", isOpen);
  form.querySelector("button")!.disabled = !isOpen;
}

name.value = `guest-${100 + Math.floor(Math.random() * 900)}`;
showStatus("connecting");
connect().then(
  (chat) => {
    chat.onopen = (number) => showStatus(`connected, session ${number}`, true);
    chat.onmessage = showLine;
    chat.onlost = ({ code, reason }, wait) =>
      showStatus(`lost (${code}${reason && `: ${reason}`}); again in ${(wait / 1000).toFixed(1)} s`);
    chat.onclose = ({ code, reason }) => showStatus(`closed (${code}${reason && `: ${reason}`})`);
    form.onsubmit = (event) => {
      event.preventDefault();
      if (!chat.isOpen || !text.value) return;
      chat.send({ name: name.value, text: text.value });
      text.value = "";
    };
  },
  (error) => showStatus(`no chat found: ${error}`),
);
