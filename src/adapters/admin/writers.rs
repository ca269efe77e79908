//! Which clients may change what is remembered.
//!
//! | client | may change |
//! |---|---|
//! | over a unix socket, of the user of this process or of root | yes |
//! | over a unix socket, of another user | no |
//! | over TCP from this host | with the token in `[admin] token_file` |
//! | over TCP from another host | no |
//!
//! Whoever changes the memory decides where everybody connects to. A refusal says what to do
//! instead.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use super::token::{Token, TokenError};

/// How long reading the token file may take, which may lie on a file system that hangs.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// The clients among those of one kind that may change what is remembered.
#[derive(Clone, Debug)]
pub(super) enum Writers {
    /// All of them: they are the user of this process, or root.
    All,
    /// Those that give the token in this file; none without a file.
    TokenHolders(Option<PathBuf>),
    /// None: they are other users.
    NoOtherUser,
    /// None: they are on other hosts.
    NoOtherHost,
}

/// Why a client may not change what is remembered.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeDenied {
    /// No token is configured.
    #[error(
        "nothing can be changed over TCP: run `holdover cache` on this host as the user of the sidecar or as root, \
         which uses its unix socket; or set [admin] token_file, and give the token with --token-file"
    )]
    NoTokenFile,
    /// The client gives no token.
    #[error(
        "nothing can be changed over TCP without the token in [admin] token_file: give it with --token-file, or as \
         the header \"Authorization: Bearer TOKEN\"; or run `holdover cache` as the user of the sidecar or as root"
    )]
    NoToken,
    /// The client gives another token.
    #[error("this is not the token in the sidecar's [admin] token_file")]
    WrongToken,
    /// The token file cannot be used.
    #[error(transparent)]
    UnusableFile(#[from] TokenError),
    /// The file system of the token file hangs.
    #[error("the sidecar's [admin] token_file cannot be read at present: its file system does not answer")]
    FileHangs,
    /// The client is another user.
    #[error("only the user that the sidecar runs as, and root, can change what is remembered")]
    OtherUser,
    /// The client is on another host.
    #[error("only for clients on this host")]
    OtherHost,
}

impl Writers {
    /// Checks that a client with this `Authorization` header may change what is remembered.
    ///
    /// # Errors
    /// The reason why it may not, in words for the operator.
    pub(super) async fn admit(&self, authorization: Option<&[u8]>) -> Result<(), ChangeDenied> {
        match self {
            Self::All => Ok(()),
            Self::NoOtherUser => Err(ChangeDenied::OtherUser),
            Self::NoOtherHost => Err(ChangeDenied::OtherHost),
            Self::TokenHolders(None) => Err(ChangeDenied::NoTokenFile),
            Self::TokenHolders(Some(path)) => {
                let given = authorization.ok_or(ChangeDenied::NoToken)?;
                let path = path.clone();
                let reading = timeout(READ_WITHIN, tokio::task::spawn_blocking(move || Token::read(&path)));
                let Ok(Ok(token)) = reading.await else { return Err(ChangeDenied::FileHangs) };
                if token?.is_given_by(given) { Ok(()) } else { Err(ChangeDenied::WrongToken) }
            }
        }
    }
}
