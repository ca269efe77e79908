//! The sidecar process of `holdover run`: it serves, and puts `resolv.conf` back when the process
//! that started it was killed.
//!
//! A pipe from that process shows its end: the pipe is closed with the process, however the process
//! ends. The application may live on and resolve names, and no other process knows that
//! `resolv.conf` was pointed at holdover. So the original is put back first, and then the sidecar
//! drains as it does on SIGTERM.

use std::process::ExitCode;

use super::arguments::RunArguments;
use crate::adapters::children;
use crate::adapters::resolv_conf::TakeoverError;
use crate::adapters::resolv_conf::takeover::{Force, Restored, Takeover};
use crate::cli::serve;
use crate::telemetry::console;
use crate::telemetry::takeover::{FileGivenBack, FileLeft, GiveBackReason};

/// Serves for as long as the parent process lives.
///
/// # Errors
/// Those of [`serve::run`].
pub(super) fn serve(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let RunArguments { serve: serving, keep, .. } = arguments;
    // The kernel has named this process after the link through which it was started: `exe`.
    let _ = std::fs::write("/proc/self/comm", "holdover");
    let place = Takeover::new(serving.resolv_conf(), keep.as_deref());
    serve::run_until(serving, async {
        match children::parent_ended() {
            Ok(ended) => ended.await,
            // Names are resolved by this sidecar already, so it is better to go on than to end.
            Err(error) => {
                console::complain(format_args!(
                    "standard input is not a pipe from holdover run ({error}): the end of holdover run will not be \
                     noticed"
                ));
                std::future::pending().await
            }
        }
        if let Ok(place) = place {
            give_back(&place);
        }
        "end of holdover run"
    })
}

/// Puts the original `resolv.conf` back, if one is kept.
fn give_back(place: &Takeover) {
    match place.restore(Force::No) {
        Ok(Restored::Written(_)) => FileGivenBack { path: place.file(), why: GiveBackReason::Orphaned }.emit(),
        // The process that was killed had not pointed the file at holdover yet, or had put it back.
        Ok(Restored::Already) | Err(TakeoverError::NotTakenOver(_)) => {}
        Err(error) => FileLeft { reason: &error.to_string() }.emit(),
    }
}
