//! The bytes that all TCP connections of clients hold together, on all listen addresses.
//!
//! | bytes held | what happens |
//! |---|---|
//! | up to three quarters of the limit | nothing |
//! | above that | a connection that owes answers reads no further query; one that owes none goes on |
//! | above the limit | the client whose connections hold most gives way: the one that holds most is closed |
//!
//! So a client that fetches its answers is slowed down at the most, and one that does not fetch
//! them loses its own connections. Each connection reports what it holds whenever that changes. The
//! limit is exceeded by what connections have taken and not reported yet, which is one answer for
//! each thread.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::activity::Activity;
use crate::telemetry::tally::{ConnectionEvent, Connections};

/// The bytes that all TCP connections of clients hold, and the limit on them.
pub struct ByteLedger {
    limit: usize,
    counters: Arc<Connections>,
    /// The bytes of all holders, which may be read without the lock.
    total: AtomicUsize,
    holders: Mutex<Holders>,
}

/// The connections that hold bytes, by number.
#[derive(Default)]
struct Holders {
    by_number: HashMap<u64, Holder>,
    /// The number of the next connection.
    next: u64,
}

struct Holder {
    activity: Arc<Activity>,
    bytes: usize,
}

/// The error for a connection that has to give way, since all together hold too much.
pub(super) struct HasToGiveWay;

impl ByteLedger {
    /// A ledger with a limit in bytes; `counters` count the connections that give way.
    #[must_use]
    pub fn new(limit: usize, counters: Arc<Connections>) -> Arc<Self> {
        Arc::new(Self { limit, counters, total: AtomicUsize::new(0), holders: Mutex::default() })
    }

    /// Opens an account for a connection.
    pub(super) fn open(self: &Arc<Self>, activity: Arc<Activity>) -> Account {
        let mut holders = self.holders.lock();
        let number = holders.next;
        holders.next = holders.next.wrapping_add(1);
        holders.by_number.insert(number, Holder { activity, bytes: 0 });
        Account { ledger: Arc::clone(self), number }
    }

    /// Whether so little is left that connections which owe answers take no further queries; `more`
    /// are bytes that are not reported yet.
    pub(super) fn is_short(&self, more: usize) -> bool {
        self.total().saturating_add(more) > self.limit / 4 * 3
    }

    /// The bytes that all connections hold.
    pub(super) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }
}

impl Holders {
    /// The number of the connection that has to give way: of the client whose connections hold
    /// most, the one that holds most.
    fn heaviest(&self) -> Option<u64> {
        let mut by_client: HashMap<IpAddr, usize> = HashMap::new();
        for holder in self.by_number.values() {
            *by_client.entry(holder.activity.client).or_default() += holder.bytes;
        }
        let weight = |number: &u64, holder: &Holder| {
            (by_client.get(&holder.activity.client).copied().unwrap_or_default(), holder.bytes, *number)
        };
        self.by_number.iter().map(|(number, holder)| weight(number, holder)).max().map(|(_, _, number)| number)
    }
}

/// What one connection holds; dropping this takes it out of the ledger.
pub(super) struct Account {
    ledger: Arc<ByteLedger>,
    number: u64,
}

impl Account {
    /// Reports that the connection holds so many bytes now. When all together hold too much,
    /// connections are closed until they do not.
    ///
    /// # Errors
    /// [`HasToGiveWay`] when this connection is one of them.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), HasToGiveWay> {
        let ledger = &self.ledger;
        let mut holders = ledger.holders.lock();
        let holder = holders.by_number.get_mut(&self.number).ok_or(HasToGiveWay)?;
        let before = std::mem::replace(&mut holder.bytes, bytes);
        let mut total = ledger.total().saturating_sub(before).saturating_add(bytes);
        while total > ledger.limit {
            let Some(number) = holders.heaviest() else { break };
            let Some(holder) = holders.by_number.remove(&number) else { break };
            holder.activity.give_way();
            total = total.saturating_sub(holder.bytes);
            ledger.counters.count(ConnectionEvent::OverBytes);
        }
        ledger.total.store(total, Ordering::Relaxed);
        if holders.by_number.contains_key(&self.number) { Ok(()) } else { Err(HasToGiveWay) }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut holders = self.ledger.holders.lock();
        if let Some(holder) = holders.by_number.remove(&self.number) {
            let left = self.ledger.total().saturating_sub(holder.bytes);
            self.ledger.total.store(left, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::activity::ClosingWish;
    use super::*;
    use tokio::time::Instant;

    /// A connection of the client with this number.
    fn connection(ledger: &Arc<ByteLedger>, client: u8) -> (Arc<Activity>, Account) {
        let activity = Arc::new(Activity::new(IpAddr::from([192, 0, 2, client]), Instant::now()));
        (Arc::clone(&activity), ledger.open(activity))
    }

    #[test]
    fn the_client_that_holds_most_gives_way_with_its_largest_connection() {
        let counters = Arc::<Connections>::default();
        let ledger = ByteLedger::new(1000, Arc::clone(&counters));
        let (large, of_large) = connection(&ledger, 1);
        // Together, the two of the second client hold more, although neither holds as much alone.
        let [(first, of_first), (second, of_second)] = [connection(&ledger, 2), connection(&ledger, 2)];
        assert!(of_large.hold(400).is_ok() && of_first.hold(300).is_ok() && of_second.hold(250).is_ok());
        assert!(ledger.is_short(0));
        large.outbox.lock().push(&[0; 12]);
        first.outbox.lock().push(&[0; 12]);
        assert!(of_large.hold(460).is_ok());
        assert_eq!(
            [large.wish(), first.wish(), second.wish()],
            [ClosingWish::Stay, ClosingWish::GiveWay, ClosingWish::Stay]
        );
        assert_eq!(
            (large.outbox.lock().len(), first.outbox.lock().len()),
            (1, 0),
            "its answers are given back at once"
        );
        assert!(of_first.hold(10).is_err());
        assert_eq!((ledger.total(), counters.total(ConnectionEvent::OverBytes)), (710, 1));
    }

    #[test]
    fn what_a_connection_held_is_given_back_when_it_ends() {
        let ledger = ByteLedger::new(1000, Arc::default());
        let ((_, first), (_, second)) = (connection(&ledger, 1), connection(&ledger, 2));
        assert!(first.hold(700).is_ok() && second.hold(200).is_ok() && second.hold(100).is_ok());
        assert_eq!(ledger.total(), 800);
        drop(first);
        assert!(!ledger.is_short(0) && ledger.is_short(700));
        drop(second);
        assert_eq!(ledger.total(), 0);
    }

    #[test]
    fn a_connection_that_holds_too_much_alone_gives_way_itself() {
        let ledger = ByteLedger::new(1000, Arc::default());
        let (_, account) = connection(&ledger, 1);
        assert!(account.hold(1001).is_err());
        assert_eq!(ledger.total(), 0);
    }
}
