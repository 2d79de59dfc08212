//! The messages of the protocol itself, which canisters of v1 and v2 mix with those of the application.

use ::candid::{CandidType, Reserved};
use serde::Deserialize;

use crate::candid::decode_one;

/// What a message of the protocol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind {
    /// The canister accepted the client.
    Open,
    /// The canister's heartbeat, with the number of the last message that it took from the client.
    Ack,
    /// The client's answer to an [`ServiceKind::Ack`].
    KeepAlive,
    /// The canister has forgotten the client.
    Close,
}

/// Only the kind is of interest, so that fields of later releases do not matter.
#[derive(CandidType, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "Candid's names")]
enum Content {
    OpenMessage(Reserved),
    AckMessage(Reserved),
    KeepAliveMessage(Reserved),
    CloseMessage(Reserved),
}

impl ServiceKind {
    /// The kind of a content, None where it is none that we know: later releases may have more.
    pub fn of(content: &[u8]) -> Option<Self> {
        Some(match decode_one(content).ok()? {
            Content::OpenMessage(_) => Self::Open,
            Content::AckMessage(_) => Self::Ack,
            Content::KeepAliveMessage(_) => Self::KeepAlive,
            Content::CloseMessage(_) => Self::Close,
        })
    }

    /// Its name in Python.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Ack => "ack",
            Self::KeepAlive => "keep_alive",
            Self::Close => "close",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candid::encode_text;

    #[test]
    fn the_kind_is_that_of_the_variant_whatever_it_holds() {
        for (text, kind) in [
            (
                "(variant { OpenMessage = record { client_key = record { client_nonce = 7 : nat64 } } })",
                ServiceKind::Open,
            ),
            ("(variant { AckMessage = record { last_incoming_sequence_num = 3 : nat64 } })", ServiceKind::Ack),
            ("(variant { KeepAliveMessage = record { later = \"x\" } })", ServiceKind::KeepAlive),
            ("(variant { CloseMessage = record { reason = variant { KeepAliveTimeout } } })", ServiceKind::Close),
            ("(variant { CloseMessage })", ServiceKind::Close),
        ] {
            assert_eq!(ServiceKind::of(&encode_text(text).unwrap()), Some(kind), "{text}");
        }
    }

    #[test]
    fn what_is_none_of_them_has_no_kind() {
        for text in ["(variant { LaterMessage })", "(record { OpenMessage = 1 })", "()", "(\"AckMessage\")"] {
            assert_eq!(ServiceKind::of(&encode_text(text).unwrap()), None, "{text}");
        }
        assert_eq!(ServiceKind::of(b""), None);
        assert_eq!(ServiceKind::of(b"DIDL\xff\xff\xff\xff\x7f"), None);
    }
}
