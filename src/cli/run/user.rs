//! The user as which the sidecar of `holdover run` serves, so that what answers queries of the
//! network need not be root because the application is.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::config::regular_file;

/// The list of users of the host or container (passwd(5)).
const USERS: &str = "/etc/passwd";
/// Bytes of that list that are read.
const USERS_MAX: u64 = 1 << 20;

/// A user with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SidecarUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl SidecarUser {
    /// Reads a name, UID or UID:GID. `users` is the text of the list of users.
    fn read(text: &str, users: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX);
        if let Some((uid, gid)) = text.split_once(':') {
            let ids = number(uid).zip(number(gid)).map(|(uid, gid)| Self { uid, gid });
            return ids.ok_or_else(|| "is neither UID:GID in numbers, nor a name or UID alone".to_owned());
        }
        let listed = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, uid, gid) =
                (fields.next()?, fields.next()?, number(fields.next()?)?, number(fields.next()?)?);
            (name == text || number(text) == Some(uid)).then_some(Self { uid, gid })
        });
        // A container need not list its users. The group then has the number of the user.
        listed
            .or_else(|| number(text).map(|id| Self { uid: id, gid: id }))
            .ok_or_else(|| format!("is not a user in {USERS}; write its UID, or UID:GID"))
    }
}

impl FromStr for SidecarUser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let users = regular_file::read(Path::new(USERS), USERS_MAX).unwrap_or_default();
        Self::read(text, &String::from_utf8_lossy(&users))
    }
}

impl fmt::Display for SidecarUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_a_number_or_two_numbers() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nnobody:x:65534:65533:nobody:/:/bin/false\n";
        let read = |text| SidecarUser::read(text, users);
        assert_eq!(read("nobody"), Ok(SidecarUser { uid: 65534, gid: 65533 }));
        assert_eq!(read("65534"), Ok(SidecarUser { uid: 65534, gid: 65533 }));
        assert_eq!(read("65532"), Ok(SidecarUser { uid: 65532, gid: 65532 }));
        assert_eq!(read("1:2"), Ok(SidecarUser { uid: 1, gid: 2 }));
        assert!(read("web").unwrap_err().contains("is not a user in /etc/passwd"));
        for wrong in ["1:web", ":", "1:", "4294967295:0", "-1:0"] {
            assert!(read(wrong).unwrap_err().contains("UID:GID"), "{wrong}");
        }
    }
}
