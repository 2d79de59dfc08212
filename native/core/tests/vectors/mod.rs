//! The shared test vectors, which lie beside the repository.

use std::path::Path;

use serde_json::Value as Json;

/// The content of a vector file. None, with a sentence in the output, where the files are not there.
pub fn load(name: &str) -> Option<Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors").join(name);
    if !path.exists() {
        println!("skipped: the shared test vectors are not beside the repository in ../shared/vectors ({name})");
        return None;
    }
    let text = std::fs::read_to_string(path).expect("a readable file");
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// The bytes of a field in hex.
pub fn bytes(case: &Json, field: &str) -> Vec<u8> {
    hex::decode(text(case, field)).expect("hex")
}

/// A text field.
pub fn text<'j>(case: &'j Json, field: &str) -> &'j str {
    case[field].as_str().unwrap_or_else(|| panic!("no text {field} in {case}"))
}

/// The elements of an array field.
pub fn list<'j>(case: &'j Json, field: &str) -> &'j [Json] {
    case[field].as_array().unwrap_or_else(|| panic!("no array {field} in {case}"))
}
