//! The content of a request (interface specification, "HTTPS Interface"): what a sender signs.

use crate::encoding::cbor::{self, Value, map};
use crate::encoding::request_id::{self, Hash};
use crate::error::check_limit;
use crate::{Error, Result, principal};

/// The longest nonce.
pub const MAX_NONCE: usize = 32;
/// The most paths of one read_state.
pub const MAX_PATHS: usize = 1000;
/// The most labels of one path.
pub const MAX_LABELS: usize = 127;

/// A content, decoded or to be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content<'a> {
    /// What is asked for.
    pub operation: Operation<'a>,
    /// Who asks: a principal.
    pub sender: &'a [u8],
    /// Until when the request is valid.
    pub ingress_expiry_ns: u64,
    /// Makes equal requests different.
    pub nonce: Option<&'a [u8]>,
    /// What a canister certifies about the sender.
    pub sender_info: Option<SenderInfo<'a>>,
}

/// The kind of a request with the fields of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation<'a> {
    /// A call that may change state.
    Call(Method<'a>),
    /// A call that may not.
    Query(Method<'a>),
    /// The paths of the state tree to be certified.
    ReadState(Vec<Vec<&'a [u8]>>),
}

/// A method with its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method<'a> {
    /// The canister it is a method of.
    pub canister_id: &'a [u8],
    /// The name.
    pub name: &'a str,
    /// The argument, Candid as a rule.
    pub arg: &'a [u8],
}

/// Attributes of the sender, signed by the canister that the sender's key belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderInfo<'a> {
    /// The attributes.
    pub info: &'a [u8],
    /// The canister.
    pub signer: &'a [u8],
    /// The canister signature.
    pub signature: &'a [u8],
}

impl<'a> Operation<'a> {
    /// The value of `request_type`.
    pub fn request_type(&self) -> &'static str {
        match self {
            Self::Call(_) => "call",
            Self::Query(_) => "query",
            Self::ReadState(_) => "read_state",
        }
    }

    /// The method of a call or query.
    pub fn method(&self) -> Option<&Method<'a>> {
        match self {
            Self::Call(method) | Self::Query(method) => Some(method),
            Self::ReadState(_) => None,
        }
    }
}

impl<'a> Content<'a> {
    /// Decodes the known fields. Fails with [`Error::Malformed`] or, for principals and paths, [`Error::TooLarge`].
    ///
    /// A nonce of any length is decoded: its length is checked after the expiry, as the IC does.
    pub fn decode(value: &Value<'a>) -> Result<Self> {
        Ok(Self {
            operation: decode_operation(value)?,
            sender: principal_field(value, "sender")?,
            ingress_expiry_ns: value
                .get("ingress_expiry")
                .and_then(Value::as_u64)
                .ok_or_else(|| malformed("ingress_expiry is missing or no 64-bit number"))?,
            nonce: value.get_optional("nonce").map(|nonce| as_bytes(nonce, "nonce")).transpose()?,
            sender_info: value.get_optional("sender_info").map(decode_sender_info).transpose()?,
        })
    }

    /// The CBOR, untagged, and the request id.
    pub fn encode(&self) -> Result<(Vec<u8>, Hash)> {
        let value = self.to_value();
        Ok((cbor::encode(&value), request_id::hash_of_map(&value)?))
    }

    fn to_value(&self) -> Value<'a> {
        let mut fields = vec![("request_type", Value::Text(self.operation.request_type()))];
        match &self.operation {
            Operation::Call(method) | Operation::Query(method) => fields.extend([
                ("canister_id", Value::Bytes(method.canister_id)),
                ("method_name", Value::Text(method.name)),
                ("arg", Value::Bytes(method.arg)),
            ]),
            Operation::ReadState(paths) => {
                let path = |path: &Vec<&'a [u8]>| Value::Array(path.iter().copied().map(Value::Bytes).collect());
                fields.push(("paths", Value::Array(paths.iter().map(path).collect())));
            }
        }
        fields.push(("sender", Value::Bytes(self.sender)));
        fields.push(("ingress_expiry", Value::Unsigned(self.ingress_expiry_ns)));
        fields.extend(self.nonce.map(|nonce| ("nonce", Value::Bytes(nonce))));
        fields.extend(self.sender_info.as_ref().map(|info| ("sender_info", info.to_value())));
        map(fields)
    }
}

impl<'a> SenderInfo<'a> {
    fn to_value(&self) -> Value<'a> {
        map(vec![
            ("info", Value::Bytes(self.info)),
            ("signer", Value::Bytes(self.signer)),
            ("sig", Value::Bytes(self.signature)),
        ])
    }
}

fn decode_operation<'a>(value: &Value<'a>) -> Result<Operation<'a>> {
    match value.get("request_type").and_then(Value::as_text) {
        Some("call") => Ok(Operation::Call(decode_method(value)?)),
        Some("query") => Ok(Operation::Query(decode_method(value)?)),
        Some("read_state") => Ok(Operation::ReadState(decode_paths(value)?)),
        Some(other) => Err(malformed(format!("request_type is none of call, query, read_state: {other:.20}"))),
        None => Err(malformed("request_type is missing or no text")),
    }
}

fn decode_method<'a>(value: &Value<'a>) -> Result<Method<'a>> {
    let name = value.get("method_name").and_then(Value::as_text);
    Ok(Method {
        canister_id: principal_field(value, "canister_id")?,
        name: name.ok_or_else(|| malformed("method_name is missing or no text"))?,
        arg: bytes_field(value, "arg")?,
    })
}

fn decode_paths<'a>(value: &Value<'a>) -> Result<Vec<Vec<&'a [u8]>>> {
    let paths =
        value.get("paths").and_then(Value::as_array).ok_or_else(|| malformed("paths is missing or no array"))?;
    check_limit("paths", paths.len(), MAX_PATHS, "paths")?;
    let decode = |path: &Value<'a>| {
        let labels = path.as_array().ok_or_else(|| malformed("a path is no array"))?;
        check_limit("path", labels.len(), MAX_LABELS, "labels")?;
        labels.iter().map(|label| as_bytes(label, "a label")).collect()
    };
    paths.iter().map(decode).collect()
}

fn decode_sender_info<'a>(value: &Value<'a>) -> Result<SenderInfo<'a>> {
    Ok(SenderInfo {
        info: bytes_field(value, "info")?,
        signer: principal_field(value, "signer")?,
        signature: bytes_field(value, "sig")?,
    })
}

fn principal_field<'a>(value: &Value<'a>, name: &'static str) -> Result<&'a [u8]> {
    let id = bytes_field(value, name)?;
    principal::check(name, id).map(|()| id)
}

fn bytes_field<'a>(value: &Value<'a>, name: &str) -> Result<&'a [u8]> {
    value.get(name).ok_or_else(|| malformed(format!("{name} is missing"))).and_then(|found| as_bytes(found, name))
}

fn as_bytes<'a>(value: &Value<'a>, name: &str) -> Result<&'a [u8]> {
    value.as_bytes().ok_or_else(|| malformed(format!("{name} is no byte string")))
}

fn malformed(problem: impl Into<String>) -> Error {
    Error::malformed("content", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(operation: Operation<'static>) -> Content<'static> {
        Content { operation, sender: &[4], ingress_expiry_ns: 1, nonce: Some(&[7; 33]), sender_info: None }
    }

    fn method() -> Method<'static> {
        Method { canister_id: &[1, 2], name: "ws_open", arg: b"DIDL" }
    }

    fn read(value: &Value<'_>) -> std::result::Result<(), Error> {
        Content::decode(value).map(|_| ())
    }

    #[test]
    fn what_is_encoded_decodes() {
        let info = SenderInfo { info: b"i", signer: &[1], signature: b"s" };
        for operation in [
            Operation::Call(method()),
            Operation::Query(method()),
            Operation::ReadState(vec![vec![b"time"], vec![], vec![b"subnet", b"x"]]),
        ] {
            for sender_info in [None, Some(info.clone())] {
                let content = Content { sender_info, ..content(operation.clone()) };
                let (bytes, id) = content.encode().unwrap();
                let value = cbor::decode("content", &bytes, cbor::Budget::REQUEST).unwrap();
                assert_eq!(Content::decode(&value), Ok(content));
                assert_eq!(request_id::hash_of_map(&value), Ok(id));
            }
        }
    }

    #[test]
    fn every_field_is_needed_and_of_its_type() {
        for operation in [Operation::Call(method()), Operation::ReadState(vec![vec![b"time"]])] {
            let Value::Map(fields) = content(operation).to_value() else { unreachable!() };
            for at in 0..fields.len() {
                let optional = fields[at].0 == Value::Text("nonce");
                let mut without = fields.clone();
                without.remove(at);
                assert_eq!(read(&Value::Map(without)).is_ok(), optional, "{:?}", fields[at].0);
                let mut null = fields.clone();
                null[at].1 = Value::Null;
                assert_eq!(read(&Value::Map(null)).is_ok(), optional, "null {:?}", fields[at].0);
                for wrong in [Value::Negative(3), Value::Bignum(&[1; 9]), Value::Map(vec![])] {
                    let mut other = fields.clone();
                    other[at].1 = wrong;
                    assert!(matches!(read(&Value::Map(other)), Err(Error::Malformed { .. })), "{:?}", fields[at].0);
                }
            }
        }
        assert!(read(&Value::Array(vec![])).is_err());
    }

    #[test]
    fn an_unknown_type_of_request_is_named() {
        let value = map(vec![("request_type", Value::Text("install"))]);
        let verdict = read(&value);
        assert!(matches!(verdict, Err(Error::Malformed { problem, .. }) if problem.contains("install")));
    }

    #[test]
    fn principals_and_paths_are_bounded() {
        let paths = |count, labels| content(Operation::ReadState(vec![vec![&b"x"[..]; labels]; count])).to_value();
        assert!(read(&paths(MAX_PATHS, 1)).is_ok());
        assert!(read(&paths(1, MAX_LABELS)).is_ok());
        assert!(matches!(read(&paths(MAX_PATHS + 1, 1)), Err(Error::TooLarge { unit: "paths", .. })));
        assert!(matches!(read(&paths(1, MAX_LABELS + 1)), Err(Error::TooLarge { unit: "labels", .. })));
        let content = Content { sender: &[0; 30], ..content(Operation::Call(method())) };
        assert!(matches!(read(&content.to_value()), Err(Error::TooLarge { what: "sender", .. })));
    }
}
