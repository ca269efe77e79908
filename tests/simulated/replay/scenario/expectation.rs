//! The expectations of a scenario, compared with the answers that came.

use std::collections::HashMap;

use super::duration;
use crate::world::Reply;
use crate::world::message::{self, Kind, Seen};

/// Compares an answer with an expectation; `Err` describes the answer that came instead.
pub(super) fn compare(reply: &Reply, expected: &[String]) -> Result<(), String> {
    let words: Vec<&str> = expected.iter().map(String::as_str).collect();
    let Some(bytes) = &reply.bytes else {
        return if words == ["nothing"] { Ok(()) } else { Err("nothing was answered".into()) };
    };
    let seen = message::read(bytes);
    let options: HashMap<&str, &str> = ["ttl", "ede", "within", "after"]
        .into_iter()
        .filter_map(|name| words.iter().position(|word| *word == name).map(|place| (name, words[place + 1])))
        .collect();
    let holds = kind_holds(&seen, &words)
        && options.get("ttl").is_none_or(|ttl| {
            let (from, to) = ttl.split_once("..").unwrap_or((ttl, ttl));
            let range = from.parse().unwrap()..=to.parse().unwrap();
            !seen.ttls.is_empty() && seen.ttls.iter().all(|ttl| range.contains(ttl))
        })
        && options.get("ede").is_none_or(|codes| {
            let codes: Vec<u16> = codes.split(',').map(|code| code.parse().unwrap()).collect();
            seen.extended_errors == codes
        })
        && options.get("within").is_none_or(|within| reply.took <= duration(within, 0))
        && options.get("after").is_none_or(|after| reply.took >= duration(after, 0))
        && (!words.contains(&"at-once") || reply.at_once);
    if holds {
        Ok(())
    } else {
        Err(format!("got {seen} after {:?}{}", reply.took, if reply.at_once { ", at once" } else { "" }))
    }
}

fn kind_holds(seen: &Seen, words: &[&str]) -> bool {
    let items = |word: Option<&&str>| match word {
        Some(items) if items.contains(['.', ':', '#']) => {
            let wanted: Vec<String> = items
                .split(',')
                .map(|item| item.trim_start_matches("cname:").trim_end_matches('.').to_owned())
                .collect();
            let got: Vec<String> = seen.data.iter().map(|item| item.trim_end_matches('.').to_owned()).collect();
            items.contains('#') || wanted == got
        }
        _ => true,
    };
    match words {
        ["any", ..] => true,
        ["known", rest @ ..] => seen.kind == Kind::Answer && items(rest.first()),
        ["fresh", rest @ ..] => seen.kind == Kind::Answer && !seen.stale && items(rest.first()),
        ["stale", "nxdomain", ..] => seen.kind == Kind::NxDomain && seen.stale,
        ["stale", "nodata", ..] => seen.kind == Kind::NoData && seen.stale,
        ["stale", rest @ ..] => seen.kind == Kind::Answer && seen.stale && items(rest.first()),
        ["nxdomain", ..] => seen.kind == Kind::NxDomain && !seen.stale,
        ["nodata", ..] => seen.kind == Kind::NoData && !seen.stale,
        ["servfail", ..] => seen.kind == Kind::ServFail,
        ["nothing", ..] => false,
        other => panic!("expectation {other:?}?"),
    }
}
