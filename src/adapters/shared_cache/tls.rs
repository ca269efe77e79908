//! TLS towards the server: rustls, the certificate authority that the operator names or else the
//! system's, and nothing that switches checks off.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// Where systems keep the certificate authorities that they trust: Debian and Alpine, Red Hat,
/// SUSE, FreeBSD.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum NoTls {
    /// No file with certificates.
    #[error(
        "shared_cache.ca_file: no certificate authority is known: none of the system's files is here. Name a PEM file with yours."
    )]
    NoSystem,
    /// The file cannot be read, or is no PEM.
    #[error("shared_cache.ca_file: {} cannot be used: {what}. Name a PEM file with the certificate of the authority.", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// rustls does not want it.
    #[error("TLS cannot be set up: {0}")]
    Library(String),
}

/// Makes TLS connections.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Trusts what is in `authorities`, or else what the system trusts.
    ///
    /// # Errors
    /// [`NoTls`]
    pub(super) fn new(authorities: Option<&Path>) -> Result<Self, NoTls> {
        let path = match authorities {
            Some(path) => path,
            None => SYSTEM.iter().map(Path::new).find(|path| path.is_file()).ok_or(NoTls::NoSystem)?,
        };
        let unusable = |what: String| NoTls::Unusable { path: path.to_owned(), what };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
            let added = roots.add(certificate.map_err(|error| unusable(error.to_string()))?);
            // The system's bundle may hold what rustls does not take; the operator's own file may
            // not.
            if let (Err(error), Some(_)) = (added, authorities) {
                return Err(unusable(error.to_string()));
            }
        }
        if roots.is_empty() {
            return Err(unusable("it holds no certificate".to_owned()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| NoTls::Library(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Makes a connection secure, with the server that has this name or address in its certificate.
    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}
