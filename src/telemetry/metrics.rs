//! The table of all metrics: the name of each, its meaning, and the field of a
//! [`Reading`](super::reading::Reading) with its value. No other file names metrics.
//!
//! Nothing is counted here. The threads that answer count in their own [`super::tally`]; a scrape
//! adds the counters up, and costs those threads nothing. The names follow the rules of Prometheus:
//! base units, the unit and then `_total` at the end, and a sum over a metric's labels that means
//! something. Ages and durations are given as such, and not as Unix timestamps: the sidecar
//! computes them when it is scraped, so they cannot grow stale, and they stay right when the wall
//! clock of its host jumps.
//!
//! Labels have few values by construction: outcomes, classes, zones and upstreams of the
//! configuration, the critical names that the operator lists, and five clients at a time. No name
//! that a client asks for becomes a label.

use super::metric::{Measure, Metric, MetricKind, Value, by, labelled, real, whole};
use super::samples::{
    answers_of, attempts, critical, outages, round_trips, stale_ages, state_file, states, traffic, witnesses, zones,
};
use super::tally::{ConnectionEvent, UpstreamTraffic};

/// Declares metrics: name, kind, unit, labels and help text in one line, the values in the next.
macro_rules! metrics {
    ($($name:literal $kind:ident $measure:ident [$($label:literal)*] $help:literal $samples:expr;)+) => {
        /// All metrics, in the order in which they are shown.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: MetricKind::$kind,
            measure: Measure::$measure,
            help: $help,
            labels: &[$($label),*],
            samples: $samples,
        }),+];
    };
}

metrics! {
    "build_info" Gauge Count ["version"] "Always 1; the label is the version of holdover."
        |own| vec![labelled("version", &own.version, 1)];
    "uptime" Gauge Seconds [] "Time since the process started."
        |own| real(own.uptime_seconds);
    "ready" Gauge Count [] "1 once the start is complete: critical names have an answer, or [ready] timeout is over."
        |own| whole(u64::from(own.ready));
    "queries" Counter Count ["outcome"]
        "Queries of clients by outcome: stale ones are answered in spite of an upstream's failure, failed and \
         cached_failure are SERVFAIL."
        |own| by("outcome", &own.queries);
    "stale_age" Histogram Seconds [] "How long ago stale answers had expired when they were given."
        stale_ages;
    "outage" Gauge Count ["zone"] "1 while no upstream of the zone is healthy."
        |own| zones(own, |outage| u64::from(outage.current.is_some()));
    "outages" Counter Count ["zone"] "Outages that have begun."
        |own| zones(own, |outage| outage.begun);
    "outage_duration" Gauge Seconds ["zone"] "Time since the current outage began; absent without an outage."
        |own| outages(own, |current| Some(Value::Real(current.duration_seconds)));
    "outage_stale_answers" Gauge Count ["zone"]
        "Queries that got a stale answer in the current outage; absent without an outage."
        |own| outages(own, |current| Some(Value::Whole(current.stale_answers)));
    "outage_names_served_stale" Gauge Count ["zone"]
        "Different names and types that were answered stale in the current outage; absent without an outage."
        |own| outages(own, |current| Some(Value::Whole(current.names_served_stale)));
    "outage_failed_answers" Gauge Count ["zone"]
        "Queries that got SERVFAIL in the current outage; absent without an outage."
        |own| outages(own, |current| Some(Value::Whole(current.failed_answers)));
    "time_to_cliff" Gauge Seconds ["zone"]
        "Time until the first name served stale in the current outage reaches its maximum stale and is not \
         answered any more; absent without such a name."
        |own| outages(own, |current| current.time_to_cliff_seconds.map(Value::Real));
    "troubled_questions" Gauge Count ["zone"]
        "Names and types that fail although the upstreams of the zone are healthy, 64 at the most; absent without one."
        |own| own.troubles.iter().map(|own| labelled("zone", &own.zone, own.questions)).collect();
    "upstream_state" Gauge Count ["upstream" "state"]
        "1 for the state in which the upstream is: healthy, impaired or down."
        states;
    "upstream_looping" Gauge Count ["upstream"]
        "1 while the upstream is not used because it sends holdover's own queries back."
        |own| own.upstreams.iter().map(|own| labelled("upstream", &own.upstream, u64::from(own.looping))).collect();
    "upstream_rtt_p99" Gauge Seconds ["upstream"]
        "99th percentile of the round-trip times; absent before the first answers."
        round_trips;
    "upstream_attempts" Counter Count ["upstream" "outcome"]
        "Attempts to get a response from the upstream, by what they came to."
        attempts;
    "upstream_overdue_attempts" Counter Count ["upstream"]
        "Attempts that were not answered within 200 ms, whatever they came to in the end."
        |own| own.upstreams.iter().map(|own| labelled("upstream", &own.upstream, own.overdue_attempts)).collect();
    "upstream_witnesses" Counter Count ["upstream" "outcome"]
        "Questions that the upstream had answered lately, with which it was asked whether it is well."
        witnesses;
    "upstream_packets" Counter Count ["class"] "Queries sent to upstreams, by class of the packet budget."
        |own| own.packets.iter().map(|(class, packets)| labelled("class", class, packets.sent)).collect();
    "upstream_packets_over_budget" Counter Count ["class"]
        "Queries that the packet budget did not allow when they were due; they were sent later, or not at all."
        |own| own.packets.iter().map(|(class, packets)| labelled("class", class, packets.over_budget)).collect();
    "upstream_queries" Counter Count ["transport"] "Queries sent to upstreams, by transport."
        |own| {
            let queries = [("udp", UpstreamTraffic::UdpQuery), ("tcp", UpstreamTraffic::TcpQuery)];
            queries.map(|(transport, kind)| labelled("transport", transport, traffic(own, kind))).into()
        };
    "upstream_tcp_connections" Counter Count [] "TCP connections to upstreams that were begun."
        |own| whole(traffic(own, UpstreamTraffic::TcpConnection));
    "upstream_responses" Counter Count [] "Responses of upstreams that belong to a query."
        |own| whole(traffic(own, UpstreamTraffic::Response));
    "upstream_unusable_responses" Counter Count ["reason"]
        "Responses of upstreams that belong to a query and do not answer it, by reason."
        |own| by("reason", &own.unusable_responses);
    "upstream_ignored_responses" Counter Count ["reason"]
        "Responses that were ignored because they belong to no query, by reason: forged, malformed, or a \
         duplicate after a retry."
        |own| by("reason", &own.ignored_responses);
    "tcp_connections" Counter Count ["outcome"] "TCP connections of clients, by whether they were accepted."
        |own| by("outcome", own.tcp_connections.iter().filter(|(event, _)| {
            ConnectionEvent::ALL.iter().any(|kind| kind.label() == *event && !kind.is_closing())
        }));
    "tcp_connections_evicted" Counter Count []
        "Accepted TCP connections of clients that were closed to accept a new one within listen.tcp_connections."
        |own| whole(own.tcp_connections.get(ConnectionEvent::Evicted.label()).copied().unwrap_or_default());
    "tcp_connections_cut" Counter Count ["reason"]
        "Accepted TCP connections of clients that were closed, by reason: over_bytes (all connections together held \
         more than 8 MiB, and those of this client the most), query_too_long (a query above 4 KiB)."
        |own| by("reason", own.tcp_connections.iter().filter(|(event, _)| {
            [ConnectionEvent::OverBytes, ConnectionEvent::QueryTooLong].iter().any(|kind| kind.label() == *event)
        }));
    "resolutions_in_flight" Gauge Count [] "Resolutions in flight."
        |own| whole(own.resolutions_in_flight);
    "queries_shed" Counter Count ["place"]
        "Queries that lost a place so that other clients had their share, by the place: arrival, waiting, resolution."
        |own| by("place", &own.queries_shed);
    "reversals" Counter Count ["outcome"]
        "Answers that went back to the addresses from before a change, by what became of them: doubted ones are \
         confirmed first, and then some are refuted or believed."
        |own| by("outcome", &own.reversals);
    "client_resolutions" Gauge Count ["client"]
        "Resolutions in flight for a client, for the five clients at most for which most is under way."
        |own| own.top_clients.iter().map(|own| labelled("client", &own.client, own.resolutions)).collect();
    "client_packets_last_second" Gauge Count ["client"]
        "Packets that were sent to upstreams in the last second, for the same clients."
        |own| own.top_clients.iter().map(|own| labelled("client", &own.client, own.packets)).collect();
    "upstream_sockets_lacking" Counter Count []
        "Times that no descriptor or local port was to be had for a query to an upstream, which was tried again."
        |own| whole(own.upstream_sockets_lacking);
    "task_restarts" Counter Count ["task"] "Times that a task of the process failed and was started again."
        |own| by("task", &own.task_restarts);
    "log_lines_dropped" Counter Count [] "Lines of the log that were dropped, because standard error took no more."
        |own| whole(own.log_lines_dropped);
    "cache_entries" Gauge Count ["kind"]
        "Remembered answers, by kind: positive, negative, and failures of names without an answer."
        |own| answers_of(own, |size| size.entries);
    "cache" Gauge Bytes ["kind"] "Memory that remembered answers take, bookkeeping included."
        |own| answers_of(own, |size| size.bytes);
    "cache_limit" Gauge Bytes []
        "Limit of the memory for positive answers; negative ones have a share of as much again."
        |own| whole(own.cache.limit_bytes);
    "cache_expired_entries" Gauge Count [] "Remembered answers whose TTL has ended and that can be served stale."
        |own| whole(own.cache.expired_entries);
    "answers_learned" Counter Count ["origin"] "Answers that were remembered, by where they came from."
        |own| by("origin", &own.answers_learned);
    "state_file_working" Gauge Count [] "1 while the state file can be written; absent without one."
        |own| state_file(own, |file| Some(Value::Whole(u64::from(file.working))));
    "state_file_last_write_age" Gauge Seconds []
        "Time since the state file was last written; absent before the first time."
        |own| state_file(own, |file| file.last_write_age_seconds.map(Value::Real));
    "state_file_failing" Gauge Seconds [] "Time for which the state file could not be written; absent while it works."
        |own| state_file(own, |file| file.failing_seconds.map(Value::Real));
    "state_file_entries" Gauge Count [] "Answers in the state file; absent without one."
        |own| state_file(own, |file| Some(Value::Whole(file.entries)));
    "state_file" Gauge Bytes [] "Size of the state file; absent without one."
        |own| state_file(own, |file| Some(Value::Whole(file.bytes)));
    "state_file_damaged_rows" Counter Count []
        "Rows of the state file that were damaged when it was read, and were dropped; absent without one."
        |own| state_file(own, |file| Some(Value::Whole(file.damaged_rows)));
    "shared_cache_working" Gauge Count [] "1 while the shared cache is read and written; absent without one."
        |own| own.shared_cache.iter().flat_map(|cache| whole(u64::from(cache.working))).collect();
    "shared_cache_failing" Gauge Seconds [] "Time for which the shared cache could not be used; absent while it works."
        |own| own.shared_cache.iter().filter_map(|cache| cache.failing_seconds).flat_map(real).collect();
    "shared_cache_lookups" Counter Count ["outcome"]
        "Lookups in the shared cache of names that were not remembered while upstreams failed; absent without a \
         shared cache."
        |own| own.shared_cache.iter().flat_map(|cache| by("outcome", &cache.lookups)).collect();
    "shared_cache_writes" Counter Count ["outcome"] "Answers to be published in the shared cache; absent without one."
        |own| own.shared_cache.iter().flat_map(|cache| by("outcome", &cache.writes)).collect();
    "shared_cache_ignored_entries" Counter Count ["reason"]
        "Entries of the shared cache that were ignored, by reason; absent without one."
        |own| own.shared_cache.iter().flat_map(|cache| by("reason", &cache.ignored_entries)).collect();
    "critical_fresh" Gauge Count ["name" "type"]
        "1 while the answer for the critical name is within its TTL and not older than max_age."
        |own| critical(own, |own| Some(Value::Whole(u64::from(own.fresh))));
    "critical_age" Gauge Seconds ["name" "type"]
        "Time since the answer for the critical name was learned; absent while no answer is remembered."
        |own| critical(own, |own| own.age_seconds.map(Value::Real));
}
