//! Translates errors of the operating system into what the resolver wants to know: which side is at
//! fault.
//!
//! | the operating system says | the resolver gets |
//! |---|---|
//! | ECONNREFUSED | `Refused`: the port is closed |
//! | EHOSTUNREACH, ENETUNREACH and kin | `Unreachable` |
//! | EPERM, EACCES (a packet filter of our own host) | `Unreachable` |
//! | EMFILE, ENFILE (descriptors), ENOBUFS, ENOMEM (memory) | `Exhausted`: a limit of our own side |
//! | EADDRNOTAVAIL, EADDRINUSE (ports), EAGAIN, EMSGSIZE | `Exhausted` |
//! | ETIMEDOUT | `TimedOut` |
//! | anything else, end of stream | `Lost` |

use std::io;

use crate::resolver::ports::TransportError;

/// The meaning of an error of the operating system for the exchange that met it.
pub(super) fn cause(error: &io::Error) -> TransportError {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => TransportError::Refused,
        Some(
            libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::EAFNOSUPPORT
            | libc::ENOPROTOOPT
            | libc::EPROTO
            | libc::EPERM
            | libc::EACCES,
        ) => TransportError::Unreachable,
        Some(
            libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
            | libc::EADDRNOTAVAIL
            | libc::EADDRINUSE
            | libc::EAGAIN
            | libc::EMSGSIZE,
        ) => TransportError::Exhausted,
        Some(libc::ETIMEDOUT) => TransportError::TimedOut,
        Some(_) => TransportError::Lost,
        // Errors without a number are made by libraries, such as hickory's when connecting takes
        // too long.
        None if error.kind() == io::ErrorKind::TimedOut => TransportError::TimedOut,
        None => TransportError::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_operating_system_name_their_side() {
        let cases = [
            (libc::ECONNREFUSED, TransportError::Refused),
            (libc::ENETUNREACH, TransportError::Unreachable),
            (libc::EHOSTUNREACH, TransportError::Unreachable),
            (libc::EMFILE, TransportError::Exhausted),
            (libc::ENFILE, TransportError::Exhausted),
            (libc::EADDRNOTAVAIL, TransportError::Exhausted),
            (libc::ENOBUFS, TransportError::Exhausted),
            (libc::ETIMEDOUT, TransportError::TimedOut),
            (libc::ECONNRESET, TransportError::Lost),
        ];
        for (number, expected) in cases {
            assert_eq!(cause(&io::Error::from_raw_os_error(number)), expected, "errno {number}");
        }
        assert_eq!(cause(&io::Error::from(io::ErrorKind::TimedOut)), TransportError::TimedOut);
        assert_eq!(cause(&io::Error::from(io::ErrorKind::UnexpectedEof)), TransportError::Lost);
    }
}
