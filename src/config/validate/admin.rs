//! The validation of `[admin]`: the address of the admin interface, and whether other hosts may
//! reach it.

use super::addresses::read_address;
use super::validator::Validator;
use crate::config::keys;
use crate::config::limits;
use crate::config::settings::Admin;

/// The word for no admin interface.
const OFF: &str = "off";

/// Whether other hosts than this one may reach the admin interface.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remote {
    /// Other hosts may not reach the interface.
    Refuse,
    /// Other hosts may read metrics, status and readiness, which hold no secret.
    Read,
}

impl Admin {
    /// Reads the address of an admin interface: an absolute path, or an IP address with an optional
    /// port. `None` for any other text.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            let is_socket = text.len() <= limits::ADMIN_PATH_MAX && !text.ends_with('/');
            return is_socket.then(|| Self::Path(text.into()));
        }
        read_address(text, limits::ADMIN_PORT).map(Self::Address)
    }
}

impl Validator<'_> {
    /// Validates `[admin]`; `None` when the interface is off.
    pub(super) fn admin(&mut self) -> Option<Admin> {
        let words = [("refuse", Remote::Refuse), ("read", Remote::Read)];
        let remote = self.given(keys::ADMIN_REMOTE).and_then(|given| self.word(keys::ADMIN_REMOTE, given, &words));
        let given = self.given(keys::ADMIN_ADDRESS)?;
        let text = given.raw.text().map(str::trim);
        if text == Some(OFF) {
            return None;
        }
        match text.and_then(Admin::read) {
            Some(Admin::Address(address)) if !address.ip().is_loopback() && remote != Some(Remote::Read) => {
                self.complain(
                    keys::ADMIN_ADDRESS,
                    given,
                    "is an address that other hosts may reach, but admin.remote is \"refuse\". Set admin.remote to \
                     \"read\" if other hosts are to read metrics, or name a loopback address",
                );
                None
            }
            Some(admin) => Some(admin),
            None => {
                self.complain(keys::ADMIN_ADDRESS, given, "is neither a path nor an address");
                None
            }
        }
    }
}
