//! The meaning of an error reply of a server for the connection to it.

use redis::{RedisError, Value};

use crate::config::settings::Server;
use crate::telemetry::shared_cache::SharedCacheTrouble;

/// A reply that is an error, by what is to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReplyError {
    /// Another server of the cluster has the key.
    Elsewhere(Server),
    /// The server cannot be used at present, whatever is asked.
    Unusable(SharedCacheTrouble),
    /// The command failed, which says nothing about other commands.
    Command,
}

/// Separates a value from an error reply.
///
/// # Errors
/// [`ReplyError`] when the server replied with an error.
pub(super) fn check_reply(reply: Value) -> Result<Value, ReplyError> {
    reply.extract_error().map_err(|error| meaning(&error))
}

fn meaning(error: &RedisError) -> ReplyError {
    // MOVED and ASK name the server that has the key.
    if let Some((node, _)) = error.redirect_node()
        && let Some((host, port)) = node.rsplit_once(':')
        && let Ok(port) = port.parse()
    {
        return ReplyError::Elsewhere(Server { host: host.trim_matches(['[', ']']).to_owned(), port });
    }
    match error.code() {
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => ReplyError::Unusable(SharedCacheTrouble::PermissionDenied),
        Some("READONLY" | "MASTERDOWN" | "NOREPLICAS" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK") => {
            ReplyError::Unusable(SharedCacheTrouble::NoPrimary)
        }
        Some("LOADING" | "BUSY") => ReplyError::Unusable(SharedCacheTrouble::Unavailable),
        Some(_) | None => ReplyError::Command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(reply: &str) -> ReplyError {
        let reply = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        check_reply(reply).unwrap_err()
    }

    #[test]
    fn a_redirection_names_the_server_that_has_the_key() {
        let server = |host: &str| ReplyError::Elsewhere(Server { host: host.to_owned(), port: 6381 });
        assert_eq!(error_of("MOVED 3999 192.0.2.1:6381"), server("192.0.2.1"));
        assert_eq!(error_of("ASK 3999 [2001:db8::1]:6381"), server("2001:db8::1"));
    }

    #[test]
    fn an_error_is_about_the_server_or_about_one_command() {
        for (reply, trouble) in [
            ("NOAUTH Authentication required.", SharedCacheTrouble::PermissionDenied),
            ("READONLY You can't write against a read only replica.", SharedCacheTrouble::NoPrimary),
            ("LOADING the dataset", SharedCacheTrouble::Unavailable),
        ] {
            assert_eq!(error_of(reply), ReplyError::Unusable(trouble), "{reply}");
        }
        for reply in ["WRONGTYPE of key", "OOM command not allowed", "ERR unknown command"] {
            assert_eq!(error_of(reply), ReplyError::Command, "{reply}");
        }
    }
}
