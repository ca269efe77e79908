//! Takes a `resolv.conf` over, gives it back, and says what is there.
//!
//! The order of steps makes every moment at which the process may be killed a good one:
//!
//! | killed | what is found | what happens next |
//! |---|---|---|
//! | before the original is kept | the original | as if nothing had been |
//! | before the file is written | the original, and a kept copy of it | taking over keeps it again |
//! | after | holdover's text, and the original kept | it is given back by command, or taken up again by `holdover run` |
//! | after, and the kept copy is lost with a container's root | holdover's text, which carries the original | the same, from the text |
//! | while giving back, before the kept copy is removed | the original, and a kept copy of it | giving back again only removes the copy |
//!
//! Nothing is overwritten that somebody else wrote since, unless the operator says so.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::TakeoverError;
use super::file::{How, put};
use super::{READABLE, ResolvConfError, load, load_bytes, load_kept, places};
use crate::core::resolv_conf::{Nameserver, ResolvConf, ResolvConfWriter, is_marked};
use crate::core::takeover::{
    self, Fallback, KeptOriginal, Readers, SecondNameserver, Was, is_usable_source, kept_in, leads_back, upstreams,
};

/// Which file, and where its original is kept.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    file: PathBuf,
    /// Where the operator wants the original kept.
    keep: Option<PathBuf>,
}

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// The address on which holdover answers.
    pub own: IpAddr,
    /// Whether an original name server follows it.
    pub fallback: Fallback,
    /// Who reads the file.
    pub readers: Readers,
    /// Where holdover's upstreams come from.
    pub upstreams: Upstreams,
}

/// Where holdover's upstreams come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstreams {
    /// From the file that is taken over.
    File,
    /// From the configuration.
    Configured,
}

/// What happens with a file that holdover took over before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// An error.
    Refused,
    /// It is taken up: a predecessor was killed before it could give it back.
    TakenUp,
}

/// What was found.
#[derive(Debug)]
pub struct Sight {
    /// The file.
    pub file: PathBuf,
    /// Its bytes.
    bytes: Vec<u8>,
    /// What it is.
    was: Was,
    /// Who wrote it.
    pub writer: ResolvConfWriter,
    /// What is kept for it.
    pub kept: Option<KeptOriginal>,
    /// Where; `None` where only the text carries it.
    pub kept_in: Option<PathBuf>,
}

/// What would be written, and what it is made from.
#[derive(Debug)]
pub struct Plan {
    /// The text.
    pub text: String,
    /// The second name server.
    pub second: SecondNameserver,
    /// Whom holdover can forward to.
    pub upstreams: Vec<Nameserver>,
    /// Whether Docker's resolver would send everything back.
    pub circle: bool,
    /// Who wrote the original.
    pub writer: ResolvConfWriter,
}

/// A file that is taken over.
#[derive(Debug)]
pub struct Applied {
    /// How it was written; `None` where it was as it should be.
    pub how: Option<How>,
    /// Where the original is kept; `None` where a predecessor's copy is gone, and no other could be
    /// made.
    pub kept: Option<PathBuf>,
    /// The second name server.
    pub second: SecondNameserver,
    /// Who wrote the original.
    pub writer: ResolvConfWriter,
}

/// How a file was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It was written.
    Written(How),
    /// It had been before.
    Already,
}

impl Place {
    /// A file, and where its original is kept if not in one of the usual [`places`].
    ///
    /// # Errors
    /// [`TakeoverError::Path`].
    pub fn new(file: &Path, keep: Option<&Path>) -> Result<Self, TakeoverError> {
        let absolute = |path: &Path| match std::path::absolute(path) {
            Ok(path) if path.to_str().is_some_and(|text| !text.contains('\n')) => Ok(path),
            Ok(_) | Err(_) => Err(TakeoverError::Path(path.to_owned())),
        };
        Ok(Self { file: absolute(file)?, keep: keep.map(absolute).transpose()? })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Where the original may be kept, the first place first.
    fn candidates(&self) -> Vec<PathBuf> {
        self.keep.clone().map_or_else(|| places(&self.file), |keep| vec![keep])
    }

    /// What is kept for the file: where its text says, else in one of the places.
    fn kept(&self, text: &str) -> Option<(PathBuf, KeptOriginal)> {
        let said = if self.keep.is_none() { kept_in(text).map(PathBuf::from) } else { None };
        let mut places = said.into_iter().chain(self.candidates());
        places.find_map(|place| {
            let kept = load_kept(&place).ok().filter(|kept| Path::new(&kept.file) == self.file)?;
            Some((place, kept))
        })
    }

    /// The kept copy of the original and where it is, else what holdover's text carries of it.
    fn original(&self, bytes: &[u8], was: &Was) -> (Option<KeptOriginal>, Option<PathBuf>) {
        if let Some((place, kept)) = self.kept(&String::from_utf8_lossy(bytes)) {
            return (Some(kept), Some(place));
        }
        // Where a link is, somebody put it there since.
        let text = std::str::from_utf8(bytes).ok().filter(|_| matches!(was, Was::File { .. }));
        (text.and_then(|text| KeptOriginal::recover(text, was, &display(&self.file))), None)
    }

    /// What the file is now.
    fn was(&self) -> io::Result<Was> {
        let metadata = fs::symlink_metadata(&self.file)?;
        Ok(if metadata.is_symlink() {
            Was::Link(fs::read_link(&self.file)?.to_string_lossy().into_owned())
        } else {
            Was::File { mode: metadata.mode() & 0o7777, owner: metadata.uid(), group: metadata.gid() }
        })
    }

    /// Looks at the file.
    ///
    /// # Errors
    /// [`TakeoverError::Unreadable`].
    pub fn look(&self) -> Result<Sight, TakeoverError> {
        let unreadable = |source| ResolvConfError::Unreadable { path: self.file.clone(), source };
        let bytes = load_bytes(&self.file)?;
        let was = self.was().map_err(unreadable)?;
        let writer = ResolvConfWriter::of(&String::from_utf8_lossy(&bytes), link(&was));
        let (kept, kept_in) = self.original(&bytes, &was);
        Ok(Sight { file: self.file.clone(), bytes, was, writer, kept, kept_in })
    }

    /// Takes the file over.
    ///
    /// # Errors
    /// [`TakeoverError`]; nothing is changed then.
    pub fn apply(&self, wish: &Wish, again: Again) -> Result<Applied, TakeoverError> {
        let sight = self.look()?;
        if sight.writer == ResolvConfWriter::Holdover {
            return match again {
                Again::Refused => Err(TakeoverError::Already(self.file.clone())),
                Again::TakenUp => self.take_up(&sight, wish),
            };
        }
        let named = ResolvConf::read(&sight.text()).nameservers;
        if !named.is_empty() && named.iter().all(|nameserver| nameserver.ip == wish.own) {
            return Err(TakeoverError::OnlyHoldover { file: self.file.clone(), own: wish.own });
        }
        let plan = sight.plan(wish, Path::new(""));
        match (wish.upstreams, plan.upstreams.is_empty(), plan.circle) {
            (Upstreams::File, true, true) => {
                return Err(TakeoverError::Circle { file: self.file.clone(), own: wish.own });
            }
            (Upstreams::File, true, false) => return Err(TakeoverError::Empty(self.file.clone())),
            (Upstreams::File, false, _) | (Upstreams::Configured, _, _) => {}
        }
        let live = sight.writer.live_source().map(str::to_owned);
        let kept = |wrote| KeptOriginal {
            file: display(&self.file),
            was: sight.was.clone(),
            live: live.clone(),
            wrote,
            original: sight.bytes.clone(),
        };
        let (place, text) = self.keep(|place| {
            let text = sight.plan(wish, place).text;
            (kept(text.clone()).write(), text)
        })?;
        let how = put(&self.file, text.as_bytes(), &plain(&sight.was)).map_err(|cause| {
            let _ = fs::remove_file(&place);
            TakeoverError::Unwritable { file: self.file.clone(), cause }
        })?;
        Ok(Applied { how: Some(how), kept: Some(place), second: plan.second, writer: plan.writer })
    }

    /// Takes up what a predecessor left; what it wrote is renewed where today's wish differs, and
    /// the kept copy where it is gone.
    fn take_up(&self, sight: &Sight, wish: &Wish) -> Result<Applied, TakeoverError> {
        let Some(kept) = &sight.kept else {
            // It stays as it is: the address in it is ours, and its second name server is all that
            // is known of the original.
            let second =
                ResolvConf::read(&sight.text()).nameservers.into_iter().find(|nameserver| nameserver.ip != wish.own);
            let second = second.map_or(SecondNameserver::LeftOut(takeover::LeftOut::Nobody), SecondNameserver::Written);
            return Ok(Applied { how: None, kept: None, second, writer: ResolvConfWriter::Unknown });
        };
        let renewed = |text: &str| KeptOriginal { wrote: text.to_owned(), ..kept.clone() }.write();
        let unwritable = |file: &Path, cause| TakeoverError::Unwritable { file: file.to_owned(), cause };
        let again = |place: &Path| {
            let text = sight.plan(wish, place).text;
            (renewed(&text), text)
        };
        // The text carries the original, so that it goes on without a copy where none can be made.
        let place = sight.kept_in.clone().or_else(|| Some(self.keep(again).ok()?.0));
        let named = place.as_deref().or_else(|| kept_in(&kept.wrote).map(Path::new));
        let plan = sight.plan(wish, named.unwrap_or(Path::new("")));
        if let Some(place) =
            sight.kept_in.as_ref().filter(|_| plan.text != kept.wrote || plan.text.as_bytes() != sight.bytes)
        {
            put(place, &renewed(&plan.text), &plain(&sight.was)).map_err(|source| unwritable(place, source))?;
        }
        if plan.text.as_bytes() == sight.bytes {
            return Ok(Applied { how: None, kept: place, second: plan.second, writer: plan.writer });
        }
        let how = put(&self.file, plan.text.as_bytes(), &plain(&sight.was)).map_err(|cause| {
            // The copy is to be that of the text that stands.
            let _ = match (&sight.kept_in, &place) {
                (Some(place), _) => put(place, &kept.write(), &plain(&sight.was)).map(drop),
                (None, Some(place)) => fs::remove_file(place),
                (None, None) => Ok(()),
            };
            unwritable(&self.file, cause)
        })?;
        Ok(Applied { how: Some(how), kept: place, second: plan.second, writer: plan.writer })
    }

    /// Keeps what `bytes` makes in the first place that takes it. A file there that is not a kept
    /// original of this file is left alone.
    fn keep(&self, bytes: impl Fn(&Path) -> (Vec<u8>, String)) -> Result<(PathBuf, String), TakeoverError> {
        let mut complaints = Vec::new();
        for place in self.candidates() {
            let taken = match load_kept(&place) {
                Ok(kept) if Path::new(&kept.file) != self.file => Some(format!("keeps the original of {}", kept.file)),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    Some("is a file that holdover did not make".to_owned())
                }
                Ok(_) | Err(_) => None,
            };
            let (bytes, text) = bytes(&place);
            let kept = taken.map_or(Ok(()), Err).and_then(|()| {
                let made = place.parent().map_or(Ok(()), fs::create_dir_all);
                made.and_then(|()| put(&place, &bytes, &READABLE).map(drop)).map_err(|error| error.to_string())
            });
            match kept {
                Ok(()) => return Ok((place, text)),
                Err(complaint) => complaints.push(format!("{}: {complaint}", place.display())),
            }
        }
        Err(TakeoverError::NowhereToKeep(complaints.join("; ")))
    }

    /// Gives the file back as it was.
    ///
    /// # Errors
    /// [`TakeoverError`]: nothing is kept, somebody else wrote it since and `force` is not said, it cannot be written.
    pub fn restore(&self, force: Force) -> Result<Restored, TakeoverError> {
        let was = self.was().ok();
        let bytes = was.as_ref().and_then(|_| load_bytes(&self.file).ok());
        let present = bytes.as_deref().unwrap_or_default();
        let text = String::from_utf8_lossy(present).into_owned();
        // Where the file is gone, only a copy tells what it was.
        let (Some(kept), place) = self.original(present, was.as_ref().unwrap_or(&READABLE)) else {
            return Err(TakeoverError::NothingKept(self.file.clone(), is_marked(&text)));
        };
        let target = fs::read_link(&self.file).ok().map(|target| target.to_string_lossy().into_owned());
        let unlinked = target.is_none();
        let is_back = match &kept.was {
            Was::Link(was) => target.as_ref() == Some(was),
            Was::File { .. } => unlinked && bytes.as_ref() == Some(&kept.original),
        };
        let is_ours = unlinked && bytes.as_deref() == Some(kept.wrote.as_bytes());
        let restored = if is_back {
            Restored::Already
        } else if is_ours || force == Force::Yes {
            let written = put(&self.file, &kept.original, &kept.was);
            Restored::Written(written.map_err(|cause| TakeoverError::Unwritable { file: self.file.clone(), cause })?)
        } else {
            let writer = ResolvConfWriter::of(&text, target.as_deref());
            return Err(TakeoverError::ChangedSince {
                file: self.file.clone(),
                writer,
                kept: place.unwrap_or_default(),
            });
        };
        // Where it cannot be removed, the next takeover writes over it.
        let _ = place.map(fs::remove_file);
        Ok(restored)
    }
}

/// Whether what somebody else wrote since is overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// No.
    No,
    /// Yes.
    Yes,
}

/// How holdover's text lies there: as the file before it; where a link was, as any configuration.
fn plain(was: &Was) -> Was {
    match was {
        Was::File { .. } => was.clone(),
        Was::Link(_) => READABLE,
    }
}

/// The target of a link.
fn link(was: &Was) -> Option<&str> {
    match was {
        Was::Link(target) => Some(target),
        Was::File { .. } => None,
    }
}

/// A path in text; [`Place::new`] has seen that it is one.
fn display(path: &Path) -> String {
    path.display().to_string()
}

impl Sight {
    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The target, where it is a symbolic link.
    #[must_use]
    pub fn link(&self) -> Option<&str> {
        link(&self.was)
    }

    /// Whether it is as holdover wrote it; `None` where holdover did not write it or no copy is
    /// kept.
    #[must_use]
    pub fn is_unchanged(&self) -> Option<bool> {
        let kept =
            self.kept.as_ref().filter(|_| self.writer == ResolvConfWriter::Holdover && self.kept_in.is_some())?;
        Some(kept.wrote.as_bytes() == self.bytes)
    }

    /// Whether something is mounted over it, so that it can only be written in place.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        let Ok(path) = fs::canonicalize(&self.file) else { return false };
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mounts
            .lines()
            .filter_map(|mount| mount.split(' ').nth(4))
            .any(|point| Path::new(&point.replace("\\040", " ")) == path)
    }

    /// What would be written, with the original kept in `place`.
    #[must_use]
    pub fn plan(&self, wish: &Wish, place: &Path) -> Plan {
        let (original, writer, live) = match &self.kept {
            Some(kept) if self.writer == ResolvConfWriter::Holdover => {
                let original = String::from_utf8_lossy(&kept.original).into_owned();
                let writer = ResolvConfWriter::of(&original, link(&kept.was));
                (original, writer, kept.live.clone())
            }
            Some(_) | None => {
                // A stub's own file names nobody; others are up to date themselves.
                let live = if self.writer == ResolvConfWriter::ResolvedStub {
                    self.writer.live_source().map(str::to_owned)
                } else {
                    None
                };
                (self.text(), self.writer, live)
            }
        };
        let source = live.and_then(|live| load(Path::new(&live)).ok()).filter(|text| is_usable_source(text, wish.own));
        let source = source.as_ref().unwrap_or(&original);
        let upstreams = upstreams(source, wish.own);
        let second = takeover::second_nameserver(wish.fallback, wish.readers, &upstreams);
        let text = takeover::replacement(&original, writer, wish.own, &second, &display(place));
        Plan { text, second, circle: leads_back(source, wish.own), upstreams, writer }
    }
}
