//! Candid against messages written by hand after its specification: what decodes, as what, and what is refused.

use icws_core::candid::Types;

mod vectors;
use vectors::{bytes, list, load, text};

#[test]
fn messages_decode_as_written_or_are_refused() {
    let file = load("candid.json");
    assert_eq!(list(&file, "cases").len(), 126);
    for case in list(&file, "cases") {
        let types = Types::parse(text(case, "types")).unwrap();
        let decoded = types.decode(&bytes(case, "data"));
        let Some(value) = case["value"].as_str() else {
            assert!(decoded.is_err(), "{case}: {decoded:?}");
            continue;
        };
        let expected = types.encode_text(value).and_then(|data| types.decode(&data)).unwrap();
        assert_eq!(decoded, Ok(expected), "{case}");
    }
}
