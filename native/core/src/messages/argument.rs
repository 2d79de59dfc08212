//! What clients of v1 and v2 send: the argument of `ws_message`.

use ::candid::CandidType;
use serde::Deserialize;

use crate::candid::decode_one;

#[derive(CandidType, Deserialize)]
struct Argument {
    msg: Numbered,
}

#[derive(CandidType, Deserialize)]
struct Numbered {
    sequence_num: u64,
}

/// The number of a message among those of its client; None where that is not to be found.
pub fn sequence_num(argument: &[u8]) -> Option<u64> {
    decode_one::<Argument>(argument).ok().map(|argument| argument.msg.sequence_num)
}

#[cfg(test)]
mod tests {
    use super::sequence_num;
    use crate::candid::encode_text;

    #[test]
    fn the_number_is_found_among_other_fields_and_before_other_values() {
        let message =
            "record { msg = record { content = blob \"x\"; sequence_num = 7 : nat64; timestamp = 1 : nat64 } }";
        assert_eq!(sequence_num(&encode_text(&format!("({message}, null)")).unwrap()), Some(7));
        for other in ["(record { msg = blob \"v1\" })", "(record { msg = record { sequence_num = 7 : nat32 } })", "()"]
        {
            assert_eq!(sequence_num(&encode_text(other).unwrap()), None, "{other}");
        }
        assert_eq!(sequence_num(b"no Candid"), None);
    }
}
