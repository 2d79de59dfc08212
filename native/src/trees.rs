//! Hash trees, state trees and the keys that certify them.

use icws_core::bls::{PublicKey, SecretKey};
use icws_core::certificate::{Certificate, Delegation, root_message};
use icws_core::hash_tree::{HashTree as CoreHashTree, Lookup, MAX_PATH, path_text};
use icws_core::state_tree::{Misuse, StateTree as CoreStateTree};
use icws_core::{Error, bls};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::errors::raise;

/// Trees above this many bytes take more than about 50 microseconds to read.
const SLOW_TO_READ: usize = 8 * 1024;

/// A path as Python gives it.
pub(crate) type Path = Vec<PyBackedBytes>;

pub(crate) fn labels(path: &[PyBackedBytes]) -> Vec<&[u8]> {
    path.iter().map(|label| &**label).collect()
}

/// Prunes with paths as Python gives them.
fn witness(py: Python<'_>, tree: &CoreHashTree, paths: &[Path]) -> HashTree {
    let paths: Vec<_> = paths.iter().map(|path| labels(path)).collect();
    let paths: Vec<_> = paths.iter().map(|path| &path[..]).collect();
    HashTree(py.detach(|| tree.witness(&paths)))
}

pub(crate) fn lookup<'py>(
    py: Python<'py>,
    tree: &CoreHashTree,
    path: &[PyBackedBytes],
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let path = labels(path);
    match tree.lookup(&path).map_err(raise)? {
        Lookup::Found(value) => Ok(Some(PyBytes::new(py, value))),
        Lookup::Absent => Ok(None),
        Lookup::Unknown => Err(raise(Error::PathUnknown(path_text(&path)))),
    }
}

pub(crate) fn children<'py>(
    py: Python<'py>,
    tree: &CoreHashTree,
    path: &[PyBackedBytes],
) -> PyResult<Bound<'py, PyList>> {
    let found = tree.children(&labels(path)).map_err(raise)?;
    PyList::new(py, found.into_iter().map(|label| PyBytes::new(py, label)))
}

#[pyclass(frozen, module = "appliance._native")]
pub struct HashTree(pub(crate) CoreHashTree);

#[pymethods]
impl HashTree {
    #[staticmethod]
    fn from_cbor(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let read = || CoreHashTree::from_cbor(data);
        let tree = if data.len() > SLOW_TO_READ { py.detach(read) } else { read() };
        tree.map(Self).map_err(raise)
    }

    #[staticmethod]
    fn from_labels(labels: &Bound<'_, PyDict>) -> PyResult<Self> {
        labelled(labels, MAX_PATH).map(Self)
    }

    #[pyo3(signature = (*, tagged = true))]
    fn to_cbor<'py>(&self, py: Python<'py>, tagged: bool) -> Bound<'py, PyBytes> {
        let written = py.detach(|| {
            let mut out = if tagged { icws_core::cbor::SELF_DESCRIBED.to_vec() } else { Vec::new() };
            self.0.write_cbor(&mut out);
            out
        });
        PyBytes::new(py, &written)
    }

    #[getter]
    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.digest())
    }

    fn lookup<'py>(&self, py: Python<'py>, path: Path) -> PyResult<Option<Bound<'py, PyBytes>>> {
        lookup(py, &self.0, &path)
    }

    fn children<'py>(&self, py: Python<'py>, path: Path) -> PyResult<Bound<'py, PyList>> {
        children(py, &self.0, &path)
    }

    fn witness(&self, py: Python<'_>, paths: Vec<Path>) -> Self {
        witness(py, &self.0, &paths)
    }
}

/// The forest of a dict, with subtrees up to `depth` labels deep.
fn labelled(labels: &Bound<'_, PyDict>, depth: usize) -> PyResult<CoreHashTree> {
    let deeper = depth.checked_sub(1).ok_or_else(|| misused(Misuse::TooLong))?;
    let mut trees = Vec::with_capacity(labels.len());
    for (label, below) in labels {
        let tree = match below.cast::<PyBytes>() {
            Ok(value) => CoreHashTree::leaf(value.as_bytes()),
            Err(_) => labelled(below.cast::<PyDict>()?, deeper)?,
        };
        trees.push((label.cast::<PyBytes>()?.as_bytes().to_vec(), tree));
    }
    Ok(CoreHashTree::from_labels(trees))
}

fn misused(misuse: Misuse) -> PyErr {
    PyValueError::new_err(misuse.to_string())
}

#[pyclass(module = "appliance._native")]
#[derive(Default)]
pub struct StateTree(CoreStateTree);

#[pymethods]
impl StateTree {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn set(&mut self, path: Path, value: &[u8]) -> PyResult<()> {
        self.0.set(&labels(&path), value).map_err(misused)
    }

    fn delete(&mut self, path: Path) {
        self.0.delete(&labels(&path));
    }

    fn get<'py>(&self, py: Python<'py>, path: Path) -> Option<Bound<'py, PyBytes>> {
        self.0.get(&labels(&path)).map(|value| PyBytes::new(py, value))
    }

    fn children<'py>(&self, py: Python<'py>, path: Path) -> PyResult<Bound<'py, PyList>> {
        children(py, self.0.tree(), &path)
    }

    #[getter]
    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.digest())
    }

    fn witness(slf: PyRef<'_, Self>, py: Python<'_>, paths: Vec<Path>) -> HashTree {
        // A snapshot, so that other threads may change the tree while the GIL is released.
        let tree = slf.0.tree().clone();
        drop(slf);
        witness(py, &tree, &paths)
    }

    fn witness_range(&self, path: Path, first: &[u8], last: &[u8]) -> HashTree {
        HashTree(self.0.witness_range(&labels(&path), first, last))
    }
}

#[pyclass(frozen, module = "appliance._native")]
pub struct BlsSecretKey(SecretKey);

#[pymethods]
impl BlsSecretKey {
    #[staticmethod]
    fn from_seed(seed: &[u8]) -> PyResult<Self> {
        SecretKey::from_seed(seed).map(Self).map_err(raise)
    }

    #[staticmethod]
    fn from_scalar(scalar: &[u8]) -> PyResult<Self> {
        SecretKey::from_scalar(scalar).map(Self).map_err(raise)
    }

    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.0.public_key().to_der()))
    }

    fn sign<'py>(&self, py: Python<'py>, message: &[u8]) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.0.sign(message)))
    }

    fn sign_root<'py>(&self, py: Python<'py>, digest: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let digest = digest.try_into().map_err(|_| PyValueError::new_err("a digest has 32 bytes"))?;
        Ok(self.sign(py, &root_message(&digest)))
    }
}

#[pyfunction]
pub fn verify_bls(py: Python<'_>, public_key: &[u8], signature: &[u8], message: &[u8]) -> PyResult<()> {
    let verify = || {
        let is_raw = public_key.len() == bls::KEY_LENGTH;
        let key = if is_raw { PublicKey::from_raw(public_key) } else { PublicKey::from_der(public_key) };
        key.map_err(bls::key_of_signature)?.verify(signature, message)
    };
    py.detach(verify).map_err(raise)
}

#[pyfunction]
#[pyo3(signature = (tree, signature, delegation = None))]
pub fn encode_certificate<'py>(
    py: Python<'py>,
    tree: &HashTree,
    signature: &[u8],
    delegation: Option<(PyBackedBytes, PyBackedBytes)>,
) -> Bound<'py, PyBytes> {
    let delegation = delegation.map(|(subnet_id, certificate)| Delegation {
        subnet_id: subnet_id.to_vec(),
        certificate: certificate.to_vec(),
    });
    let certificate = Certificate { tree: tree.0.clone(), signature: signature.to_vec(), delegation };
    PyBytes::new(py, &py.detach(|| certificate.encode()))
}
