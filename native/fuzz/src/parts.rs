//! Inputs of several byte strings: each but the last has its length (two bytes, big-endian) in front. Any bytes are such
//! an input, so that nothing a fuzzer makes is lost.

/// The parts of an input; missing ones are empty, and lengths that are too long are cut.
pub fn split<const COUNT: usize>(mut input: &[u8]) -> [&[u8]; COUNT] {
    let mut parts = [&[][..]; COUNT];
    for (number, part) in parts.iter_mut().enumerate() {
        if number + 1 == COUNT {
            *part = input;
        } else if let Some((length, rest)) = input.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
            (*part, input) = rest.split_at(length);
        }
    }
    parts
}

/// The input of these parts.
///
/// # Panics
///
/// If a part but the last is longer than 65,535 bytes.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    let Some((last, before)) = parts.split_last() else { return Vec::new() };
    let mut input = Vec::new();
    for part in before {
        let length = u16::try_from(part.len()).expect("parts but the last have at most 65,535 bytes");
        input.extend(length.to_be_bytes());
        input.extend_from_slice(part);
    }
    input.extend_from_slice(last);
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_splits() {
        let parts: [&[u8]; 3] = [b"key", b"", b"message"];
        assert_eq!(split::<3>(&join(&parts)), parts);
    }

    #[test]
    fn any_bytes_split() {
        assert_eq!(split::<2>(b"\xff\xffabc"), [&b"abc"[..], b""]);
        assert_eq!(split::<3>(b"\x00"), [&b""[..], b"", b"\x00"]);
    }
}
