//! Shares between clients in what is bounded in number: resolutions under way, and places in which
//! queries wait.
//!
//! A lone client may have every place. When none is left, clients are made equal from the top: a
//! client that holds less takes the *youngest* place of the one that holds most, as long as it
//! still holds no more than that one afterwards. The youngest has been waited for least, and
//! nothing may have been sent for it yet. So a client gets its equal share at any time, however
//! many places others hold and for however long, and clients that are equal take nothing from each
//! other.
//!
//! Whoever holds as much as the heaviest waits in line. The next in line is the one whose client
//! holds least ([`Shares::next`]), and among equals the clients take turns.
//!
//! Taking, giving back and finding the next costs a look at each of the [`CLIENT_IDS`] clients at
//! most. What a place stands for is the owner's; nothing here wakes or ends anything.

use std::collections::BTreeMap;

use super::clients::{CLIENT_IDS, ClientId};

/// One place of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedPlace {
    client: ClientId,
    /// Later places have higher numbers.
    number: u64,
}

impl SharedPlace {
    /// The client that holds the place.
    #[must_use]
    pub const fn client(&self) -> ClientId {
        self.client
    }
}

/// The places of one client.
#[derive(Debug)]
struct Holding<T> {
    places: BTreeMap<u64, T>,
    /// When the client last had its turn, as a count of turns.
    served: u64,
}

impl<T> Default for Holding<T> {
    fn default() -> Self {
        Self { places: BTreeMap::new(), served: 0 }
    }
}

/// Places that clients hold, each with something of the owner's.
#[derive(Debug)]
pub struct Shares<T> {
    /// By the number of the client.
    holdings: Vec<Holding<T>>,
    len: usize,
    taken: u64,
    turns: u64,
}

impl<T> Default for Shares<T> {
    fn default() -> Self {
        Self { holdings: Vec::new(), len: 0, taken: 0, turns: 0 }
    }
}

impl<T> Shares<T> {
    /// The number of places that are held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no place is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of places that a client holds.
    #[must_use]
    pub fn held(&self, client: ClientId) -> usize {
        self.holdings.get(client.index()).map_or(0, |holding| holding.places.len())
    }

    /// Gives a client a place. Whether there is one is for the owner to know.
    pub fn take(&mut self, client: ClientId, content: T) -> SharedPlace {
        if self.holdings.len() <= client.index() {
            self.holdings.resize_with(CLIENT_IDS.min(client.index() + 1), Holding::default);
        }
        self.taken += 1;
        if let Some(holding) = self.holdings.get_mut(client.index()) {
            holding.places.insert(self.taken, content);
            self.len += 1;
        }
        SharedPlace { client, number: self.taken }
    }

    /// Takes a place back; `None` when it was taken back before.
    pub fn give_back(&mut self, place: SharedPlace) -> Option<T> {
        let content = self.holdings.get_mut(place.client.index())?.places.remove(&place.number)?;
        self.len -= 1;
        Some(content)
    }

    /// Takes the youngest place from the client that holds most, for one that holds less; `None`
    /// when nobody holds so much that `lighter` may have some of it.
    pub fn displace(&mut self, lighter: ClientId) -> Option<(ClientId, T)> {
        let own = self.held(lighter);
        let heaviest = self.holdings.iter().enumerate().max_by_key(|(_, holding)| holding.places.len());
        let (number, _) = heaviest.filter(|(_, holding)| holding.places.len() > own + 1)?;
        let (_, content) = self.holdings.get_mut(number)?.places.pop_last()?;
        self.len -= 1;
        Some((ClientId::new(number), content))
    }

    /// Takes out the oldest place of the client whose turn it is: the one with the least weight,
    /// and among equals the one whose last turn is longest ago.
    pub fn next(&mut self, weight: impl Fn(ClientId) -> usize) -> Option<(ClientId, T)> {
        let waiting = self.holdings.iter().enumerate().filter(|(_, holding)| !holding.places.is_empty());
        let (number, _) = waiting.min_by_key(|(number, own)| (weight(ClientId::new(*number)), own.served))?;
        self.turns += 1;
        let holding = self.holdings.get_mut(number)?;
        holding.served = self.turns;
        let (_, content) = holding.places.pop_first()?;
        self.len -= 1;
        Some((ClientId::new(number), content))
    }

    /// The clients that hold places, with how many.
    pub fn holders(&self) -> impl Iterator<Item = (ClientId, usize)> {
        let all = self.holdings.iter().enumerate();
        all.map(|(number, own)| (ClientId::new(number), own.places.len())).filter(|(_, held)| *held > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GREEDY: ClientId = ClientId::new(3);
    const MODEST: ClientId = ClientId::new(9);

    #[test]
    fn the_youngest_place_of_the_heaviest_goes_first_until_both_are_equal() {
        let mut shares = Shares::default();
        let first = shares.take(GREEDY, 0);
        (1..10).for_each(|content| _ = shares.take(GREEDY, content));
        for expected in [9, 8, 7, 6, 5] {
            assert_eq!(shares.displace(MODEST), Some((GREEDY, expected)));
            let _ = shares.take(MODEST, 100);
        }
        assert_eq!((shares.held(GREEDY), shares.held(MODEST)), (5, 5));
        assert_eq!(shares.displace(MODEST), None);
        assert_eq!(shares.displace(GREEDY), None, "nor does the heaviest take from others, or from itself");
        assert_eq!((shares.give_back(first), shares.give_back(first)), (Some(0), None));
        assert_eq!(shares.len(), 9);
    }

    #[test]
    fn clients_with_one_place_each_take_nothing_from_each_other() {
        let mut shares = Shares::default();
        (0..CLIENT_IDS).for_each(|number| _ = shares.take(ClientId::new(number), ()));
        assert_eq!(shares.displace(MODEST), None);
        let _ = shares.give_back(SharedPlace { client: MODEST, number: u64::try_from(MODEST.index()).unwrap() + 1 });
        assert_eq!((shares.held(MODEST), shares.displace(MODEST)), (0, None));
    }

    #[test]
    fn the_lightest_client_is_next_and_equals_take_turns() {
        let mut line = Shares::default();
        for content in 0..3 {
            let _ = line.take(GREEDY, content);
        }
        let _ = line.take(MODEST, 10);
        let _ = line.take(MODEST, 11);
        assert_eq!(line.next(|client| usize::from(client == GREEDY)), Some((MODEST, 10)));
        assert_eq!(line.next(|_| 0), Some((GREEDY, 0)), "the other one had its turn");
        assert_eq!(line.next(|_| 0), Some((MODEST, 11)));
        assert_eq!(line.next(|_| 0), Some((GREEDY, 1)), "each client's own are served in order");
        assert_eq!(line.holders().collect::<Vec<_>>(), [(GREEDY, 1)]);
    }

    proptest! {
        /// Whatever the others do, a client that wants places gets an equal share of them, and
        /// nobody who holds less than that loses any.
        #[test]
        fn whoever_wants_gets_an_equal_share(asked in prop::collection::vec(0..8_usize, 1..600), limit in 8..64_usize) {
            let mut shares = Shares::default();
            let mut wanted = [0; 8];
            for number in asked {
                let client = ClientId::new(number);
                wanted[number] += 1;
                if shares.len() < limit || shares.displace(client).is_some() {
                    let _ = shares.take(client, ());
                }
                prop_assert!(shares.len() <= limit);
            }
            let held: Vec<usize> = (0..8).map(|number| shares.held(ClientId::new(number))).collect();
            prop_assert_eq!(held.iter().sum::<usize>(), shares.len());
            for (own, wanted) in held.iter().zip(wanted) {
                prop_assert!(*own >= wanted.min(limit / 8), "{:?}", held);
            }
        }
    }
}
