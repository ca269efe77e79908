//! What the admin interface shows and does, put together from the parts that know: the resolver,
//! the fronts' counters, seeds.

use std::path::PathBuf;
use std::sync::Arc;
use std::vec;

use crate::adapters::admin::{Administered, Flush, FlushScope, Imported};
use crate::adapters::seed::{self, Writer};
use crate::core::key::{Key, is_within};
use crate::core::matching::Mismatch;
use crate::core::policy::Policy;
use crate::core::special::Readiness;
use crate::core::time::Timestamp;
use crate::memory::cached::CachedAnswer;
use crate::memory::flushes::Scope;
use crate::memory::journal::Origin;
use crate::resolver::Resolver;
use crate::resolver::ports::PortFuture;
use crate::telemetry::events;
use crate::telemetry::reading::{Reading, StateFileReading, seconds};
use crate::telemetry::state_file::{Durable, StateFileStatus};
use crate::telemetry::tally::{Carried, ConnectionEvent, Connections, Tally, UpstreamCounters};

use super::{seeds, shared_cache};

/// Bytes of one piece of an export; a little more, as pieces end with an answer.
const PIECE: usize = 16 << 10;

/// The state file as the admin interface sees it.
pub(super) struct Kept {
    /// Where it is.
    pub(super) path: PathBuf,
    /// How it stands with it.
    pub(super) standing: Box<dyn Fn() -> StateFileStatus + Send + Sync>,
    /// Writes that something was forgotten.
    pub(super) forget: Box<dyn Fn(Scope, Timestamp) -> PortFuture<Durable> + Send + Sync>,
}

impl Kept {
    /// How it stands with it now.
    fn read(&self, now: Timestamp) -> StateFileReading {
        let reading = StateFileReading { path: self.path.display().to_string(), ..StateFileReading::default() };
        match (self.standing)() {
            StateFileStatus::Off => reading,
            StateFileStatus::Working { entries, bytes, last_write } => StateFileReading {
                working: true,
                last_write_age_seconds: last_write.map(|last| seconds(now.since(last))),
                entries,
                bytes,
                ..reading
            },
            StateFileStatus::Failing { since, reason } => StateFileReading {
                problem: Some(reason.advice().to_owned()),
                failing_seconds: Some(seconds(now.since(since))),
                ..reading
            },
        }
    }
}

/// The sidecar as its admin interface sees it.
pub(super) struct Administration {
    /// Answers and remembers.
    pub(super) resolver: Arc<Resolver>,
    /// The operator's choices.
    pub(super) policy: Policy,
    /// The counters of all threads that answer.
    pub(super) tallies: Vec<Arc<Tally>>,
    /// What became of clients' connections.
    pub(super) connections: Arc<Connections>,
    /// What went upstream and came back.
    pub(super) upstream: Arc<UpstreamCounters>,
    /// Where clients reach it.
    pub(super) listen: Vec<String>,
    /// When it was started.
    pub(super) started: Timestamp,
    /// The state file, where there is one.
    pub(super) state: Option<Kept>,
    /// The shared cache, where there is one.
    pub(super) shared_cache: Option<shared_cache::Shown>,
}

impl Administered for Administration {
    fn reading(&self) -> Reading {
        let ignored = Mismatch::ALL.map(|mismatch| (mismatch.label().to_owned(), self.upstream.ignored(mismatch)));
        let exchanged = Carried::ALL.map(|kind| (kind.label().to_owned(), self.upstream.total(kind)));
        let connections = ConnectionEvent::ALL.map(|kind| (kind.label().to_owned(), self.connections.total(kind)));
        let mut reading = Reading {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: seconds(self.resolver.now().since(self.started)),
            listen: self.listen.clone(),
            ignored_responses: ignored.into(),
            exchanged: exchanged.into(),
            connections: connections.into(),
            state_file: self.state.as_ref().map(|state| state.read(self.resolver.now())),
            shared_cache: self.shared_cache.as_ref().map(|shared_cache| shared_cache.read(self.resolver.now())),
            ..self.resolver.reading()
        };
        reading.add_tallies(self.tallies.iter().map(|tally| &**tally));
        reading
    }

    fn readiness(&self) -> Readiness {
        self.resolver.readiness()
    }

    fn export(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        let now = self.resolver.now();
        let answers: Vec<_> =
            self.resolver.memory().store().answers().filter(|cached| cached.entry.is_servable(now)).collect();
        Box::new(Export { answers: answers.into_iter(), writer: Writer::new(Vec::new()).ok() })
    }

    fn import(&self, text: &str) -> Result<Imported, String> {
        let imported = seeds::take_in(text, self.resolver.memory(), &self.policy, Origin::Import)
            .map_err(|error| error.to_string())?;
        events::CacheImported { taken: imported.taken, older: imported.older }.emit();
        Ok(imported)
    }

    fn import_max(&self) -> usize {
        seeds::size_max(&self.policy)
    }

    fn flush(&self, scope: &FlushScope) -> Result<Flush, String> {
        let read = Meant::read(scope)?;
        let shown = read.shown.clone();
        let meant: Scope = Arc::new(move |key| read.is(key));
        let forgotten = self.resolver.memory().flush_all(&meant);
        events::CacheFlushed { scope: &shown, forgotten }.emit();
        let durable = match &self.state {
            Some(state) => (state.forget)(meant, self.resolver.now()),
            None => Box::pin(std::future::ready(Durable::Off)),
        };
        Ok(Flush { forgotten, durable })
    }
}

/// An export under way. It holds pointers to what was remembered when it began.
struct Export {
    /// What is still to be written.
    answers: vec::IntoIter<Arc<CachedAnswer>>,
    /// Writes it; none when it is through.
    writer: Option<Writer<Vec<u8>>>,
}

impl Iterator for Export {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut writer = self.writer.take()?;
        for cached in self.answers.by_ref() {
            if let Some(key) = cached.key() {
                // Nothing fails when it is written to memory.
                let _ = writer.add(&key, &cached.entry, cached.hits());
            }
            if writer.out().len() >= PIECE {
                let piece = std::mem::take(writer.out());
                self.writer = Some(writer);
                return Some(piece);
            }
        }
        let _ = writer.finish();
        Some(std::mem::take(writer.out()))
    }
}

/// Names and types that are meant.
struct Meant {
    /// The name, in lower-cased wire form.
    name: Vec<u8>,
    /// Whether those below it are meant, too.
    reach: Reach,
    /// The type, if only one.
    rtype: Option<u16>,
    /// The same in words, for the log.
    shown: String,
}

/// How far a name reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Itself.
    Name,
    /// Itself and all below.
    Below,
}

impl Meant {
    /// Reads what is meant.
    fn read(scope: &FlushScope) -> Result<Self, String> {
        let (text, reach) = match (&scope.name, &scope.below) {
            (Some(name), None) => (name, Reach::Name),
            (None, Some(below)) => (below, Reach::Below),
            (None, None) | (Some(_), Some(_)) => {
                return Err(
                    "name what to forget. Allowed: either name or below, and with it type; below=. is everything"
                        .to_owned(),
                );
            }
        };
        let name = seed::read_name(text)
            .ok_or_else(|| format!("\"{text}\" is no domain name. Allowed: such as www.example.com"))?;
        let rtype = scope.rtype.as_deref().map(|rtype| {
            seed::read_type(rtype).ok_or_else(|| {
                format!("type \"{rtype}\" is not known. Allowed: A, AAAA and so on, or TYPE and a number")
            })
        });
        let shown = match (reach, &scope.rtype) {
            (Reach::Name, None) => text.clone(),
            (Reach::Name, Some(rtype)) => format!("{text} {rtype}"),
            (Reach::Below, None) => format!("{text} and all below"),
            (Reach::Below, Some(rtype)) => format!("{text} and all below, {rtype}"),
        };
        Ok(Self { name: name.to_ascii_lowercase(), reach, rtype: rtype.transpose()?, shown })
    }

    /// Whether a key is meant.
    fn is(&self, key: &Key) -> bool {
        let named = match self.reach {
            Reach::Name => key.name() == self.name,
            Reach::Below => is_within(key.name(), &self.name),
        };
        named && self.rtype.is_none_or(|rtype| rtype == key.qtype())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;

    fn meant(own: Option<&str>, below: Option<&str>, rtype: Option<&str>) -> Result<Vec<&'static str>, String> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let meant = Meant::read(&FlushScope { name: text(own), below: text(below), rtype: text(rtype) })?;
        let keys = [("example.com", 1), ("www.example.com", 1), ("www.example.com", 28), ("wexample.com", 1)];
        let shown = ["example.com A", "www.example.com A", "www.example.com AAAA", "wexample.com A"];
        let is = |(text, rtype): &(&str, u16)| meant.is(&Key::new(&name(text), *rtype, 1, Dnssec::default()));
        Ok(keys.iter().zip(shown).filter(|(key, _)| is(key)).map(|(_, shown)| shown).collect())
    }

    #[test]
    fn a_name_a_suffix_and_a_type_are_told_apart() {
        assert_eq!(meant(Some("WWW.example.com."), None, None).unwrap(), ["www.example.com A", "www.example.com AAAA"]);
        assert_eq!(meant(Some("www.example.com"), None, Some("aaaa")).unwrap(), ["www.example.com AAAA"]);
        assert_eq!(meant(None, Some("example.com"), Some("A")).unwrap(), ["example.com A", "www.example.com A"]);
        assert_eq!(meant(None, Some("."), None).unwrap().len(), 4);
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for (own, below, rtype) in [
            (None, None, None),
            (Some("a"), Some("b"), None),
            (Some("a..b"), None, None),
            (Some("a"), None, Some("AB")),
        ] {
            assert!(meant(own, below, rtype).unwrap_err().contains("Allowed: "), "{own:?} {below:?} {rtype:?}");
        }
    }
}
