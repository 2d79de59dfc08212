//! Replies to `ws_get_messages`: decoded, verified, and written as the frames that clients receive.

use ::candid::{CandidType, Principal};
use serde::Deserialize;

use crate::candid::decode_one;
use crate::certification::certificate::Verifier;
use crate::encoding::cbor;
use crate::encoding::frame;
use crate::error::check_limit;
use crate::messages::message::{Generation, MessageKey, client_key_bytes};
use crate::messages::proof::Proof;
use crate::{Error, Result};

/// The longest reply in bytes. The IC answers queries with at most 3 MiB.
const MAX_REPLY: usize = 4 << 20;
/// The most messages of a reply. Canisters are set to 50 by default, and rarely beyond a few hundred.
const MAX_MESSAGES: usize = 10_000;
/// The most bytes that all frames of a reply take together. Each has a copy of the certificate.
const MAX_FRAMES: usize = 256 << 20;

/// The answer to a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollReply {
    /// In the order of their nonces.
    pub messages: Vec<PolledMessage>,
    /// Whether the canister has no more for now; true also where it does not say.
    pub is_end_of_queue: bool,
    /// The time of the certificate; None without messages and in what was not verified.
    pub time_ns: Option<u64>,
}

/// One message of a canister for one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledMessage {
    /// v1 and v2: principal and nonce (8 bytes, big-endian); v0: the client's Ed25519 key.
    pub client_key: Vec<u8>,
    /// Its label in the certified tree.
    pub key: String,
    /// The number in the key.
    pub nonce: u64,
    /// The complete WebSocket frame.
    pub frame: Vec<u8>,
}

#[derive(CandidType, Deserialize)]
struct ClientKey {
    client_principal: Principal,
    client_nonce: u64,
}

#[derive(CandidType, Deserialize)]
struct Message<'a> {
    client_key: ClientKey,
    key: &'a str,
    #[serde(with = "serde_bytes")]
    content: Vec<u8>,
}

#[derive(CandidType, Deserialize)]
struct Messages<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(with = "serde_bytes")]
    cert: Vec<u8>,
    #[serde(with = "serde_bytes")]
    tree: Vec<u8>,
    is_end_of_queue: Option<bool>,
}

#[derive(CandidType, Deserialize)]
struct MessageV0<'a> {
    #[serde(with = "serde_bytes")]
    client_key: Vec<u8>,
    key: &'a str,
    #[serde(with = "serde_bytes")]
    val: Vec<u8>,
}

#[derive(CandidType, Deserialize)]
struct MessagesV0<'a> {
    #[serde(borrow)]
    messages: Vec<MessageV0<'a>>,
    #[serde(with = "serde_bytes")]
    cert: Vec<u8>,
    #[serde(with = "serde_bytes")]
    tree: Vec<u8>,
}

type Answer<T> = std::result::Result<T, String>;

/// A reply of any generation, decoded only.
struct Reply<'a> {
    messages: Vec<Entry<'a>>,
    cert: Vec<u8>,
    tree: Vec<u8>,
    is_end_of_queue: bool,
}

struct Entry<'a> {
    client_key: Vec<u8>,
    key: &'a str,
    nonce: u64,
    content: Vec<u8>,
}

/// Opens a reply: all of its messages are certified by the canister, and each has a frame that shows itself only.
///
/// Fails, as a whole, with [`Error::Candid`], [`Error::CanisterRefused`], [`Error::TooLarge`], [`Error::Malformed`]
/// (keys that do not parse or do not ascend), [`Error::MessageNotCertified`] or an error of certificates and paths.
pub fn open_poll_reply(
    verifier: &Verifier,
    reply: &[u8],
    canister_id: &[u8],
    generation: Generation,
    now_ns: u64,
) -> Result<PollReply> {
    let reply = Reply::decode(reply, generation)?;
    if reply.messages.is_empty() {
        return reply.write_frames(generation, None, |_, _| Ok(()));
    }
    let proof = Proof::verify(verifier, &reply.cert, &reply.tree, canister_id, now_ns)?;
    let time_ns = proof.time_ns();
    reply.write_frames(generation, Some(time_ns), |entry, witness| {
        proof.check(entry.key, &entry.content)?;
        proof.write_witness(entry.key, witness);
        Ok(())
    })
}

/// The same, verifying nothing: every frame has the whole tree as it came.
pub fn read_poll_reply_unverified(reply: &[u8], generation: Generation) -> Result<PollReply> {
    let reply = Reply::decode(reply, generation)?;
    let tree = reply.tree.clone();
    reply.write_frames(generation, None, |_, witness| {
        witness.clone_from(&tree);
        Ok(())
    })
}

impl<'a> Reply<'a> {
    fn decode(data: &'a [u8], generation: Generation) -> Result<Self> {
        check_limit("reply to a poll", data.len(), MAX_REPLY, "bytes")?;
        let refused = |text| Error::CanisterRefused { method: "ws_get_messages", text };
        if generation == Generation::V0 {
            let answer = decode_one::<Answer<MessagesV0<'_>>>(data)?.map_err(refused)?;
            let entry = |message: MessageV0<'a>| Entry::new(message.client_key, message.key, message.val);
            let messages = answer.messages.into_iter().map(entry).collect::<Result<_>>()?;
            Self { messages, cert: answer.cert, tree: answer.tree, is_end_of_queue: true }.checked()
        } else {
            let answer = decode_one::<Answer<Messages<'_>>>(data)?.map_err(refused)?;
            let entry = |message: Message<'a>| {
                let ClientKey { client_principal, client_nonce } = message.client_key;
                Entry::new(client_key_bytes(client_principal.as_slice(), client_nonce), message.key, message.content)
            };
            let messages = answer.messages.into_iter().map(entry).collect::<Result<_>>()?;
            let is_end_of_queue = answer.is_end_of_queue.unwrap_or(true);
            Self { messages, cert: answer.cert, tree: answer.tree, is_end_of_queue }.checked()
        }
    }

    /// Refuses too many messages, and keys that are not of one gateway in ascending order.
    fn checked(self) -> Result<Self> {
        check_limit("reply to a poll", self.messages.len(), MAX_MESSAGES, "messages")?;
        if let Some(first) = self.messages.first() {
            MessageKey::parse(first.key)?.check_gateway()?;
        }
        for pair in self.messages.windows(2) {
            if pair[0].gateway() != pair[1].gateway() || pair[0].nonce >= pair[1].nonce {
                let problem = format!("key {} after {}", pair[1].key, pair[0].key);
                return Err(Error::malformed("reply to a poll", problem));
            }
        }
        Ok(self)
    }

    /// `prove` puts the witness of a message in place of what its buffer had, or refuses the message.
    fn write_frames(
        self,
        generation: Generation,
        time_ns: Option<u64>,
        prove: impl Fn(&Entry<'_>, &mut Vec<u8>) -> Result<()>,
    ) -> Result<PollReply> {
        let (mut witness, mut payload, mut total) = (Vec::new(), Vec::new(), 0);
        let mut messages = Vec::with_capacity(self.messages.len());
        for entry in self.messages {
            prove(&entry, &mut witness)?;
            entry.write_payload(generation, &self.cert, &witness, &mut payload);
            total += payload.len();
            check_limit("reply to a poll", total, MAX_FRAMES, "bytes of frames")?;
            let (frame, key) = (frame::binary(&payload), entry.key.to_owned());
            messages.push(PolledMessage { client_key: entry.client_key, key, nonce: entry.nonce, frame });
        }
        Ok(PollReply { messages, is_end_of_queue: self.is_end_of_queue, time_ns })
    }
}

impl<'a> Entry<'a> {
    fn new(client_key: Vec<u8>, key: &'a str, content: Vec<u8>) -> Result<Self> {
        Ok(Self { client_key, key, nonce: MessageKey::parse(key)?.nonce, content })
    }

    /// All of the key that is not the nonce.
    fn gateway(&self) -> &str {
        self.key.rsplit_once('_').map_or("", |(gateway, _)| gateway)
    }

    /// The CBOR that clients expect: untagged, in this order.
    fn write_payload(&self, generation: Generation, certificate: &[u8], witness: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.reserve(64 + self.key.len() + self.content.len() + certificate.len() + witness.len());
        cbor::write_head(out, 5, 4);
        cbor::write_text(out, "key");
        cbor::write_text(out, self.key);
        for (name, value) in [(generation.content_name(), &*self.content), ("cert", certificate), ("tree", witness)] {
            cbor::write_text(out, name);
            cbor::write_bytes(out, value);
        }
    }
}

#[cfg(test)]
mod tests;
