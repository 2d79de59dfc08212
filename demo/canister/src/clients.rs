//! What clients are told, and what becomes of what they say.

use candid::{CandidType, Principal, decode_one, encode_one};
use ic_cdk::api::time;
use ic_cdk::trap;
use ic_websocket_cdk::{OnCloseCallbackArgs, OnMessageCallbackArgs, OnOpenCallbackArgs};
use serde::Deserialize;

use crate::rooms::Line;
use crate::state;

/// What clients send and get; the time is the sender's, in nanoseconds.
#[derive(CandidType, Deserialize)]
pub struct AppMessage {
    text: String,
    timestamp: u64,
}

// --- over the WebSocket ---

pub fn on_open(args: OnOpenCallbackArgs) {
    let client = args.client_principal;
    state::change(|state| state.connected.insert(client));
    tell(client, "ping".into());
}

/// Traps for a message that is no `AppMessage`, and then it never came.
pub fn on_message(args: OnMessageCallbackArgs) {
    let client = args.client_principal;
    let message: AppMessage = decode_one(&args.message).unwrap_or_else(|error| {
        trap(format!("the message is no record {{ text : text; timestamp : nat64 }}: {error}"))
    });
    match message.text.strip_prefix('/') {
        Some(command) => obey(client, command),
        None if message.text == "close" => close(client),
        None => tell(client, format!("{} ping", message.text)),
    }
}

pub fn on_close(args: OnCloseCallbackArgs) {
    state::change(|state| {
        state.connected.remove(&args.client_principal);
        state.rooms.forget(&args.client_principal);
    });
}

fn obey(client: Principal, command: &str) {
    let words: Vec<&str> = command.splitn(3, ' ').collect();
    let done = match words[..] {
        ["join", room] => join(client, room),
        ["leave", room] => leave(client, room),
        ["say", room, text] => say(client, room, text.into()),
        _ => Err("commands are /join ROOM, /leave ROOM and /say ROOM TEXT".into()),
    };
    if let Err(problem) = done {
        tell(client, problem);
    }
}

/// Queue a message for a client; it says nothing to one whose connection is gone.
fn tell(client: Principal, text: String) {
    let message = AppMessage { text, timestamp: time() };
    let content = encode_one(message).expect("a record of text and number can be encoded");
    let _ = ic_websocket_cdk::send(client, content);
}

fn close(client: Principal) {
    if let Err(problem) = ic_websocket_cdk::close(client) {
        trap(problem);
    }
}

// --- by calls, too ---

pub fn join(who: Principal, room: &str) -> Result<(), String> {
    if !state::read(|state| state.connected.contains(&who)) {
        return Err("open a WebSocket connection first".into());
    }
    state::change(|state| state.rooms.join(who, room))?;
    tell(who, format!("#{room} you are in"));
    Ok(())
}

pub fn leave(who: Principal, room: &str) -> Result<(), String> {
    state::change(|state| state.rooms.leave(who, room))?;
    tell(who, format!("#{room} you are out"));
    Ok(())
}

pub fn say(who: Principal, room: &str, text: String) -> Result<(), String> {
    let line = Line { from: who, text: text.clone(), timestamp: time() };
    let members = state::change(|state| state.rooms.say(room, line))?;
    for member in members {
        tell(member, format!("#{room} {who}: {text}"));
    }
    Ok(())
}
