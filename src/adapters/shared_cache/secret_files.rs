//! Reads the files of keys, passwords and certificates again, so that a secret can be changed while
//! holdover runs.
//!
//! | event | what is read |
//! |---|---|
//! | a check of the connection, every 5 s | the files, when one looks different from the last time |
//! | the server was not reached, or denied access | all files |
//!
//! Files that cannot be used leave the secrets as they are; each new complaint is logged once. A
//! file system that hangs holds up one thread, and nothing else.

use std::path::Path;
use std::time::SystemTime;

use std::os::unix::fs::MetadataExt;
use tokio::task::JoinHandle;

use super::secrets::{Secrets, Unusable};
use crate::config::settings::{Password, SharedCacheSettings};
use crate::telemetry::events;

/// The looks of one file; a mounted secret that changes is another file with the same path.
type FileLooks = Option<(SystemTime, u64, u64)>;

/// Which files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reread {
    /// All, when one of them looks different.
    Changed,
    /// All, whatever they look like.
    All,
}

/// The files of the configuration, and the reading of them that is under way.
pub(super) struct SecretFiles {
    settings: SharedCacheSettings,
    looks: Vec<FileLooks>,
    reading: Option<JoinHandle<Outcome>>,
    /// The last complaint that was logged.
    complaint: String,
}

/// The outcome of one reading: the looks of the files, and the secrets unless nothing had changed.
type Outcome = (Vec<FileLooks>, Option<Result<Secrets, Unusable>>);

impl SecretFiles {
    /// The files of a configuration, whose secrets were read before.
    pub(super) fn new(settings: &SharedCacheSettings) -> Self {
        Self { settings: settings.clone(), looks: Vec::new(), reading: None, complaint: String::new() }
    }

    /// Begins to read the files, unless they are being read.
    pub(super) fn read_again(&mut self, which: Reread) {
        if self.reading.is_none() {
            let (settings, known) = (self.settings.clone(), self.looks.clone());
            self.reading = Some(tokio::task::spawn_blocking(move || read(&settings, &known, which)));
        }
    }

    /// The secrets, once they were read again and can be used. Does not wait for a reading that is
    /// under way.
    pub(super) async fn renewed(&mut self) -> Option<Secrets> {
        let reading = self.reading.take_if(|reading| reading.is_finished())?;
        let (looks, read) = reading.await.ok()?;
        let had_changed = looks != self.looks && !self.looks.is_empty();
        self.looks = looks;
        match read? {
            Ok(secrets) => {
                self.complaint.clear();
                if had_changed {
                    events::SharedCacheFilesRenewed { url: &self.settings.url }.emit();
                }
                Some(secrets)
            }
            Err(unusable) => {
                let complaint = unusable.to_string();
                if complaint != self.complaint {
                    events::SharedCacheFilesKept { url: &self.settings.url, reason: &complaint }.emit();
                    self.complaint = complaint;
                }
                None
            }
        }
    }
}

/// Looks at the files, and reads them. Blocks for as long as their file system does.
fn read(settings: &SharedCacheSettings, known: &[FileLooks], which: Reread) -> Outcome {
    // Before the content, so that a change in between shows the next time.
    let looks: Vec<FileLooks> = files(settings).map(look).collect();
    let changed = !known.is_empty() && known != looks;
    let read = (changed || which == Reread::All).then(|| Secrets::read(settings));
    (looks, read)
}

fn files(settings: &SharedCacheSettings) -> impl Iterator<Item = &Path> {
    let password = match &settings.password {
        Some(Password::File(path)) => Some(path),
        Some(Password::Given(_)) | None => None,
    };
    let others = settings.former_key_file.iter().chain(password).chain(&settings.ca_file);
    std::iter::once(&settings.key_file).chain(others).map(|path| path.as_path())
}

fn look(path: &Path) -> FileLooks {
    let looks = std::fs::metadata(path).ok()?;
    Some((looks.modified().ok()?, looks.len(), looks.ino()))
}
