//! TLS with the certificates that the operating system trusts.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::failure::{Failure, with_causes};

/// A connector that trusts what the system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set. Reads
/// files: not for the runtime's thread.
pub fn system_connector() -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // One certificate that cannot be read must not cost the others.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let problem = found.errors.first().map_or_else(|| "there are none".to_owned(), |error| with_causes(error));
        return Err(Failure::Tls(format!(
            "no certificate authority to trust: {problem}; install ca-certificates or set SSL_CERT_FILE"
        )));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
