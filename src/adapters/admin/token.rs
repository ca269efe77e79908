//! The token that lets a client change the memory over TCP.
//!
//! Over a unix socket the kernel says which user asks. Over TCP it does not: any user of the host,
//! and any program that can be made to send a request, reaches a loopback address. So only who
//! knows the content of a file changes anything there.
//!
//! The file is read for each request that changes something, which is rare, so that a new token
//! counts at once. No token ever appears in an error or in the log.

use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::limits::{ADMIN_TOKEN_MAX as MAX, ADMIN_TOKEN_MIN as MIN};
use crate::config::regular_file;

/// The permissions of users who are neither the owner of a file nor in its group.
const OTHERS: u32 = 0o007;

/// A token, as it stands in its file without the line end.
pub struct Token(String);

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the token file {} cannot be read: {source}. Check the path and its permissions", .path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Other users may read or change the file.
    #[error("other users may read or change the token file {0}: `chmod o= {0}` prevents it", .path.display())]
    Open {
        /// The path of the file.
        path: PathBuf,
    },
    /// The token is too short, too long, or not one word.
    #[error(
        "the token file {} holds {length} bytes. Allowed: one word of {MIN} to {MAX} letters, digits and signs. \
         `openssl rand -hex 32` makes one",
        .path.display()
    )]
    Unfit {
        /// The path of the file.
        path: PathBuf,
        /// Bytes in the file, without a line end.
        length: usize,
    },
}

impl Token {
    /// Reads a token from its file. Blocks for as long as the file system does.
    ///
    /// # Errors
    /// - [`TokenError::Unreadable`] also for anything but a regular file.
    /// - [`TokenError::Open`] when users other than owner and group may do anything with it.
    /// - [`TokenError::Unfit`] when the content is no token.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
        let file = regular_file::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.permissions().mode() & OTHERS != 0 {
            return Err(TokenError::Open { path: path.to_owned() });
        }
        let (mut text, most) = (Vec::new(), u64::try_from(MAX).unwrap_or(u64::MAX).saturating_add(3));
        file.take(most).read_to_end(&mut text).map_err(unreadable)?;
        let token = text.trim_ascii_end();
        let is_fit = (MIN..=MAX).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
        match str::from_utf8(token) {
            Ok(token) if is_fit => Ok(Self(token.to_owned())),
            Ok(_) | Err(_) => Err(TokenError::Unfit { path: path.to_owned(), length: token.len() }),
        }
    }

    /// The header that gives the token (RFC 6750 §2.1).
    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether an `Authorization` header gives this token. The time that this takes does not depend
    /// on how much of it is right.
    pub(super) fn is_given_by(&self, authorization: &[u8]) -> bool {
        let expected = self.authorization();
        let difference =
            expected.bytes().zip(authorization).fold(0, |all, (one, other)| black_box(all | (one ^ other)));
        expected.len() == authorization.len() && difference == 0
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn only_the_whole_token_counts() {
        let word = "0123456789abcdef0123456789abcdef";
        let (_folder, path) = file(&format!("{word}\n"), 0o640);
        let token = Token::read(&path).unwrap();
        assert!(token.is_given_by(format!("Bearer {word}").as_bytes()));
        for wrong in ["", "Bearer ", word, "Bearer 0123456789abcdef0123456789abcdee", &format!("Bearer {word}0")] {
            assert!(!token.is_given_by(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_or_that_holds_no_token_is_said() {
        let word = "0123456789abcdef0123456789abcdef";
        let (_folder, path) = file(word, 0o644);
        let open = Token::read(&path).map(|_| ()).unwrap_err().to_string();
        assert!(open.contains("other users may read") && open.contains("chmod o= "), "{open}");
        let gone = Token::read(Path::new("/nowhere/token")).map(|_| ()).unwrap_err().to_string();
        assert!(gone.contains("cannot be read"), "{gone}");
        for (text, length) in [("short\n", "holds 5 bytes"), ("", "holds 0 bytes")] {
            let (_folder, path) = file(text, 0o600);
            let unfit = Token::read(&path).map(|_| ()).unwrap_err().to_string();
            assert!(unfit.contains(length) && unfit.contains("openssl rand -hex 32"), "{unfit}");
        }
        let (_folder, path) = file(&format!("{word} {word}"), 0o600);
        assert!(matches!(Token::read(&path), Err(TokenError::Unfit { length: 65, .. })));
    }
}
