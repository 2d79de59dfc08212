//! Python's view of the core: converts arguments, leaves the GIL for slow work and raises the classes of
//! `appliance/errors/`. What each name means is written in `appliance/_native.pyi`.
#![allow(missing_docs)]

mod candid;
mod cbor;
mod errors;
mod http;
mod keys;
mod messages;
mod polls;
mod queries;
mod requests;
mod trees;
mod verifier;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use crate::candid::{
        CandidInterface, CandidMethod, CandidTypes, decode_candid, decode_candid_text, encode_candid_text,
    };
    #[pymodule_export]
    use crate::cbor::{decode_cbor, encode_cbor, hash_of_value};
    #[pymodule_export]
    use crate::http::{HttpClient, HttpEndpoint};
    #[pymodule_export]
    use crate::keys::{SigningKey, verify_signature};
    #[pymodule_export]
    use crate::messages::{CertifiedMessage, PollReply, PolledMessage, read_poll_reply_unverified};
    #[pymodule_export]
    use crate::polls::{Poll, PollAnswer, PollQueue};
    #[pymodule_export]
    use crate::queries::{KnownNodes, QueryReply, verify_query_reply};
    #[pymodule_export]
    use crate::requests::{Request, encode_content, encode_envelope, read_envelope_unverified};
    #[pymodule_export]
    use crate::trees::{BlsSecretKey, HashTree, StateTree, encode_certificate, verify_bls};
    #[pymodule_export]
    use crate::verifier::{CertifiedTree, Verifier, signature_of_certificate};
}
