//! The test vectors in `tests/vectors`, whose README has the origin and the fields of each file.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// The file of a vector.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name)
}

/// The content of a JSON file. Panics where there is none: a missing vector is a failed test.
pub fn load(name: &str) -> Json {
    let file = path(name);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
    serde_json::from_str(&text).expect("JSON")
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
