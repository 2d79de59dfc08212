//! The messages that canisters certify for their clients, in all wire generations.

use ::candid::Principal;

use crate::certification::certificate::Verifier;
use crate::encoding::cbor::{self, Budget, Value};
use crate::messages::proof::Proof;
use crate::{Error, Result};

const WHAT: &str = "message";

/// For the two small maps of a message; clients must not be made to build more.
const BUDGET: Budget = Budget { depth: 4, items: 64 };

/// The wire format that a client and a canister speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The first one, of July 2023.
    V0,
    /// SDK 0.1 and 0.2.
    V1,
    /// SDK 0.3 and later.
    V2,
}

impl Generation {
    /// How the content of a message is called in a frame.
    pub fn content_name(self) -> &'static str {
        if self == Self::V0 { "val" } else { "content" }
    }
}

/// The label of a message in the certified tree: `<principal of the gateway>_<nonce in 20 digits>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageKey<'a> {
    /// The gateway's principal as text.
    pub gateway: &'a str,
    /// The number of the message in the gateway's queue.
    pub nonce: u64,
}

impl<'a> MessageKey<'a> {
    /// Fails with [`Error::Malformed`]. Whether `gateway` is a principal is for [`MessageKey::check_gateway`].
    pub fn parse(text: &'a str) -> Result<Self> {
        let parsed = text.rsplit_once('_').and_then(|(gateway, digits)| {
            let is_nonce = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
            Some(Self { gateway, nonce: digits.parse().ok().filter(|_| is_nonce)? })
        });
        parsed.ok_or_else(|| Error::malformed("message key", format!("{text:?} is not <principal>_<20 digits>")))
    }

    /// Fails with [`Error::Malformed`] where the gateway is not a principal.
    pub fn check_gateway(&self) -> Result<()> {
        match Principal::from_text(self.gateway) {
            Ok(_) => Ok(()),
            Err(problem) => Err(Error::malformed("message key", format!("{:?}: {problem}", self.gateway))),
        }
    }
}

/// What a canister has to say to a client: the content that it certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebsocketMessage<'a> {
    /// Who it is for. v1 and v2: principal and nonce (8 bytes, big-endian); v0: the client's Ed25519 key.
    pub client_key: Vec<u8>,
    /// Its number among the messages for this client, from 1.
    pub sequence_num: u64,
    /// When the canister sent it, nanoseconds since 1970.
    pub timestamp_ns: u64,
    /// Whether it is of the protocol rather than of the application. Never in v0.
    pub is_service_message: bool,
    /// Candid of the application or of the service in v1 and v2, CBOR in v0.
    pub content: &'a [u8],
}

impl<'a> WebsocketMessage<'a> {
    /// Decodes the CBOR that Rust canisters tag and Motoko canisters do not. Fails with [`Error::Malformed`].
    pub fn decode(data: &'a [u8], generation: Generation) -> Result<Self> {
        let value = cbor::decode(WHAT, data, BUDGET)?;
        let client_key = entry(&value, "client_key")?;
        let is_v0 = generation == Generation::V0;
        Ok(Self {
            client_key: if is_v0 {
                bytes("client_key", client_key)?.to_vec()
            } else {
                let principal = bytes("client_principal", entry(client_key, "client_principal")?)?;
                client_key_bytes(principal, number(client_key, "client_nonce")?)
            },
            sequence_num: number(&value, "sequence_num")?,
            timestamp_ns: number(&value, "timestamp")?,
            is_service_message: !is_v0 && boolean(&value, "is_service_message")?,
            content: entry(&value, if is_v0 { "message" } else { "content" })
                .and_then(|value| bytes("content", value))?,
        })
    }
}

/// A client of v1 and v2 in one string: principal and nonce (8 bytes, big-endian).
pub fn client_key_bytes(principal: &[u8], nonce: u64) -> Vec<u8> {
    [principal, &nonce.to_be_bytes()].concat()
}

/// A message with the proof that its canister sent it, as its client receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedMessage {
    /// Its label in the certified tree.
    pub key: String,
    /// As in [`WebsocketMessage`].
    pub client_key: Vec<u8>,
    /// As in [`WebsocketMessage`].
    pub sequence_num: u64,
    /// As in [`WebsocketMessage`].
    pub timestamp_ns: u64,
    /// The time of the certificate.
    pub certified_at_ns: u64,
    /// As in [`WebsocketMessage`].
    pub is_service_message: bool,
    /// As in [`WebsocketMessage`].
    pub content: Vec<u8>,
}

/// Verifies what a gateway sent as a binary message: certificate, witness and content.
///
/// Fails with [`Error::Malformed`], [`Error::MessageNotCertified`] or one of the errors of certificates and paths.
pub fn open_message(
    verifier: &Verifier,
    data: &[u8],
    canister_id: &[u8],
    generation: Generation,
    now_ns: u64,
) -> Result<CertifiedMessage> {
    let value = cbor::decode(WHAT, data, BUDGET)?;
    let key = entry(&value, "key")?.as_text().ok_or_else(|| Error::malformed(WHAT, "key is not text"))?;
    let certified = |name| entry(&value, name).and_then(|value| bytes(name, value));
    let proof = Proof::verify(verifier, certified("cert")?, certified("tree")?, canister_id, now_ns)?;
    let content = certified(generation.content_name())?;
    proof.check(key, content)?;
    let message = WebsocketMessage::decode(content, generation)?;
    Ok(CertifiedMessage {
        key: key.to_owned(),
        client_key: message.client_key,
        sequence_num: message.sequence_num,
        timestamp_ns: message.timestamp_ns,
        certified_at_ns: proof.time_ns(),
        is_service_message: message.is_service_message,
        content: message.content.to_vec(),
    })
}

fn entry<'v, 'a>(value: &'v Value<'a>, name: &str) -> Result<&'v Value<'a>> {
    value.get(name).ok_or_else(|| Error::malformed(WHAT, format!("no {name}")))
}

fn bytes<'a>(name: &str, value: &Value<'a>) -> Result<&'a [u8]> {
    value.as_bytes().ok_or_else(|| Error::malformed(WHAT, format!("{name} is not a byte string")))
}

fn number(value: &Value<'_>, name: &str) -> Result<u64> {
    entry(value, name)?.as_u64().ok_or_else(|| Error::malformed(WHAT, format!("{name} is not a number below 2^64")))
}

fn boolean(value: &Value<'_>, name: &str) -> Result<bool> {
    match entry(value, name)? {
        Value::Bool(value) => Ok(*value),
        _ => Err(Error::malformed(WHAT, format!("{name} is not a bool"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(content: Value<'static>) -> Value<'static> {
        Value::Map(vec![
            (
                Value::Text("client_key"),
                Value::Map(vec![
                    (Value::Text("client_principal"), Value::Bytes(&[1, 2])),
                    (Value::Text("client_nonce"), Value::Unsigned(258)),
                ]),
            ),
            (Value::Text("sequence_num"), Value::Unsigned(1)),
            (Value::Text("timestamp"), Value::Unsigned(u64::MAX)),
            (Value::Text("is_service_message"), Value::Bool(true)),
            (Value::Text("content"), content),
        ])
    }

    #[test]
    fn the_tag_of_a_message_is_optional() {
        let plain = cbor::encode(&v2(Value::Bytes(b"hi")));
        let tagged = [&cbor::SELF_DESCRIBED[..], &plain].concat();
        let message = WebsocketMessage::decode(&plain, Generation::V2).unwrap();
        assert_eq!(message.client_key, [1, 2, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!((message.sequence_num, message.timestamp_ns), (1, u64::MAX));
        assert!(message.is_service_message && message.content == b"hi");
        assert_eq!(WebsocketMessage::decode(&tagged, Generation::V1).unwrap(), message);
    }

    #[test]
    fn every_field_is_needed() {
        assert!(WebsocketMessage::decode(&cbor::encode(&v2(Value::Text("hi"))), Generation::V2).is_err());
        let Value::Map(entries) = v2(Value::Bytes(b"hi")) else { unreachable!() };
        for at in 0..entries.len() {
            let mut fewer = entries.clone();
            fewer.remove(at);
            assert!(WebsocketMessage::decode(&cbor::encode(&Value::Map(fewer)), Generation::V2).is_err());
        }
    }

    #[test]
    fn v0_names_its_clients_by_their_keys() {
        let value = Value::Map(vec![
            (Value::Text("client_key"), Value::Bytes(&[5; 32])),
            (Value::Text("sequence_num"), Value::Unsigned(1)),
            (Value::Text("timestamp"), Value::Unsigned(2)),
            (Value::Text("message"), Value::Bytes(b"hi")),
        ]);
        let data = cbor::encode(&value);
        let message = WebsocketMessage::decode(&data, Generation::V0).unwrap();
        assert_eq!((message.client_key.as_slice(), message.content), (&[5; 32][..], &b"hi"[..]));
        assert!(!message.is_service_message);
        assert!(WebsocketMessage::decode(&data, Generation::V2).is_err());
    }

    #[test]
    fn keys() {
        let key = MessageKey::parse("2vxsx-fae_00000000000000000258").unwrap();
        assert_eq!(key, MessageKey { gateway: "2vxsx-fae", nonce: 258 });
        assert!(key.check_gateway().is_ok());
        assert_eq!(MessageKey::parse("x_18446744073709551615").unwrap().nonce, u64::MAX);
        for bad in
            ["", "_", "2vxsx-fae", "a_1", "a_+0000000000000000258", "a_18446744073709551616", "a_000000000000000002580"]
        {
            assert!(MessageKey::parse(bad).is_err(), "{bad}");
        }
        assert!(MessageKey::parse("nobody_00000000000000000000").unwrap().check_gateway().is_err());
    }
}
