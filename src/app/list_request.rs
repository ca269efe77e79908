//! The names that an operator wants listed, read from a request to the admin interface.

use super::name_request::{read_one, read_type};
use crate::adapters::admin::ListScope;
use crate::core::key::{Dnssec, Key};
use crate::core::message::CLASS_IN;
use crate::memory::journal::Origin;
use crate::resolver::listing::{NameOrder, PAGE_MAX, Selection};

/// Names on a page when the request does not say how many.
const PAGE: usize = 100;

/// Reads which names a request wants.
///
/// # Errors
/// A message for the operator, when a value of the request cannot be used.
pub(super) fn read(scope: &ListScope) -> Result<Selection, String> {
    let after = scope.after.as_deref().map(read_key).transpose()?;
    let order = match (scope.hot, after) {
        (false, after) => NameOrder::ByName(after.map(Box::new)),
        (true, None) => NameOrder::HottestFirst,
        (true, Some(_)) => return Err("the hottest names are one page: give after or hot, not both".to_owned()),
    };
    let limit = scope.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(format!("limit {limit} is out of range. Allowed: 1 to {PAGE_MAX}"));
    }
    Ok(Selection {
        stale: scope.stale,
        failed: scope.failed,
        below: scope.below.as_deref().map(read_one).transpose()?,
        origin: scope.origin.as_deref().map(read_origin).transpose()?,
        order,
        limit,
    })
}

/// Reads where answers came from.
fn read_origin(text: &str) -> Result<Origin, String> {
    Origin::ALL.into_iter().find(|origin| origin.label() == text).ok_or_else(|| {
        let allowed = Origin::ALL.map(Origin::label).join(", ");
        format!("origin \"{}\" is not known. Allowed: {allowed}", text.escape_debug())
    })
}

/// Reads the place at which a page begins, as the page before it names it.
fn read_key(text: &str) -> Result<Key, String> {
    let mut parts = text.rsplitn(3, '/');
    let (service, rtype, name) = (parts.next(), parts.next(), parts.next());
    let read = || {
        let dnssec = match service? {
            "0" => (false, false),
            "1" => (true, false),
            "2" => (false, true),
            "3" => (true, true),
            _ => return None,
        };
        let dnssec = Dnssec { dnssec_ok: dnssec.0, checking_disabled: dnssec.1 };
        Some(Key::new(&read_one(name?).ok()?, read_type(rtype?).ok()?, CLASS_IN, dnssec))
    };
    read().ok_or_else(|| {
        format!("after \"{}\" is no place. Allowed: what the page before gives as the next", text.escape_debug())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(scope: ListScope) -> String {
        read(&scope).map(|_| String::new()).unwrap_or_else(|reason| reason)
    }

    #[test]
    fn the_place_that_a_page_gives_is_read_back() {
        for (text, shown, service) in
            [("www.example.com./A/0", "www.example.com. A", 0), ("a\\000/b./TYPE99/3", "a\\000/b. TYPE99", 3)]
        {
            let key = read_key(text).unwrap();
            assert_eq!((key.to_string().as_str(), key.service()), (shown, service));
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_with_what_is_allowed() {
        let text = |text: &str| Some(text.to_owned());
        for scope in [
            ListScope { limit: Some(0), ..ListScope::default() },
            ListScope { limit: Some(PAGE_MAX + 1), ..ListScope::default() },
            ListScope { after: text("www.example.com"), ..ListScope::default() },
            ListScope { after: text("www.example.com./A/4"), ..ListScope::default() },
            ListScope { origin: text("elsewhere"), ..ListScope::default() },
            ListScope { below: text("a..b"), ..ListScope::default() },
        ] {
            assert!(told(scope.clone()).contains("Allowed: "), "{scope:?}");
        }
        assert!(told(ListScope { hot: true, after: text("a./A/0"), ..ListScope::default() }).contains("not both"));
    }
}
