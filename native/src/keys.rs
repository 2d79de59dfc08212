//! Private keys and the verification of single signatures.

use std::sync::Arc;

use icws_core::key_file;
use icws_core::principal;
use icws_core::public_key::PublicKey;
use icws_core::signing_key::{Scheme, SigningKey as Key};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::raise;

/// Verifies any signature scheme of the IC but canister signatures over a message that includes its separator.
#[pyfunction]
pub fn verify_signature(py: Python<'_>, public_key: &[u8], signature: &[u8], message: &[u8]) -> PyResult<()> {
    py.detach(|| PublicKey::from_der(public_key)?.verify(signature, message, None)).map_err(raise)
}

/// A private key: Ed25519, ECDSA on secp256k1 or on P-256. Its repr shows the public half only.
#[pyclass(frozen, module = "appliance._native")]
pub struct SigningKey(pub(crate) Arc<KeyPair>);

/// Both halves of a key, for any thread.
pub(crate) struct KeyPair {
    pub(crate) key: Key,
    /// DER.
    pub(crate) public_key: Vec<u8>,
    /// What it signs for.
    pub(crate) principal: Vec<u8>,
}

impl SigningKey {
    fn new(key: icws_core::Result<Key>) -> PyResult<Self> {
        let key = key.map_err(raise)?;
        let public_key = key.public_key().map_err(raise)?;
        let principal = principal::self_authenticating(&public_key);
        Ok(Self(Arc::new(KeyPair { key, public_key, principal })))
    }
}

fn scheme_of(name: &str) -> PyResult<Scheme> {
    Scheme::from_name(name).ok_or_else(|| {
        PyValueError::new_err(format!("no scheme {name:?}; there are {}", Scheme::ALL.map(Scheme::name).join(", ")))
    })
}

#[pymethods]
impl SigningKey {
    /// A new key from the randomness of the operating system.
    #[staticmethod]
    fn generate(scheme: &str) -> PyResult<Self> {
        Self::new(Key::generate(scheme_of(scheme)?))
    }

    /// From 32 secret bytes: a seed or a scalar.
    #[staticmethod]
    fn from_secret(scheme: &str, secret: &[u8]) -> PyResult<Self> {
        Self::new(Key::from_secret(scheme_of(scheme)?, secret))
    }

    /// From PKCS#8 v1 and v2 or SEC1 in PEM.
    #[staticmethod]
    fn from_pem(data: &[u8]) -> PyResult<Self> {
        Self::new(key_file::from_pem(data))
    }

    /// From PKCS#8 v1 and v2 or SEC1 in DER.
    #[staticmethod]
    fn from_der(data: &[u8]) -> PyResult<Self> {
        Self::new(key_file::from_der(data))
    }

    #[getter]
    fn scheme(&self) -> &'static str {
        self.0.key.scheme().name()
    }

    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.public_key)
    }

    /// 64 bytes, r and s for ECDSA over SHA-256.
    fn sign<'py>(&self, py: Python<'py>, message: &[u8]) -> Bound<'py, PyBytes> {
        let signature = match self.0.key.scheme() {
            Scheme::Ed25519 => self.0.key.sign(message),
            Scheme::Secp256k1 | Scheme::Prime256v1 => py.detach(|| self.0.key.sign(message)),
        };
        PyBytes::new(py, &signature)
    }

    /// PKCS#8 v1 as PEM. Secret.
    fn to_pem<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let pem = key_file::to_pem(&self.0.key).map_err(raise)?;
        Ok(PyBytes::new(py, pem.as_bytes()))
    }

    fn __repr__(&self) -> String {
        format!("<SigningKey {} of {}>", self.0.key.scheme().name(), principal::to_text(&self.0.principal))
    }
}
