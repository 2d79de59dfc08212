//! Principals (interface specification, "Principals"). In the core a principal is its bytes; text is for errors and keys.

use ::candid::Principal;
use data_encoding::HEXLOWER;

use crate::{Error, Result};

/// The longest principal in bytes.
pub const MAX_LENGTH: usize = 29;

/// The anonymous principal.
pub const ANONYMOUS: [u8; 1] = [4];

/// The self-authenticating principal of a DER-encoded public key.
pub fn self_authenticating(public_key_der: &[u8]) -> Vec<u8> {
    Principal::self_authenticating(public_key_der).as_slice().to_vec()
}

/// Refuses what is too long to be a principal.
pub fn check(what: &'static str, bytes: &[u8]) -> Result<()> {
    if bytes.len() > MAX_LENGTH {
        return Err(Error::TooLarge { what, size: bytes.len() as u64, limit: MAX_LENGTH as u64, unit: "bytes" });
    }
    Ok(())
}

/// The textual form. What is too long to be a principal has none: it is written in hexadecimal, behind `0x`, because
/// errors quote ids that nobody has checked yet.
pub fn to_text(bytes: &[u8]) -> String {
    match Principal::try_from_slice(bytes) {
        Ok(principal) => principal.to_text(),
        Err(_) => format!("0x{}", HEXLOWER.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_specification() {
        assert_eq!(to_text(&[]), "aaaaa-aa");
        assert_eq!(to_text(&ANONYMOUS), "2vxsx-fae");
        assert_eq!(to_text(&[0xab, 0xcd, 0x01]), "em77e-bvlzu-aq");
        assert_eq!(to_text(&[0xab; MAX_LENGTH + 1]), format!("0x{}", "ab".repeat(MAX_LENGTH + 1)));
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
