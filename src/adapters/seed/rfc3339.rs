//! Writes and reads times as RFC 3339 text, to the microsecond.
//!
//! Times are written in UTC. When they are read, any offset is accepted, and so is a leap second;
//! the date has to exist and to lie in 1970 or later. The calendar is computed here, as three short
//! functions need no library for it: years are counted from March, so that a leap day is the last
//! day of its year.

use crate::core::time::Timestamp;

/// Days from 0000-03-01 to the Unix epoch, in the proleptic Gregorian calendar.
const EPOCH_DAYS: u64 = 719_468;
/// Days in 400 years, after which the calendar repeats itself.
const ERA: u64 = 146_097;

/// A date of the Gregorian calendar.
#[derive(PartialEq, Eq)]
struct Date {
    year: u64,
    /// The month of the year, from 1 to 12.
    month: u64,
    /// Day of the month, from 1 on.
    day: u64,
}

/// Writes a time as RFC 3339 text in UTC, with a fraction only where there is one.
pub(super) fn show(time: Timestamp) -> String {
    let (seconds, micros) = (time.as_micros() / 1_000_000, time.as_micros() % 1_000_000);
    let Date { year, month, day } = date_of(seconds / 86_400);
    let of_day = seconds % 86_400;
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// The date of a day, counted from the Unix epoch.
const fn date_of(day: u64) -> Date {
    let shifted = day + EPOCH_DAYS;
    let (era, of_era) = (shifted / ERA, shifted % ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    Date { year, month, day }
}

/// Reads RFC 3339 text such as `2026-11-24T12:04:32Z`, with or without a fraction and an offset;
/// `None` when it is none, or lies before 1970. Digits beyond microseconds are dropped.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    // The first 19 bytes have a fixed form, up to the whole seconds.
    let (whole, rest) = text.split_at_checked(19)?;
    let bytes = whole.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| bytes.get(*at).map(u8::to_ascii_uppercase) != Some(*mark)) {
        return None;
    }
    let number = |from: usize, to: usize| digits(whole.get(from..to)?);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = day_of(&Date { year, month, day })?;
    // Then there may be a fraction, of any length.
    let (micros, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
            let (fraction, zone) = rest.split_at_checked(end)?;
            let six: String = fraction.chars().chain("000000".chars()).take(6).collect();
            if fraction.is_empty() {
                return None;
            }
            (digits(&six)?, zone)
        }
    };
    let local = (days * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000 + micros;
    // The offset at the end says by how much the local time is ahead of or behind UTC.
    let offset = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        let (hours, minutes) = (digits(hours)?, digits(minutes)?);
        (text.len() == 5 && hours < 24 && minutes < 60).then_some((hours * 60 + minutes) * 60_000_000)
    };
    let micros = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => local,
        ("+", ahead) => local.checked_sub(offset(ahead)?)?,
        ("-", behind) => local + offset(behind)?,
        _ => return None,
    };
    Some(Timestamp::from_micros(micros))
}

/// Reads a number that has no sign, which `parse` alone would accept.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The day of a date, counted from the Unix epoch; `None` when the date does not exist or lies
/// before 1970.
fn day_of(date: &Date) -> Option<u64> {
    let &Date { year, month, day } = date;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = era * ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = days.checked_sub(EPOCH_DAYS)?;
    // The sums above turn 31 April into 1 May. Only a date that comes back the same way exists.
    (date_of(days) == *date).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments_are_shown_and_read() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_542_873_540, "2018-11-22T07:59:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(show(Timestamp::from_secs(seconds)), text);
            assert_eq!(read(text), Some(Timestamp::from_secs(seconds)), "{text}");
        }
        assert_eq!(read("2018-11-22T16:59:00.5+09:00"), Some(Timestamp::from_micros(1_542_873_540_500_000)));
        assert_eq!(read("2018-11-22t02:59:00-05:00"), Some(Timestamp::from_secs(1_542_873_540)));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "yesterday",
            "2018-11-22",
            "2018-11-22T07:59:00",
            "2018-11-31T07:59:00Z",
            "2018-02-29T07:59:00Z",
            "2018-13-01T00:00:00Z",
            "2018-11-22T24:00:00Z",
            "2018-11-22T07:59:00.Z",
            "2018-11-22T07:59:00+9",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2018-11-22T07:59:00Zé",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(micros in 0_u64..253_402_300_799_000_000) {
            let moment = Timestamp::from_micros(micros);
            prop_assert_eq!(read(&show(moment)), Some(moment));
        }

        #[test]
        fn any_text_is_survived(text in ".{0,40}") {
            let _ = read(&text);
        }
    }
}
