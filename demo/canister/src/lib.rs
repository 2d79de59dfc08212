//! The demo canister: ping-pong and chat rooms over WebSockets, on the CDK that canisters in the field use.
//!
//! Here are the methods of `demo.did`; what they do is in the modules. Over the WebSocket a client is greeted with
//! `ping`, and each text that it sends comes back with ` ping` behind it. `close` has the canister close the
//! connection. A text that begins with a slash is a command: `/join ROOM`, `/leave ROOM`, `/say ROOM TEXT`.

mod clients;
mod rooms;
mod state;

use candid::CandidType;
use ic_cdk::api::msg_caller;
use ic_cdk::{init, post_upgrade, pre_upgrade, query, update};
use ic_websocket_cdk::{
    CanisterWsCloseArguments, CanisterWsCloseResult, CanisterWsGetMessagesArguments, CanisterWsGetMessagesResult,
    CanisterWsMessageArguments, CanisterWsMessageResult, CanisterWsOpenArguments, CanisterWsOpenResult, WsHandlers,
    WsInitParams,
};
use serde::Deserialize;

use clients::AppMessage;
use rooms::{Line, Summary};

const INTERFACE: &[u8] = include_bytes!("../demo.did");

/// Where agents and tools look for the Candid interface.
#[used]
#[unsafe(link_section = "icp:public candid:service")]
static PUBLISHED_INTERFACE: [u8; INTERFACE.len()] = *include_bytes!("../demo.did");

/// How the CDK treats clients. It traps for an interval that is not above its keep-alive timeout of a minute.
#[derive(CandidType, Deserialize, Default)]
struct Settings {
    send_ack_interval_ms: Option<u64>,
    max_number_of_returned_messages: Option<u64>,
}

#[init]
fn init(settings: Option<Settings>) {
    let settings = settings.unwrap_or_default();
    let mut params = WsInitParams::new(WsHandlers {
        on_open: Some(clients::on_open),
        on_message: Some(clients::on_message),
        on_close: Some(clients::on_close),
    });
    if let Some(interval) = settings.send_ack_interval_ms {
        params = params.with_send_ack_interval_ms(interval);
    }
    if let Some(most) = settings.max_number_of_returned_messages {
        params = params.with_max_number_of_returned_messages(most as usize);
    }
    ic_websocket_cdk::init(params);
}

#[pre_upgrade]
fn pre_upgrade() {
    state::save();
}

/// Connections do not live through an upgrade, for the CDK keeps them on the heap; what was said does.
#[post_upgrade]
fn post_upgrade(settings: Option<Settings>) {
    state::restore();
    init(settings);
}

// --- ic-websocket-cdk ---

#[update]
fn ws_open(args: CanisterWsOpenArguments) -> CanisterWsOpenResult {
    ic_websocket_cdk::ws_open(args)
}

#[update]
fn ws_close(args: CanisterWsCloseArguments) -> CanisterWsCloseResult {
    ic_websocket_cdk::ws_close(args)
}

#[update]
fn ws_message(args: CanisterWsMessageArguments, kind: Option<AppMessage>) -> CanisterWsMessageResult {
    ic_websocket_cdk::ws_message(args, kind)
}

#[query]
fn ws_get_messages(args: CanisterWsGetMessagesArguments) -> CanisterWsGetMessagesResult {
    ic_websocket_cdk::ws_get_messages(args)
}

#[query]
fn clients_connected() -> u64 {
    state::read(|state| state.connected.len() as u64)
}

// --- chat rooms ---

#[update]
fn join(room: String) -> Result<(), String> {
    clients::join(msg_caller(), &room)
}

#[update]
fn leave(room: String) -> Result<(), String> {
    clients::leave(msg_caller(), &room)
}

#[update]
fn say(room: String, text: String) -> Result<(), String> {
    clients::say(msg_caller(), &room, text)
}

#[query]
fn rooms() -> Vec<Summary> {
    state::read(|state| state.rooms.summaries())
}

#[query]
fn lines(room: String) -> Vec<Line> {
    state::read(|state| state.rooms.lines(&room))
}
