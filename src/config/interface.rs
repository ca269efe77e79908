//! The number of a network interface, which the scope of a link-local address (`fe80::1%eth0`)
//! gives by name or by number. Only the host knows it; it is looked up below `/sys/class/net`.

use std::fs;

/// The number of an interface that is given by number or by name; `None` when this host has none of
/// that name.
#[must_use]
pub fn number(scope: &str) -> Option<u32> {
    if let Ok(number) = scope.parse() {
        return Some(number);
    }
    // The name becomes part of a path, so it must not lead elsewhere.
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte);
    if scope.is_empty() || scope.starts_with('.') || !scope.bytes().all(is_name_byte) {
        return None;
    }
    fs::read_to_string(format!("/sys/class/net/{scope}/ifindex")).ok()?.trim().parse().ok()
}
