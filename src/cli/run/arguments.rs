//! The flags of `holdover run`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::user::SidecarUser;
use crate::cli::resolvconf::FallbackArgument;
use crate::cli::serve::ServeArguments;

/// Arguments of `holdover run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Flags of the sidecar; its `--resolv-conf` is the file that is pointed at holdover.
    #[command(flatten)]
    pub(super) serve: ServeArguments,
    /// Address at which the application reaches holdover [default: the first listen address with
    /// port 53]
    #[arg(long, value_name = "ADDR")]
    pub(super) nameserver: Option<IpAddr>,
    /// Whether one of the original name servers stays in resolv.conf as the second one: auto leaves
    /// it out for musl and systemd-resolved
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) fallback: FallbackArgument,
    /// Where the original resolv.conf is kept [default: beside it, else below /var/lib/holdover,
    /// else below /run/holdover]
    #[arg(long, value_name = "FILE")]
    pub(super) keep: Option<PathBuf>,
    /// User of the sidecar: a name, UID or UID:GID [default: that of holdover run]. It needs no
    /// right but to listen, and to write the state file; a sidecar of another user cannot put
    /// resolv.conf back when holdover run itself is killed
    #[arg(long, value_name = "USER")]
    pub(super) user: Option<SidecarUser>,
    /// Do not run the command if holdover cannot answer or resolv.conf cannot be written
    #[arg(long)]
    pub(super) strict: bool,
    /// Be the sidecar of the `holdover run` with this process ID
    #[arg(long, hide = true, value_name = "PID")]
    pub(super) sidecar_of: Option<i32>,
    /// The application and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}
