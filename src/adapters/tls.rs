//! TLS as a client: rustls, trusting the certificate authorities that the operator names, or else
//! those of the system. Nothing here switches a check off.
//!
//! Any adapter that speaks TLS may use this module; it is the only one that other adapters import.
//! It knows no configuration: its errors name files, and the adapter that asked adds the key under
//! which the operator named them. The connection to the upstream or to the shared cache is opened
//! by that adapter too, which also sets the time limit for the handshake.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::config::regular_file;

/// Where systems keep the certificate authorities that they trust: Debian and Alpine, Red Hat,
/// SUSE, FreeBSD.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// Largest file of certificate authorities, in bytes; those of systems have some 250 KB. Of a
/// larger one the first part is used.
const AUTHORITIES_MAX: u64 = 4 << 20;

/// A connection over which a TLS handshake has succeeded.
pub(super) type SecureStream = TlsStream<TcpStream>;

/// Why TLS cannot be used at all, before any connection is opened.
#[derive(Debug, thiserror::Error)]
pub enum NoTls {
    /// The operator named no certificate authorities, and none of the system's files exists.
    #[error("no certificate authority is known: none of the system's files is here. Name a PEM file with yours.")]
    NoSystemAuthorities,
    /// The file of certificate authorities cannot be read, is no PEM, or holds no certificate.
    #[error("{} cannot be used: {what}. Name a PEM file with the certificate of the authority.", .path.display())]
    UnusableAuthorities {
        /// The file of certificate authorities.
        path: PathBuf,
        /// The part of the error text that says what is wrong with the file.
        what: String,
    },
    /// The TLS library refuses the settings with which it was built; no file is at fault.
    #[error("TLS cannot be set up: {0}")]
    Library(String),
}

/// Makes connections secure; clones share one configuration.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Reads the certificate authorities to trust: those in the PEM file `authorities`, or else the
    /// system's. It blocks for as long as the file system does.
    ///
    /// # Errors
    /// [`NoTls::NoSystemAuthorities`] and [`NoTls::UnusableAuthorities`] for the certificate
    /// authorities; [`NoTls::Library`] for anything else.
    pub(super) fn new(authorities: Option<&Path>) -> Result<Self, NoTls> {
        // The operator's file counts, else the first file of the system that exists.
        let path = match authorities {
            Some(path) => path,
            None => SYSTEM_AUTHORITIES
                .iter()
                .map(Path::new)
                .find(|path| path.is_file())
                .ok_or(NoTls::NoSystemAuthorities)?,
        };
        let unusable = |what: String| NoTls::UnusableAuthorities { path: path.to_owned(), what };
        let mut roots = RootCertStore::empty();
        let text = regular_file::read(path, AUTHORITIES_MAX).map_err(|error| unusable(error.to_string()))?;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let added = roots.add(certificate.map_err(|error| unusable(error.to_string()))?);
            // The system's bundle may hold certificates that rustls does not accept, and is used
            // without them. In a file that the operator named, each certificate is meant to count.
            if let (Err(error), Some(_)) = (added, authorities) {
                return Err(unusable(error.to_string()));
            }
        }
        if roots.is_empty() {
            return Err(unusable("it holds no certificate".to_owned()));
        }
        // The protocol versions are rustls' own choice, and holdover shows no certificate.
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| NoTls::Library(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Makes an open connection secure. The other side must prove with its certificate that it owns
    /// `server_name`, which is a host name or an IP address.
    ///
    /// There is no time limit here; dropping the future closes the connection.
    ///
    /// # Errors
    /// Those of the handshake and of the connection, and a `server_name` that is neither a host
    /// name nor an address.
    pub(super) async fn connect(&self, server_name: &str, stream: TcpStream) -> io::Result<SecureStream> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named_and_no_configuration_key_is() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = Tls::new(Some(file.path())).err().expect("no certificate, no TLS");
        assert_eq!(
            error.to_string(),
            format!(
                "{} cannot be used: it holds no certificate. Name a PEM file with the certificate of the authority.",
                file.path().display()
            )
        );
    }
}
