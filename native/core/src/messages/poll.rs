//! Replies to `ws_get_messages`: decoded, verified, and written as the frames that clients receive.

use ::candid::{CandidType, Principal};
use serde::Deserialize;

use crate::candid::decode_one;
use crate::certification::certificate::Verifier;
use crate::encoding::cbor;
use crate::encoding::frame;
use crate::error::check_limit;
use crate::messages::message::{Generation, MessageKey, WebsocketMessage, client_key_bytes};
use crate::messages::proof::Proof;
use crate::messages::service::ServiceKind;
use crate::principal;
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

impl PollReply {
    /// Whether each message follows the one before it, and all of them decode. True without messages.
    pub fn is_whole(&self) -> bool {
        let follows = |pair: &[PolledMessage]| pair[1].nonce == pair[0].nonce + 1;
        self.messages.windows(2).all(follows) && self.messages.iter().all(|message| message.problem.is_none())
    }
}

/// Which queue of the canister a reply must be from, and how complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue<'a> {
    /// The gateway that the messages are for; None takes any one.
    pub gateway: Option<&'a [u8]>,
    /// Takes replies that leave out messages between others, and messages whose content does not decode.
    pub allow_holes: bool,
}

/// One message of a canister for one client. All but the frame is read from its content, which the canister certified,
/// and nothing from what the reply says beside it.
///
/// With a `problem` the content says nothing: the client key is the one beside it, numbers are 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledMessage {
    /// v1 and v2: principal and nonce (8 bytes, big-endian); v0: the client's Ed25519 key.
    pub client_key: Vec<u8>,
    /// Its number among the messages for this client, from 1.
    pub sequence_num: u64,
    /// When the canister sent it, nanoseconds since 1970.
    pub timestamp_ns: u64,
    /// Whether it is of the protocol rather than of the application. Never in v0.
    pub is_service: bool,
    /// Which one of the protocol it is; None for those of the application and unknown ones.
    pub service_kind: Option<ServiceKind>,
    /// Its label in the certified tree.
    pub key: String,
    /// The number in the key.
    pub nonce: u64,
    /// The complete WebSocket frame.
    pub frame: Vec<u8>,
    /// Why the content, certified as it is, does not decode.
    pub problem: Option<String>,
}

#[derive(CandidType, Deserialize, Clone)]
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

/// What a content says, or why it does not decode.
type Read<'a> = std::result::Result<WebsocketMessage<'a>, String>;

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
/// (keys and contents that do not decode), [`Error::NoncesNotAscending`], [`Error::HoleInReply`],
/// [`Error::ForeignQueue`], [`Error::ClientKeyMismatch`], [`Error::MessageNotCertified`] or an error of certificates and
/// paths.
pub fn open_poll_reply(
    verifier: &Verifier,
    reply: &[u8],
    canister_id: &[u8],
    generation: Generation,
    queue: Queue<'_>,
    now_ns: u64,
) -> Result<PollReply> {
    let reply = Reply::decode(reply, generation, queue)?;
    if reply.messages.is_empty() {
        return reply.without_messages(generation, queue);
    }
    let proof = Proof::verify(verifier, &reply.cert, &reply.tree, canister_id, now_ns)?;
    reply.certified(&proof, generation, queue)
}

/// The same for a reply without messages, or with a certificate whose signatures are known ([`Verifier::recall`]); None for
/// any other. Costs no more than decoding and hashing.
pub fn recall_poll_reply(
    verifier: &Verifier,
    reply: &[u8],
    canister_id: &[u8],
    generation: Generation,
    queue: Queue<'_>,
    now_ns: u64,
) -> Option<Result<PollReply>> {
    let reply = match Reply::decode(reply, generation, queue) {
        Ok(reply) if reply.messages.is_empty() => return Some(reply.without_messages(generation, queue)),
        Ok(reply) => reply,
        Err(error) => return Some(Err(error)),
    };
    let proof = Proof::recall(verifier, &reply.cert, &reply.tree, canister_id, now_ns)?;
    Some(proof.and_then(|proof| reply.certified(&proof, generation, queue)))
}

/// The same for the queue of any gateway, verifying nothing but that nonces ascend: every frame has the whole tree as it
/// came.
pub fn read_poll_reply_unverified(reply: &[u8], generation: Generation) -> Result<PollReply> {
    let queue = Queue { gateway: None, allow_holes: true };
    let reply = Reply::decode(reply, generation, queue)?;
    let tree = reply.tree.clone();
    reply.write_frames(generation, None, |entry, witness| {
        witness.clone_from(&tree);
        entry.read(generation, queue)
    })
}

impl<'a> Reply<'a> {
    fn decode(data: &'a [u8], generation: Generation, queue: Queue<'_>) -> Result<Self> {
        check_limit("reply to a poll", data.len(), MAX_REPLY, "bytes")?;
        let refused = |text| Error::CanisterRefused { method: "ws_get_messages", text };
        if generation == Generation::V0 {
            let answer = decode_one::<Answer<MessagesV0<'_>>>(data)?.map_err(refused)?;
            let entry = |message: MessageV0<'a>| Entry::new(message.client_key, message.key, message.val);
            let messages = answer.messages.into_iter().map(entry).collect::<Result<_>>()?;
            Self { messages, cert: answer.cert, tree: answer.tree, is_end_of_queue: true }.checked(queue)
        } else {
            let answer = decode_one::<Answer<Messages<'_>>>(data)?.map_err(refused)?;
            let entry = |message: Message<'a>| {
                let ClientKey { client_principal, client_nonce } = message.client_key;
                Entry::new(client_key_bytes(client_principal.as_slice(), client_nonce), message.key, message.content)
            };
            let messages = answer.messages.into_iter().map(entry).collect::<Result<_>>()?;
            let is_end_of_queue = answer.is_end_of_queue.unwrap_or(true);
            Self { messages, cert: answer.cert, tree: answer.tree, is_end_of_queue }.checked(queue)
        }
    }

    /// Refuses too many messages, and keys that are not of one queue in ascending order.
    fn checked(self, queue: Queue<'_>) -> Result<Self> {
        check_limit("reply to a poll", self.messages.len(), MAX_MESSAGES, "messages")?;
        let Some(first) = self.messages.first() else { return Ok(self) };
        let gateway = match queue.gateway {
            Some(id) => principal::to_text(id),
            None => {
                MessageKey::parse(first.key)?.check_gateway()?;
                first.gateway().to_owned()
            }
        };
        if let Some(foreign) = self.messages.iter().find(|entry| entry.gateway() != gateway) {
            return Err(Error::ForeignQueue { key: foreign.key.to_owned(), gateway });
        }
        for pair in self.messages.windows(2) {
            let (previous, got) = (pair[0].nonce, pair[1].nonce);
            if got <= previous {
                return Err(Error::NoncesNotAscending { previous, got });
            }
            if got - previous > 1 && !queue.allow_holes {
                return Err(Error::HoleInReply { expected: previous + 1, got });
            }
        }
        Ok(self)
    }

    fn without_messages(self, generation: Generation, queue: Queue<'_>) -> Result<PollReply> {
        self.write_frames(generation, None, |entry, _| entry.read(generation, queue))
    }

    /// Checks each message against the proof, and cuts that down to it.
    fn certified(self, proof: &Proof, generation: Generation, queue: Queue<'_>) -> Result<PollReply> {
        self.write_frames(generation, Some(proof.time_ns()), |entry, witness| {
            proof.check(entry.key, &entry.content)?;
            let message = entry.read(generation, queue)?;
            // The one beside is certified by nobody. If it were merely ignored, an endpoint that lies would pass as
            // honest.
            if message.as_ref().is_ok_and(|message| message.client_key != entry.client_key) {
                return Err(Error::ClientKeyMismatch(entry.key.to_owned()));
            }
            proof.write_witness(entry.key, witness);
            Ok(message)
        })
    }

    /// `open` decodes a message and puts its witness in place of what the buffer had, or refuses the message.
    fn write_frames(
        self,
        generation: Generation,
        time_ns: Option<u64>,
        open: impl for<'e> Fn(&'e Entry<'_>, &mut Vec<u8>) -> Result<Read<'e>>,
    ) -> Result<PollReply> {
        let (mut witness, mut payload, mut total) = (Vec::new(), Vec::new(), 0);
        let mut messages = Vec::with_capacity(self.messages.len());
        for entry in &self.messages {
            let message = open(entry, &mut witness)?;
            entry.write_payload(generation, &self.cert, &witness, &mut payload);
            total += payload.len();
            check_limit("reply to a poll", total, MAX_FRAMES, "bytes of frames")?;
            messages.push(entry.polled(message, frame::binary(&payload)));
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

    /// What the content says. Fails with [`Error::Malformed`], unless such a content is allowed.
    fn read(&self, generation: Generation, queue: Queue<'_>) -> Result<Read<'_>> {
        match WebsocketMessage::decode(&self.content, generation) {
            Ok(message) => Ok(Ok(message)),
            Err(error) if queue.allow_holes => Ok(Err(error.to_string())),
            Err(Error::Malformed { what, problem }) => {
                Err(Error::Malformed { what, problem: format!("{}: {problem}", self.key) })
            }
            Err(other) => Err(other),
        }
    }

    fn polled(&self, message: Read<'_>, frame: Vec<u8>) -> PolledMessage {
        let (key, nonce) = (self.key.to_owned(), self.nonce);
        match message {
            Ok(message) => PolledMessage {
                sequence_num: message.sequence_num,
                timestamp_ns: message.timestamp_ns,
                is_service: message.is_service_message,
                service_kind: message.is_service_message.then(|| ServiceKind::of(message.content)).flatten(),
                client_key: message.client_key,
                key,
                nonce,
                frame,
                problem: None,
            },
            Err(problem) => PolledMessage {
                sequence_num: 0,
                timestamp_ns: 0,
                is_service: false,
                service_kind: None,
                client_key: self.client_key.clone(),
                key,
                nonce,
                frame,
                problem: Some(problem),
            },
        }
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
