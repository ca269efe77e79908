//! Files of a given text.

use std::path::Path;

/// Writes a file into a folder; gives its path.
pub fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A file of this text in a temporary folder, which is removed when the first value is dropped.
pub fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), name, text);
    (folder, path)
}
