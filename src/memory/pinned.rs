//! Places that nothing is ever evicted from: those of the critical names.
//!
//! Each cache of the store has such places beside what it bounds, so that a flood can neither push
//! a critical name out nor take its space. The places are fixed at the start; there is one for each
//! critical name and type in each DNSSEC service. Without critical names this costs a look at an
//! empty table.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::place::{Hasher, Place};

/// The pinned places of one cache.
pub(super) struct Pinned<V> {
    places: HashMap<Place, RwLock<Option<Arc<V>>>, Hasher>,
}

impl<V> Pinned<V> {
    /// Makes these places, all empty.
    pub(super) fn new(places: &[Place]) -> Self {
        Self { places: places.iter().map(|place| (*place, RwLock::new(None))).collect() }
    }

    /// The value at a place; the outer `None` says that the place is not pinned.
    pub(super) fn get(&self, place: Place) -> Option<Option<Arc<V>>> {
        self.places.get(&place).map(|held| held.read().clone())
    }

    /// Puts a value at a pinned place, or removes the one there, and gives the former value.
    ///
    /// # Errors
    /// `value` itself, when the place is not pinned.
    pub(super) fn put(&self, place: Place, value: Option<Arc<V>>) -> Result<Option<Arc<V>>, Option<Arc<V>>> {
        match self.places.get(&place) {
            Some(held) => Ok(std::mem::replace(&mut *held.write(), value)),
            None => Err(value),
        }
    }

    /// All values at pinned places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, Arc<V>)> {
        self.places.iter().filter_map(|(place, held)| Some((*place, held.read().clone()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_places_hold_something() {
        let pinned = Pinned::new(&[1, 2]);
        assert_eq!(pinned.put(1, Some(Arc::new("a"))), Ok(None));
        assert_eq!(pinned.put(1, Some(Arc::new("b"))), Ok(Some(Arc::new("a"))));
        assert_eq!(pinned.put(3, Some(Arc::new("c"))), Err(Some(Arc::new("c"))));
        assert_eq!((pinned.get(1), pinned.get(2), pinned.get(3)), (Some(Some(Arc::new("b"))), Some(None), None));
        assert_eq!(pinned.iter().collect::<Vec<_>>(), [(1, Arc::new("b"))]);
        assert_eq!(pinned.put(1, None), Ok(Some(Arc::new("b"))));
        assert_eq!(pinned.iter().count(), 0);
    }
}
