//! Ping-pong on ic-websocket-cdk 0.2.1. The gateway's principal is the argument of the installation.

#[path = "../../ping_pong.rs"]
mod ping_pong;

use ic_cdk::{init, query, update};
use ic_websocket_cdk::{
    CanisterWsCloseArguments, CanisterWsCloseResult, CanisterWsGetMessagesArguments, CanisterWsGetMessagesResult,
    CanisterWsMessageArguments, CanisterWsMessageResult, CanisterWsOpenArguments, CanisterWsOpenResult,
};

#[init]
fn init(gateway: String) {
    ping_pong::start(gateway);
}

#[update]
fn ws_open(args: CanisterWsOpenArguments) -> CanisterWsOpenResult {
    ic_websocket_cdk::ws_open(args)
}

#[update]
fn ws_close(args: CanisterWsCloseArguments) -> CanisterWsCloseResult {
    ic_websocket_cdk::ws_close(args)
}

#[update]
fn ws_message(args: CanisterWsMessageArguments, kind: Option<ping_pong::AppMessage>) -> CanisterWsMessageResult {
    ic_websocket_cdk::ws_message(args, kind)
}

#[query]
fn ws_get_messages(args: CanisterWsGetMessagesArguments) -> CanisterWsGetMessagesResult {
    ic_websocket_cdk::ws_get_messages(args)
}

#[query]
fn clients_connected() -> u64 {
    ping_pong::count_connected()
}
