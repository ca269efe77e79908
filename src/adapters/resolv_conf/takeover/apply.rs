//! Writes a text into `resolv.conf` that points at holdover, after the original is kept.

use std::fs;
use std::path::{Path, PathBuf};

use super::inspection::{Inspection, Replacement, UpstreamSource, Wish};
use super::target::{KeptCopy, TakeoverTarget};
use crate::adapters::resolv_conf::error::TakeoverError;
use crate::adapters::resolv_conf::file::{How, put};
use crate::adapters::resolv_conf::original::READABLE;
use crate::core::resolv_conf::{ResolvConf, ResolvConfWriter};
use crate::core::takeover::{KeptOriginal, LeftOut, SecondNameserver, Was, kept_in};

/// A file that is taken over.
#[derive(Debug)]
pub struct Applied {
    /// How the file was written; `None` where it was as it should be already.
    pub how: Option<How>,
    /// Where the original is kept; `None` where a predecessor's copy is gone and no other could be
    /// made.
    pub kept: Option<PathBuf>,
    /// The second name server in the file, or the reason why it has none.
    pub second: SecondNameserver,
    /// The program that wrote the original.
    pub writer: ResolvConfWriter,
}

/// Takes the file over, or continues a takeover: start scripts run again, and a predecessor may
/// have been killed before it could put the original back.
///
/// # Errors
/// Those of `Takeover::apply`.
pub(super) fn apply(target: &TakeoverTarget, wish: &Wish) -> Result<Applied, TakeoverError> {
    let found = Inspection::of(target)?;
    if found.writer != ResolvConfWriter::Holdover {
        return take_over(target, &found, wish);
    }
    // Without its original, a file that points elsewhere cannot be written anew.
    let names_own = || ResolvConf::read(&found.text()).nameservers.iter().any(|nameserver| nameserver.ip == wish.own);
    if found.kept.is_none() && !names_own() {
        return Err(TakeoverError::PointsElsewhere(found.file));
    }
    continue_takeover(target, &found, wish)
}

/// Takes over a file that somebody else wrote.
fn take_over(target: &TakeoverTarget, found: &Inspection, wish: &Wish) -> Result<Applied, TakeoverError> {
    // Refuse a file that would leave holdover without any upstream.
    let Replacement { second, writer, .. } = checked_plan(found, wish)?;

    // Keep the original first: from the next step on it stands nowhere else.
    let live = found.writer.live_source().map(str::to_owned);
    let (place, text) = target.keep(|place| {
        let text = found.plan(wish, place).text;
        let kept = KeptOriginal {
            file: target.file_as_text(),
            was: found.was.clone(),
            live: live.clone(),
            wrote: text.clone(),
            original: found.bytes.clone(),
        };
        KeptCopy { bytes: kept.write(), text }
    })?;

    // Write the file; the copy is of no use when that fails.
    let how = put(&found.file, text.as_bytes(), &as_plain_file(&found.was)).map_err(|cause| {
        let _ = fs::remove_file(&place);
        TakeoverError::Unwritable { file: found.file.clone(), cause }
    })?;
    Ok(Applied { how: Some(how), kept: Some(place), second, writer })
}

/// Plans the new text, though not yet with the place of the original in it; an error says why
/// holdover would have no upstream once the file is taken over.
fn checked_plan(found: &Inspection, wish: &Wish) -> Result<Replacement, TakeoverError> {
    let file = || found.file.clone();
    let named = ResolvConf::read(&found.text()).nameservers;
    if !named.is_empty() && named.iter().all(|nameserver| nameserver.ip == wish.own) {
        return Err(TakeoverError::OnlyHoldover { file: file(), own: wish.own });
    }
    let plan = found.plan(wish, Path::new(""));
    match (wish.upstreams, plan.upstreams.is_empty(), plan.circle) {
        (UpstreamSource::File, true, true) => Err(TakeoverError::Circle { file: file(), own: wish.own }),
        (UpstreamSource::File, true, false) => Err(TakeoverError::Empty(file())),
        (UpstreamSource::File, false, _) | (UpstreamSource::Configured, _, _) => Ok(plan),
    }
}

/// Continues what a predecessor began: its text is renewed where today's wish differs, and the kept
/// copy is made again where it is gone.
fn continue_takeover(target: &TakeoverTarget, found: &Inspection, wish: &Wish) -> Result<Applied, TakeoverError> {
    let Some(kept) = &found.kept else { return Ok(without_original(found, wish)) };
    let was = as_plain_file(&found.was);
    let renewed = |text: &str| KeptOriginal { wrote: text.to_owned(), ..kept.clone() }.write();
    let unwritable = |file: &Path, cause| TakeoverError::Unwritable { file: file.to_owned(), cause };

    // Make the kept copy again where it is gone. Where that is not possible either, the takeover
    // goes on without a copy, as the file's text carries the original.
    let place = found.kept_in.clone().or_else(|| {
        let copy = |place: &Path| {
            let text = found.plan(wish, place).text;
            KeptCopy { bytes: renewed(&text), text }
        };
        Some(target.keep(copy).ok()?.0)
    });
    let named = place.as_deref().or_else(|| kept_in(&kept.wrote).map(Path::new));
    let plan = found.plan(wish, named.unwrap_or(Path::new("")));
    let is_current = plan.text.as_bytes() == found.bytes;

    // Write the new text into an existing copy before the file has it: a text that the copy does
    // not have would count as somebody else's.
    if let Some(place) = &found.kept_in
        && (plan.text != kept.wrote || !is_current)
    {
        put(place, &renewed(&plan.text), &was).map_err(|source| unwritable(place, source))?;
    }
    if is_current {
        return Ok(Applied { how: None, kept: place, second: plan.second, writer: plan.writer });
    }

    // Write the file. When that fails, the copy has to match the text that goes on standing there.
    let how = put(&found.file, plan.text.as_bytes(), &was).map_err(|cause| {
        let _ = match (&found.kept_in, &place) {
            (Some(place), _) => put(place, &kept.write(), &was).map(drop),
            (None, Some(place)) => fs::remove_file(place),
            (None, None) => Ok(()),
        };
        unwritable(&found.file, cause)
    })?;
    Ok(Applied { how: Some(how), kept: place, second: plan.second, writer: plan.writer })
}

/// Leaves a file as it is whose original is lost: the address in it is holdover's, and its second
/// name server is all that is known of the original.
fn without_original(found: &Inspection, wish: &Wish) -> Applied {
    let mut named = ResolvConf::read(&found.text()).nameservers.into_iter();
    let second = named.find(|nameserver| nameserver.ip != wish.own);
    let second = second.map_or(SecondNameserver::LeftOut(LeftOut::Nobody), SecondNameserver::Written);
    Applied { how: None, kept: None, second, writer: ResolvConfWriter::Unknown }
}

/// The permissions of holdover's text: those of the file before it, or those of a readable file
/// where there was a symbolic link.
fn as_plain_file(was: &Was) -> Was {
    match was {
        Was::File { .. } => was.clone(),
        Was::Link(_) => READABLE,
    }
}
