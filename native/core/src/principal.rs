//! Principals (interface specification, "Principals"). In the core a principal is its bytes; text is for errors and keys.

use sha2::{Digest, Sha224};

use crate::{Error, Result};

/// The longest principal in bytes.
pub const MAX_LENGTH: usize = 29;

/// The anonymous principal.
pub const ANONYMOUS: [u8; 1] = [4];

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The self-authenticating principal of a DER-encoded public key.
pub fn self_authenticating(public_key_der: &[u8]) -> Vec<u8> {
    let mut bytes = Sha224::digest(public_key_der).to_vec();
    bytes.push(2);
    bytes
}

/// Refuses what is too long to be a principal.
pub fn check(what: &'static str, bytes: &[u8]) -> Result<()> {
    if bytes.len() > MAX_LENGTH {
        return Err(Error::TooLarge { what, size: bytes.len() as u64, limit: MAX_LENGTH as u64, unit: "bytes" });
    }
    Ok(())
}

/// The textual form: CRC-32 and bytes in base 32, lower case, a dash after every fifth character.
pub fn to_text(bytes: &[u8]) -> String {
    let mut data = crc32(bytes).to_be_bytes().to_vec();
    data.extend_from_slice(bytes);
    let mut text = String::with_capacity(64);
    let (mut buffer, mut bits, mut written) = (0u32, 0u32, 0usize);
    let mut push = |index: u32| {
        if written > 0 && written.is_multiple_of(5) {
            text.push('-');
        }
        text.push(ALPHABET[(index & 31) as usize] as char);
        written += 1;
    };
    for byte in data {
        buffer = (buffer << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(buffer >> bits);
        }
    }
    if bits > 0 {
        push(buffer << (5 - bits));
    }
    text
}

fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    }) ^ !0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_specification() {
        assert_eq!(to_text(&[]), "aaaaa-aa");
        assert_eq!(to_text(&ANONYMOUS), "2vxsx-fae");
        assert_eq!(to_text(&[0xab, 0xcd, 0x01]), "em77e-bvlzu-aq");
    }

    #[test]
    fn a_key_names_its_holder() {
        let id = self_authenticating(&[1, 2, 3]);
        assert_eq!(id.len(), MAX_LENGTH);
        assert_eq!(id[28], 2);
        assert!(check("sender", &id).is_ok());
        assert!(check("sender", &[0; 30]).is_err());
    }
}
