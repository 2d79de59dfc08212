// The application of both canisters: a client is greeted with `ping`, and each text that it sends comes back with
// ` ping` behind it. These releases of the CDK have no method by which an application closes a connection.

use std::cell::RefCell;
use std::collections::HashSet;

use candid::{CandidType, Principal, decode_one, encode_one};
use ic_cdk::api::time;
use ic_cdk::trap;
use ic_websocket_cdk::{
    OnCloseCallbackArgs, OnMessageCallbackArgs, OnOpenCallbackArgs, WsHandlers, WsInitParams, ws_send,
};
use serde::Deserialize;

#[derive(CandidType, Deserialize)]
pub struct AppMessage {
    text: String,
    timestamp: u64,
}

thread_local! {
    static CONNECTED: RefCell<HashSet<Principal>> = RefCell::default();
}

pub fn start(gateway: String) {
    let handlers = WsHandlers { on_open: Some(on_open), on_message: Some(on_message), on_close: Some(on_close) };
    ic_websocket_cdk::init(WsInitParams::new(handlers, gateway));
}

pub fn count_connected() -> u64 {
    CONNECTED.with_borrow(|connected| connected.len() as u64)
}

fn on_open(args: OnOpenCallbackArgs) {
    CONNECTED.with_borrow_mut(|connected| connected.insert(args.client_principal));
    send(args.client_principal, "ping".into());
}

fn on_message(args: OnMessageCallbackArgs) {
    let message: AppMessage = decode_one(&args.message)
        .unwrap_or_else(|error| trap(&format!("not a record {{ text : text; timestamp : nat64 }}: {error}")));
    send(args.client_principal, format!("{} ping", message.text));
}

fn on_close(args: OnCloseCallbackArgs) {
    CONNECTED.with_borrow_mut(|connected| connected.remove(&args.client_principal));
}

fn send(client: Principal, text: String) {
    let content = encode_one(AppMessage { text, timestamp: time() }).expect("a record of a text and a number");
    if let Err(problem) = ws_send(client, content) {
        trap(&problem);
    }
}
