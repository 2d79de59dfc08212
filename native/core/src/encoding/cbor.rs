//! Strict CBOR (RFC 8949) as far as the Internet Computer uses it (interface specification, "CBOR").
//!
//! Refused: floats, tags other than self-described (55799, in front only) and bignum (2), indefinite-length strings,
//! duplicate keys, trailing bytes, invalid UTF-8, and whatever exceeds the [`Budget`]. Any order of keys, lengths that
//! are not the shortest, and indefinite-length arrays and maps are read, because agents in the field write them.
//!
//! Not a crate: what is signed must be hashed and relayed as it was received ([`raw_entry`], fields nobody knows), every
//! string borrows from the input, and depth and number of values are bounded while reading, not after. Decoders by way of
//! serde drop unknown fields and duplicate keys before anybody can see them.

use crate::{Error, Result};

/// The self-describing tag 55799 as bytes.
pub const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];

/// How much a decoder takes of hostile input.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Nesting of arrays and maps.
    pub depth: usize,
    /// Number of values in all. A value of one byte costs about 32 bytes of memory, so this bounds the blow-up.
    pub items: usize,
}

impl Budget {
    /// For requests: the deepest the specification knows is a delegation's targets at depth 6.
    pub const REQUEST: Self = Self { depth: 16, items: 200_000 };
    /// For replies: hash trees in them are about 60 deep on mainnet.
    pub const REPLY: Self = Self { depth: 512, items: 2_000_000 };
    /// For hash trees and certificates, whose smallest node costs a hundred times its two bytes. The largest of mainnet
    /// have some ten thousand values.
    pub const TREE: Self = Self { depth: Self::REPLY.depth, items: 500_000 };
}

/// A decoded value; strings borrow from the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Unsigned integer.
    Unsigned(u64),
    /// Negative integer -1 - n.
    Negative(u64),
    /// Bignum of tag 2, big-endian.
    Bignum(&'a [u8]),
    /// Byte string.
    Bytes(&'a [u8]),
    /// Text string.
    Text(&'a str),
    /// Array.
    Array(Vec<Value<'a>>),
    /// Map in the order received; its keys are distinct.
    Map(Vec<(Value<'a>, Value<'a>)>),
    /// True or false.
    Bool(bool),
    /// Null.
    Null,
}

impl<'a> Value<'a> {
    /// The entry of a text key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        match self {
            Value::Map(entries) => entries.iter().find(|(k, _)| *k == Value::Text(key)).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The entry of a text key that may be absent, which it is too where it is null.
    ///
    /// A replica decodes optional fields so, and request ids count null as absent: refusing it would refuse what the
    /// Internet Computer takes.
    pub fn get_optional(&self, key: &str) -> Option<&Value<'a>> {
        self.get(key).filter(|value| **value != Value::Null)
    }

    /// The bytes, if this is a byte string.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text, if this is a text string.
    pub fn as_text(&self) -> Option<&'a str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is a natural number (plain or bignum) below 2^64.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Unsigned(n) => Some(*n),
            Value::Bignum(bytes) => {
                let digits = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
                (digits.len() <= 8).then(|| digits.iter().fold(0, |n, b| (n << 8) | u64::from(*b)))
            }
            _ => None,
        }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }
}

/// Decodes one whole value, with or without the self-describing tag in front. `what` names it in errors.
pub fn decode<'a>(what: &'static str, input: &'a [u8], budget: Budget) -> Result<Value<'a>> {
    let mut reader = Reader::new(what, input, budget);
    let value = reader.value(budget.depth)?;
    reader.end()?;
    Ok(value)
}

/// The value that a text key has in a map, and its bytes as they were received.
///
/// Decodes the whole of `input`, once, as strictly as [`decode`] does. The budget is that of each entry: the map itself
/// does not count. The bytes are those received, because encoding the value anew would lose its order and its lengths, and
/// with them the sender's own body.
pub fn raw_entry<'a>(
    what: &'static str,
    input: &'a [u8],
    key: &str,
    budget: Budget,
) -> Result<Option<(Value<'a>, &'a [u8])>> {
    let mut reader = Reader::new(what, input, budget);
    let (5, count) = reader.head()? else {
        return Err(Error::malformed(what, "not a map"));
    };
    let mut found = None;
    let mut entries = Vec::new();
    reader.pairs(count, budget.depth, |name, value, raw| {
        if name == Value::Text(key) {
            found = Some((value, raw));
        }
        entries.push((name, Value::Null));
    })?;
    reader.refuse_duplicates(&entries)?;
    reader.end()?;
    Ok(found)
}

struct Reader<'a> {
    what: &'static str,
    input: &'a [u8],
    at: usize,
    items: usize,
}

impl<'a> Reader<'a> {
    fn new(what: &'static str, input: &'a [u8], budget: Budget) -> Self {
        let at = if input.starts_with(&SELF_DESCRIBED) { SELF_DESCRIBED.len() } else { 0 };
        Self { what, input, at, items: budget.items }
    }

    fn fail<T>(&self, problem: &str) -> Result<T> {
        Err(Error::malformed(self.what, format!("{problem} at byte {}", self.at)))
    }

    fn end(&self) -> Result<()> {
        if self.at < self.input.len() {
            return self.fail("bytes after the end");
        }
        Ok(())
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let rest = &self.input[self.at..];
        match usize::try_from(count).ok().and_then(|count| rest.get(..count)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => self.fail("cut short"),
        }
    }

    fn at_break(&mut self) -> bool {
        let found = self.input.get(self.at) == Some(&0xff);
        self.at += usize::from(found);
        found
    }

    /// Major type and argument; no argument means indefinite length.
    fn head(&mut self) -> Result<(u8, Option<u64>)> {
        let initial = self.take(1)?[0];
        let argument = match initial & 31 {
            small @ 0..=23 => Some(u64::from(small)),
            size @ 24..=27 => Some(self.take(1 << (size - 24))?.iter().fold(0, |n, b| (n << 8) | u64::from(*b))),
            31 => None,
            _ => return self.fail("reserved length"),
        };
        Ok((initial >> 5, argument))
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>> {
        let Some(items) = self.items.checked_sub(1) else {
            return self.fail("too many values");
        };
        self.items = items;
        match self.head()? {
            (0, Some(n)) => Ok(Value::Unsigned(n)),
            (1, Some(n)) => Ok(Value::Negative(n)),
            (2, Some(n)) => Ok(Value::Bytes(self.take(n)?)),
            (3, Some(n)) => match std::str::from_utf8(self.take(n)?) {
                Ok(text) => Ok(Value::Text(text)),
                Err(_) => self.fail("text that is not UTF-8"),
            },
            (4 | 5, _) if depth == 0 => self.fail("nested too deep"),
            (4, count) => Ok(Value::Array(self.array(count, depth - 1)?)),
            (5, count) => Ok(Value::Map(self.map(count, depth - 1)?)),
            (6, Some(2)) => match self.head()? {
                (2, Some(n)) => Ok(Value::Bignum(self.take(n)?)),
                _ => self.fail("bignum that is not a byte string"),
            },
            (6, Some(tag)) => self.fail(&format!("unexpected tag {tag}")),
            (7, Some(20)) => Ok(Value::Bool(false)),
            (7, Some(21)) => Ok(Value::Bool(true)),
            (7, Some(22)) => Ok(Value::Null),
            _ => self.fail("unsupported value"),
        }
    }

    fn array(&mut self, count: Option<u64>, depth: usize) -> Result<Vec<Value<'a>>> {
        let mut items = Vec::new();
        let mut left = count;
        while left != Some(0) && !(left.is_none() && self.at_break()) {
            items.push(self.value(depth)?);
            left = left.map(|n| n - 1);
        }
        Ok(items)
    }

    fn map(&mut self, count: Option<u64>, depth: usize) -> Result<Vec<(Value<'a>, Value<'a>)>> {
        let mut entries = Vec::new();
        self.pairs(count, depth, |key, value, _| entries.push((key, value)))?;
        self.refuse_duplicates(&entries)?;
        Ok(entries)
    }

    /// Gives `each` the key, the value and the value's bytes of every entry.
    fn pairs(
        &mut self,
        count: Option<u64>,
        depth: usize,
        mut each: impl FnMut(Value<'a>, Value<'a>, &'a [u8]),
    ) -> Result<()> {
        let mut left = count;
        while left != Some(0) && !(left.is_none() && self.at_break()) {
            let key = self.value(depth)?;
            if !matches!(key, Value::Text(_) | Value::Bytes(_) | Value::Unsigned(_) | Value::Negative(_)) {
                return self.fail("map key that is no text, bytes or integer");
            }
            let start = self.at;
            let value = self.value(depth)?;
            each(key, value, &self.input[start..self.at]);
            left = left.map(|n| n - 1);
        }
        Ok(())
    }

    /// Quadratic for the few keys that messages have, sorted for what a hostile sender may think of.
    fn refuse_duplicates(&self, entries: &[(Value<'a>, Value<'a>)]) -> Result<()> {
        let duplicate = if entries.len() <= 16 {
            entries.iter().enumerate().any(|(i, (key, _))| entries[..i].iter().any(|(other, _)| other == key))
        } else {
            let mut keys: Vec<_> = entries.iter().map(|(key, _)| encode(key)).collect();
            keys.sort_unstable();
            keys.windows(2).any(|pair| pair[0] == pair[1])
        };
        if duplicate { self.fail("duplicate key in the map that ends") } else { Ok(()) }
    }
}

/// A map of text keys to values, in this order.
pub(crate) fn map<'a>(fields: Vec<(&'a str, Value<'a>)>) -> Value<'a> {
    Value::Map(fields.into_iter().map(|(name, value)| (Value::Text(name), value)).collect())
}

/// The shortest encoding of a value, without a tag in front.
pub fn encode(value: &Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, value);
    out
}

/// Appends the shortest encoding of a value; maps keep the order given.
pub fn write(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Unsigned(n) => write_head(out, 0, *n),
        Value::Negative(n) => write_head(out, 1, *n),
        Value::Bignum(bytes) => {
            write_head(out, 6, 2);
            write_bytes(out, bytes);
        }
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::Text(text) => write_text(out, text),
        Value::Array(items) => {
            write_head(out, 4, items.len() as u64);
            items.iter().for_each(|item| write(out, item));
        }
        Value::Map(entries) => {
            write_head(out, 5, entries.len() as u64);
            for (key, value) in entries {
                write(out, key);
                write(out, value);
            }
        }
        Value::Bool(value) => out.push(0xf4 + u8::from(*value)),
        Value::Null => out.push(0xf6),
    }
}

/// Appends a head of the shortest form: major type and argument.
pub fn write_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend([major | 24, argument as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend((argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend((argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(argument.to_be_bytes());
        }
    }
}

/// Appends a byte string.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_head(out, 2, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a text string.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    write_head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
