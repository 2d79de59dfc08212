//! Python's view of the core: converts arguments, leaves the GIL for slow work and raises the classes of
//! `appliance/errors.py`.

mod candid;
mod errors;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::candid::{CandidInterface, CandidMethod, CandidTypes, decode_candid};
}
