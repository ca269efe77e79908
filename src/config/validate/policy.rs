//! The validation of the numbers by which the resolver decides.
//!
//! Each function makes one part of the [`Policy`]; those of serving stale and of critical names,
//! which have tables of their own, are in `stale` and `critical`.

use super::validator::Validator;
use crate::config::keys;
use crate::config::layer::Raw;
use crate::config::limits;
use crate::core::policy::{
    AddressOrder, AskingOrder, AttemptPolicy, BudgetPolicy, CachePolicy, FailoverGuard, HealthPolicy, InFlightPolicy,
    Policy, PrefetchPolicy, TtlPolicy,
};

const ORDERS: [(&str, AskingOrder); 2] = [("listed", AskingOrder::Listed), ("fastest", AskingOrder::Fastest)];

impl Validator<'_> {
    /// Validates every section whose numbers the resolver uses.
    pub(super) fn policy(&mut self) -> Policy {
        Policy {
            stale: self.stale(),
            ttl: self.ttl(),
            addresses: if self.switch(keys::ANSWERS_ROTATE).unwrap_or(false) {
                AddressOrder::Rotated
            } else {
                AddressOrder::Kept
            },
            guard: if self.switch(keys::ANSWERS_FAILOVER_GUARD).unwrap_or(true) {
                FailoverGuard::On
            } else {
                FailoverGuard::Off
            },
            prefetch: self.prefetch(),
            attempts: self.attempts(),
            budget: self.budget(),
            health: self.health(),
            cache: self.cache(),
            critical: self.critical(),
            ready_timeout: self.bounded(&limits::READY_TIMEOUT),
            in_flight: self.in_flight(),
        }
    }

    fn ttl(&mut self) -> TtlPolicy {
        TtlPolicy {
            positive_max: self.bounded(&limits::CACHE_POSITIVE_MAXIMUM),
            negative_max: self.bounded(&limits::CACHE_NEGATIVE_MAXIMUM),
            negative_without_soa: self.bounded(&limits::CACHE_NEGATIVE_WITHOUT_SOA),
            minimum: self.bounded(&limits::CACHE_MINIMUM),
        }
    }

    fn prefetch(&mut self) -> PrefetchPolicy {
        PrefetchPolicy {
            enabled: self.switch(keys::PREFETCH_ENABLED).unwrap_or(true),
            window_percent: self.bounded(&limits::PREFETCH_WINDOW).0,
            window_min: self.bounded(&limits::PREFETCH_WINDOW_MINIMUM),
            hits: self.bounded(&limits::PREFETCH_HITS),
        }
    }

    /// The value of a key that is true or false; `None` when it is not given, or neither.
    fn switch(&mut self, key: &'static str) -> Option<bool> {
        let given = self.given(key)?;
        match &given.raw {
            Raw::Switch(on) => Some(*on),
            Raw::Word(word) if word == "true" || word == "false" => Some(word == "true"),
            Raw::Word(_) | Raw::Text(_) | Raw::Integer(_) | Raw::List(_) | Raw::Other(_) => {
                self.complain(key, given, "is neither true nor false");
                None
            }
        }
    }

    fn attempts(&mut self) -> AttemptPolicy {
        let order = self.given(keys::ATTEMPTS_ORDER).and_then(|given| self.word(keys::ATTEMPTS_ORDER, given, &ORDERS));
        let policy = AttemptPolicy {
            second_after: self.bounded(&limits::ATTEMPTS_SECOND_AFTER),
            third_after: self.bounded(&limits::ATTEMPTS_THIRD_AFTER),
            sends: self.bounded(&limits::ATTEMPTS_SENDS),
            order: order.unwrap_or(AskingOrder::Listed),
            deadline: self.bounded(&limits::ATTEMPTS_DEADLINE),
            linger: self.bounded(&limits::ATTEMPTS_LINGER),
        };
        self.ascending([&limits::ATTEMPTS_SECOND_AFTER, &limits::ATTEMPTS_THIRD_AFTER]);
        self.ascending([&limits::ATTEMPTS_DEADLINE, &limits::ATTEMPTS_LINGER]);
        policy
    }

    fn budget(&mut self) -> BudgetPolicy {
        BudgetPolicy {
            per_second: self.bounded(&limits::BUDGET_PER_SECOND),
            prefetch_percent: self.bounded(&limits::BUDGET_PREFETCH).0,
            sweep_per_second: self.bounded(&limits::BUDGET_SWEEP_PER_SECOND),
            outage_per_second: self.bounded(&limits::BUDGET_OUTAGE_PER_SECOND),
        }
    }

    fn health(&mut self) -> HealthPolicy {
        let policy = HealthPolicy {
            down_after: self.bounded(&limits::HEALTH_DOWN_AFTER),
            impaired_percent: self.bounded(&limits::HEALTH_IMPAIRED).0,
            impaired_attempts: self.bounded(&limits::HEALTH_IMPAIRED_ATTEMPTS),
            window: self.bounded(&limits::HEALTH_WINDOW),
            recovery_successes: self.bounded(&limits::HEALTH_RECOVERY_SUCCESSES),
            probe_min: self.bounded(&limits::HEALTH_PROBE_MINIMUM),
            probe_max: self.bounded(&limits::HEALTH_PROBE_MAXIMUM),
        };
        self.ascending([&limits::HEALTH_PROBE_MINIMUM, &limits::HEALTH_PROBE_MAXIMUM]);
        policy
    }

    fn cache(&mut self) -> CachePolicy {
        CachePolicy {
            entries: self.bounded(&limits::CACHE_ENTRIES),
            bytes: self.bounded(&limits::CACHE_SIZE).0,
            negative_percent: self.bounded(&limits::CACHE_NEGATIVES).0,
        }
    }

    fn in_flight(&mut self) -> InFlightPolicy {
        InFlightPolicy {
            resolutions: self.bounded(&limits::BUDGET_RESOLUTIONS),
            waiting: self.bounded(&limits::BUDGET_WAITING),
        }
    }
}
