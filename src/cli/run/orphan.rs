//! The sidecar's side of `holdover run`: it serves, and clears up when the process that started it
//! was killed.
//!
//! The end of the line between them says so. The application may live on and resolve names, and
//! nobody else is left who knows that `resolv.conf` was taken over; so the original is put back
//! first, and then the sidecar drains like any other.

use std::process::ExitCode;

use super::RunArguments;
use crate::adapters::children;
use crate::adapters::resolv_conf::TakeoverError;
use crate::adapters::resolv_conf::takeover::{Force, Restored, Takeover};
use crate::cli::serve;
use crate::telemetry::console;
use crate::telemetry::takeover::{FileLeft, GivenBack, Why};

/// Serves for as long as the parent lives.
///
/// # Errors
/// Those of [`serve::run`].
pub(super) fn serve(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let RunArguments { serve: serving, keep, .. } = arguments;
    let place = Takeover::new(serving.resolv_conf(), keep.as_deref());
    serve::run_until(serving, async {
        match children::parent_ended() {
            Ok(ended) => ended.await,
            // Whoever resolves names by it is better served than left.
            Err(error) => {
                console::complain(format_args!(
                    "standard input is no line to holdover run ({error}): its end will not be noticed"
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

/// Puts the original back, where one is kept.
fn give_back(place: &Takeover) {
    match place.restore(Force::No) {
        Ok(Restored::Written(_)) => GivenBack { path: place.file(), why: Why::Orphaned }.emit(),
        // The one who was killed had not come to it, or had done it.
        Ok(Restored::Already) | Err(TakeoverError::NotTakenOver(_)) => {}
        Err(error) => FileLeft { reason: &error.to_string() }.emit(),
    }
}
