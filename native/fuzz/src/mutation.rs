//! Bytes as a hostile sender makes them of good ones.

/// A small generator of random numbers (xorshift64*): the same seed gives the same inputs on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From any seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below the limit; 0 where that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        // Lossless where it matters: the remainder is below the limit.
        if limit == 0 { 0 } else { (self.next() % limit as u64) as usize }
    }
}

/// Values at which lengths, tags and types of CBOR, Candid and DER change their meaning.
const EDGES: [u8; 18] =
    [0x00, 0x01, 0x17, 0x18, 0x1b, 0x1f, 0x30, 0x5f, 0x7f, 0x80, 0x81, 0x9f, 0xa1, 0xbf, 0xc2, 0xd9, 0xf6, 0xff];

/// The data with one to four changes: bits and bytes changed, parts left out, repeated, put elsewhere or taken from
/// another input.
pub fn mutate(random: &mut Random, data: &[u8], other: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for _ in 0..=random.below(4) {
        change(random, &mut data, other);
    }
    data
}

fn change(random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    let start = random.below(data.len() + 1);
    let end = start + random.below((data.len() - start).min(64) + 1);
    match random.below(7) {
        0 if start < data.len() => data[start] ^= 1 << random.below(8),
        1 if start < data.len() => data[start] = EDGES[random.below(EDGES.len())],
        2 => drop(data.drain(start..end)),
        3 => {
            let part = data[start..end].repeat(1 + random.below(8));
            data.splice(start..start, part);
        }
        4 => {
            let part = data.drain(start..end).collect::<Vec<_>>();
            let at = random.below(data.len() + 1);
            data.splice(at..at, part);
        }
        5 => {
            let from = random.below(other.len() + 1);
            let length = random.below((other.len() - from).min(256) + 1);
            data.splice(start..end, other[from..from + length].iter().copied());
        }
        _ => data.truncate(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_and_they_differ() {
        let made = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| mutate(&mut random, b"some bytes", b"others")).collect::<Vec<_>>()
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        assert!(made(1).iter().filter(|input| *input != b"some bytes").count() > 40);
    }
}
