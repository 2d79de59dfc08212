//! Python's view of the core: converts arguments, leaves the GIL for slow work and raises the classes of
//! `appliance/errors.py`.

mod errors;

use pyo3::prelude::*;

#[pymodule]
mod _native {}
