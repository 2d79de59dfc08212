//! Private keys as files hold them: PKCS#8 (RFC 5208, RFC 5958) and SEC1 (RFC 5915), in DER or PEM (RFC 7468).

use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use pkcs8::der::pem::{self, LineEnding};
use pkcs8::der::{self, Decode, Reader, SliceReader, Tag, Tagged};
use pkcs8::spki::AlgorithmIdentifierRef;
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use crate::signatures::public_key::{EC, ED25519, P256, SECP256K1};
use crate::signatures::signing_key::{Scheme, SigningKey};
use crate::{Error, Result};

const ENCRYPTED: &str =
    "it is encrypted; write it without a passphrase first, e.g. with openssl pkey -in FILE -out PLAIN";

/// Reads the first private key of a PEM file, which may have text and curve parameters before it.
///
/// Fails with [`Error::KeyUnusable`], which says so where the key is encrypted.
pub fn from_pem(data: &[u8]) -> Result<SigningKey> {
    let text = std::str::from_utf8(data).map_err(|_| Error::key_unusable("not a PEM file; is it DER?"))?;
    let mut seen = Vec::new();
    for (label, block) in blocks(text) {
        match label {
            "PRIVATE KEY" | "EC PRIVATE KEY" if !block.contains("ENCRYPTED") => return from_der(&decode(block)?),
            "PRIVATE KEY" | "EC PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => return Err(Error::key_unusable(ENCRYPTED)),
            _ => seen.push(label),
        }
    }
    Err(Error::KeyUnusable(match seen.as_slice() {
        [] => "no PEM block in it".into(),
        labels => format!("no block PRIVATE KEY or EC PRIVATE KEY in it, but {}", labels.join(", ")),
    }))
}

/// Reads PKCS#8 v1, PKCS#8 v2 (its public half must fit) or SEC1.
///
/// Fails with [`Error::KeyUnusable`].
pub fn from_der(data: &[u8]) -> Result<SigningKey> {
    if let Ok(file) = Pkcs8::from_der(data) {
        return file.signing_key();
    }
    if let Ok(file) = EcPrivateKey::from_der(data) {
        return sec1_key(&file, None);
    }
    if is_encrypted(data).is_ok() {
        return Err(Error::key_unusable(ENCRYPTED));
    }
    Err(Error::key_unusable("neither PKCS#8 nor SEC1 in DER"))
}

/// Whether this has the form of EncryptedPrivateKeyInfo: how it is encrypted, and the bytes.
fn is_encrypted(data: &[u8]) -> der::Result<()> {
    SliceReader::new(data)?.sequence(|reader| {
        AlgorithmIdentifierRef::decode(reader)?;
        <&OctetStringRef>::decode(reader).map(|_| ())
    })
}

/// PKCS#8 v1 in PEM. Secret.
pub fn to_pem(key: &SigningKey) -> Result<Zeroizing<String>> {
    let document = key.to_pkcs8()?;
    pem::encode_string("PRIVATE KEY", LineEnding::LF, &document)
        .map(Zeroizing::new)
        .map_err(|error| Error::KeyUnusable(error.to_string()))
}

/// Every PEM block with its label, boundaries included.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let block = &rest[rest.find("-----BEGIN ")?..];
        let label = block["-----BEGIN ".len()..].split("-----").next()?;
        let end = format!("-----END {label}-----");
        let length = block.find(&end)? + end.len();
        rest = &block[length..];
        Some((label, &block[..length]))
    })
}

fn decode(block: &str) -> Result<Zeroizing<Vec<u8>>> {
    let bad = |error: pem::Error| Error::KeyUnusable(format!("its PEM is broken: {error}"));
    let mut decoder = pem::Decoder::new_detect_wrap(block.as_bytes()).map_err(bad)?;
    let mut document = Zeroizing::new(Vec::with_capacity(block.len()));
    decoder.decode_to_end(&mut document).map_err(bad)?;
    Ok(document)
}

/// The parts of PKCS#8. Not read with the crate's own type, because early versions of the library `ring`, which wrote
/// the key files of the reference gateway and of dfx, tag the public key explicitly.
struct Pkcs8<'a> {
    algorithm: AlgorithmIdentifierRef<'a>,
    secret: &'a [u8],
    public_key: Option<&'a [u8]>,
}

impl<'a> Pkcs8<'a> {
    fn from_der(data: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(data)?;
        let file = reader.sequence(Self::fields)?;
        reader.finish()?;
        Ok(file)
    }

    fn fields(reader: &mut SliceReader<'a>) -> der::Result<Self> {
        if u8::decode(reader)? > 1 {
            return Err(Tag::Integer.value_error().into());
        }
        let algorithm = AlgorithmIdentifierRef::decode(reader)?;
        let secret = <&OctetStringRef>::decode(reader)?.as_bytes();
        let mut public_key = None;
        while !reader.is_finished() {
            public_key = attached_public_key(AnyRef::decode(reader)?)?.or(public_key);
        }
        Ok(Self { algorithm, secret, public_key })
    }

    fn signing_key(&self) -> Result<SigningKey> {
        let key = match self.algorithm.oid {
            ED25519 => {
                let seed = <&OctetStringRef>::from_der(self.secret)
                    .map_err(|_| Error::key_unusable("its seed is no octet string"))?;
                SigningKey::from_secret(Scheme::Ed25519, seed.as_bytes())?
            }
            EC => {
                let curve = self.algorithm.parameters_oid().ok();
                let file =
                    EcPrivateKey::from_der(self.secret).map_err(|_| Error::key_unusable("its EC key is not SEC1"))?;
                sec1_key(&file, curve)?
            }
            oid => return Err(Error::KeyUnusable(format!("neither Ed25519 nor an elliptic curve: {oid}"))),
        };
        fitting(key, self.public_key)
    }
}

/// The public key of PKCS#8 v2 under tag 1, implicit (RFC 5958) or explicit (early `ring`); anything else is skipped.
fn attached_public_key<'a>(field: AnyRef<'a>) -> der::Result<Option<&'a [u8]>> {
    match field.tag() {
        Tag::ContextSpecific { number, constructed: false } if number.value() == 1 => {
            Ok(field.value().strip_prefix(&[0]))
        }
        Tag::ContextSpecific { number, constructed: true } if number.value() == 1 => {
            Ok(BitStringRef::from_der(field.value())?.as_bytes())
        }
        _ => Ok(None),
    }
}

fn sec1_key(file: &EcPrivateKey<'_>, curve: Option<ObjectIdentifier>) -> Result<SigningKey> {
    let curve = curve.or(file.parameters.map(|EcParameters::NamedCurve(oid)| oid));
    let scheme = match curve {
        Some(P256) => Scheme::Prime256v1,
        Some(SECP256K1) => Scheme::Secp256k1,
        Some(oid) => return Err(Error::KeyUnusable(format!("its curve is neither P-256 nor secp256k1: {oid}"))),
        None => return Err(Error::key_unusable("it does not name its curve")),
    };
    fitting(SigningKey::from_secret(scheme, file.private_key)?, file.public_key)
}

/// Refuses a file whose public half is that of another key. Points may be compressed.
fn fitting(key: SigningKey, attached: Option<&[u8]>) -> Result<SigningKey> {
    let own = key.raw_public_key();
    let compressed = own.get(64).map(|last| [&[2 + (last & 1)], &own[1..33]].concat());
    match attached {
        Some(attached) if attached != own && Some(attached) != compressed.as_deref() => {
            Err(Error::key_unusable("its public half does not belong to its secret half"))
        }
        _ => Ok(key),
    }
}

#[cfg(test)]
mod tests;
