//! Delegation chains against the vectors of the replica's validator, whose request ids are made up.

use icws_core::Error;
use icws_core::cbor::Value;
use icws_core::certificate::Verifier;
use icws_core::delegation::Chain;
use serde_json::Value as Json;

mod vectors;
use vectors::{bytes, list, load, text};

/// A chain owns no bytes, so they are kept here.
struct Case {
    sender_key: Vec<u8>,
    links: Vec<Link>,
    signature: Vec<u8>,
    message: Vec<u8>,
}

struct Link {
    pubkey: Vec<u8>,
    expiration: u64,
    targets: Option<Vec<Vec<u8>>>,
    signature: Vec<u8>,
}

impl Case {
    fn read(case: &Json) -> Self {
        let link = |link: &Json| Link {
            pubkey: bytes(&link["delegation"], "pubkey"),
            expiration: link["delegation"]["expiration"].as_u64().unwrap(),
            targets: link["delegation"]["targets"].as_array().map(|targets| targets.iter().map(unhex).collect()),
            signature: bytes(link, "signature"),
        };
        Self {
            sender_key: bytes(case, "sender_pubkey"),
            links: list(case, "sender_delegation").iter().map(link).collect(),
            signature: bytes(case, "sender_sig"),
            message: [&b"\x0aic-request"[..], &bytes(case, "request_id")].concat(),
        }
    }

    fn field(&self) -> Value<'_> {
        Value::Array(self.links.iter().map(Link::to_value).collect())
    }
}

impl Link {
    fn to_value(&self) -> Value<'_> {
        let mut delegation = vec![
            (Value::Text("pubkey"), Value::Bytes(&self.pubkey)),
            (Value::Text("expiration"), Value::Unsigned(self.expiration)),
        ];
        if let Some(targets) = &self.targets {
            let targets = targets.iter().map(|target| Value::Bytes(target)).collect();
            delegation.push((Value::Text("targets"), Value::Array(targets)));
        }
        let signature = Value::Bytes(&self.signature);
        Value::Map(vec![(Value::Text("delegation"), Value::Map(delegation)), (Value::Text("signature"), signature)])
    }
}

fn unhex(text: &Json) -> Vec<u8> {
    hex::decode(text.as_str().unwrap()).unwrap()
}

fn open(case: &Case, now_ns: u64, root: &Verifier) -> icws_core::Result<Option<Vec<Vec<u8>>>> {
    let field = case.field();
    let chain = Chain::decode(&case.sender_key, Some(&field))?;
    chain.check(now_ns)?;
    chain.verify(&case.signature, &case.message, root)?;
    Ok(chain.targets().map(|targets| targets.into_iter().map(<[u8]>::to_vec).collect()))
}

#[test]
fn chains_of_the_replica() {
    let file = load("signatures/chains.json");
    let root_key = load("certificates/root_key.json");
    let root = Verifier::new(&bytes(&root_key, "der"), 0, 0, 16).unwrap();
    for json in list(&file, "chains") {
        let case = Case::read(json);
        for moment in list(json, "cases") {
            let verdict = open(&case, moment["now_ns"].as_u64().unwrap(), &root);
            let name = text(json, "request_id");
            match text(moment, "verdict") {
                "valid" => {
                    let expected = moment["targets"].as_array().map(|targets| targets.iter().map(unhex).collect());
                    assert_eq!(verdict, Ok(expected), "{name}");
                }
                "delegation_expired" => assert!(matches!(verdict, Err(Error::DelegationExpired(_))), "{name}"),
                "invalid_signature" => assert!(matches!(verdict, Err(Error::SignatureInvalid(_))), "{name}"),
                "invalid_delegation" => {
                    assert!(matches!(verdict, Err(Error::SignatureInvalid(_) | Error::KeyUnusable(_))), "{name}");
                }
                other => panic!("unknown verdict {other}"),
            }
        }
    }
}
