//! The kinds of values that have a range, each with the way in which its values are read and shown.
//!
//! | kind | written as |
//! |---|---|
//! | duration | a string with units: `"200ms"`, `"1h30m"` |
//! | size | a string with a binary unit: `"8MiB"` |
//! | share | a string with a percent sign: `"25%"` |
//! | count | a plain number: `512` |
//!
//! Units are required, so that nobody has to guess whether 30 means seconds. A text that
//! [`Quantity::toml`] writes is read back as the same value.

use std::time::Duration;

use super::layer::Raw;

/// The smallest and the largest value that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds<T> {
    /// The smallest value allowed.
    pub min: T,
    /// The largest value allowed.
    pub max: T,
}

/// A kind of value that can have bounds.
pub trait Quantity: Copy + Send + Sync + 'static {
    /// Description of such a value with examples, to follow "is not" in a message.
    const KIND: &'static str;

    /// Reads a value as a source wrote it; `None` when it is of another kind.
    fn read(raw: &Raw) -> Option<Self>;

    /// Writes the value as TOML.
    fn toml(self) -> String;

    /// Whether the value lies below or above the bounds.
    fn is_outside(self, bounds: Bounds<Self>) -> bool;

    /// Describes the bounds in words, such as `0s to 7d`.
    #[must_use]
    fn range(bounds: Bounds<Self>) -> String {
        format!("{} to {}", bounds.min.toml(), bounds.max.toml()).replace('"', "")
    }
}

/// A share in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A duration, or the word that lets holdover choose one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// holdover follows the round-trip times that it measures for the upstream.
    Adaptive,
    /// The duration is always this one.
    Fixed(Duration),
}

/// A number of threads, or the word that lets holdover choose one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The number follows the number of cores.
    Automatic,
    /// The number is always this one.
    Fixed(usize),
}

const ADAPTIVE: &str = "adaptive";
const AUTOMATIC: &str = "auto";
/// The units of a duration and their microseconds, longest first.
const DURATION_UNITS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];
/// The units of a size and their bytes, largest first.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads the number of a value that is a plain number in the file.
fn number(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Word(text) => digits(text),
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Text(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_) => None,
    }
}

/// Reads a number that consists of digits alone: without a sign, which `parse` would allow.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Splits `text` into the digits at its front, the unit behind them, and the rest.
fn part(text: &str) -> Option<(u64, &str, &str)> {
    let (amount, rest) = text.split_at_checked(text.find(|letter: char| !letter.is_ascii_digit())?)?;
    let end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(end)?;
    Some((amount.parse().ok()?, unit.trim_ascii(), rest))
}

fn scale(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|&(_, scale)| scale)
}

/// Reads a duration such as `200ms`, `24h` or `1h30m`; `None` when a unit is missing or unknown, or
/// the sum passes 2⁶⁴ µs.
#[must_use]
pub fn read_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim_ascii();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut micros = 0_u64;
    loop {
        let (amount, unit, after) = part(rest)?;
        micros = micros.checked_add(amount.checked_mul(scale(&DURATION_UNITS, unit)?)?)?;
        if after.is_empty() {
            return Some(Duration::from_micros(micros));
        }
        rest = after;
    }
}

/// Shows a duration in the largest unit that needs no fraction. Days are used from two days up, so
/// that one day shows as `24h`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let fits = |&&(unit, scale): &&(&str, u64)| {
        micros.is_multiple_of(scale) && micros >= scale && (unit != "d" || micros >= 2 * scale)
    };
    match DURATION_UNITS.iter().find(fits) {
        Some((unit, scale)) => format!("{}{unit}", micros / scale),
        None => "0s".to_owned(),
    }
}

/// Reads a size such as `8MiB`; `None` when the unit is missing or unknown, or the size passes 2⁶⁴
/// bytes.
#[must_use]
pub fn read_size(text: &str) -> Option<Size> {
    let (amount, unit, rest) = part(text.trim_ascii())?;
    if rest.is_empty() { amount.checked_mul(scale(&SIZE_UNITS, unit)?).map(Size) } else { None }
}

/// Shows a size in the largest unit that needs no fraction.
#[must_use]
pub fn show_size(size: Size) -> String {
    match SIZE_UNITS.iter().find(|(_, scale)| size.0.is_multiple_of(*scale) && size.0 >= *scale) {
        Some((unit, scale)) => format!("{}{unit}", size.0 / scale),
        None => "0B".to_owned(),
    }
}

impl Quantity for Duration {
    const KIND: &'static str = r#"a duration with a unit, such as "200ms", "30s" or "24h""#;

    fn read(raw: &Raw) -> Option<Self> {
        read_duration(raw.text()?)
    }

    fn toml(self) -> String {
        format!("\"{}\"", show_duration(self))
    }

    fn is_outside(self, bounds: Bounds<Self>) -> bool {
        self < bounds.min || self > bounds.max
    }
}

impl Quantity for Size {
    const KIND: &'static str = r#"a size with a unit, such as "512KiB" or "8MiB""#;

    fn read(raw: &Raw) -> Option<Self> {
        read_size(raw.text()?)
    }

    fn toml(self) -> String {
        format!("\"{}\"", show_size(self))
    }

    fn is_outside(self, bounds: Bounds<Self>) -> bool {
        self < bounds.min || self > bounds.max
    }
}

impl Quantity for Percent {
    const KIND: &'static str = r#"a share in percent, such as "25%""#;

    fn read(raw: &Raw) -> Option<Self> {
        let share = digits(raw.text()?.trim_ascii().strip_suffix('%')?.trim_ascii_end())?;
        u32::try_from(share).ok().map(Self)
    }

    fn toml(self) -> String {
        format!("\"{}%\"", self.0)
    }

    fn is_outside(self, bounds: Bounds<Self>) -> bool {
        self < bounds.min || self > bounds.max
    }
}

/// Implements [`Quantity`] for whole numbers. A number that does not fit the type becomes its
/// largest value, so that it is reported as out of range and not as another kind of value.
macro_rules! counts {
    ($($count:ty),+) => {
        $(impl Quantity for $count {
            const KIND: &'static str = "a whole number without unit, such as 100";

            fn read(raw: &Raw) -> Option<Self> {
                Some(Self::try_from(number(raw)?).unwrap_or(Self::MAX))
            }

            fn toml(self) -> String {
                self.to_string()
            }

            fn is_outside(self, bounds: Bounds<Self>) -> bool {
                self < bounds.min || self > bounds.max
            }
        })+
    };
}
counts!(u32, u64, usize);

impl Quantity for Timer {
    const KIND: &'static str = r#""adaptive" or a duration with a unit, such as "200ms""#;

    fn read(raw: &Raw) -> Option<Self> {
        match raw.text()?.trim_ascii() {
            ADAPTIVE => Some(Self::Adaptive),
            text => read_duration(text).map(Self::Fixed),
        }
    }

    fn toml(self) -> String {
        match self {
            Self::Adaptive => format!("\"{ADAPTIVE}\""),
            Self::Fixed(duration) => duration.toml(),
        }
    }

    fn is_outside(self, bounds: Bounds<Self>) -> bool {
        match (self, bounds.min, bounds.max) {
            (Self::Fixed(value), Self::Fixed(min), Self::Fixed(max)) => value.is_outside(Bounds { min, max }),
            (Self::Adaptive, _, _) | (_, Self::Adaptive, _) | (_, _, Self::Adaptive) => false,
        }
    }

    fn range(bounds: Bounds<Self>) -> String {
        format!("{ADAPTIVE}, or {} to {}", bounds.min.toml(), bounds.max.toml()).replace('"', "")
    }
}

impl Quantity for Threads {
    const KIND: &'static str = r#""auto" or a whole number without unit, such as 2"#;

    fn read(raw: &Raw) -> Option<Self> {
        if raw.text().is_some_and(|text| text.trim_ascii() == AUTOMATIC) {
            return Some(Self::Automatic);
        }
        usize::read(raw).map(Self::Fixed)
    }

    fn toml(self) -> String {
        match self {
            Self::Automatic => format!("\"{AUTOMATIC}\""),
            Self::Fixed(count) => count.to_string(),
        }
    }

    fn is_outside(self, bounds: Bounds<Self>) -> bool {
        match (self, bounds.min, bounds.max) {
            (Self::Fixed(value), Self::Fixed(min), Self::Fixed(max)) => value.is_outside(Bounds { min, max }),
            (Self::Automatic, _, _) | (_, Self::Automatic, _) | (_, _, Self::Automatic) => false,
        }
    }

    fn range(bounds: Bounds<Self>) -> String {
        format!("{AUTOMATIC}, or {} to {}", bounds.min.toml(), bounds.max.toml()).replace('"', "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_name_their_unit() {
        assert_eq!(read_duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(read_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(read_duration(" 5 s "), Some(Duration::from_secs(5)));
        for text in ["", "30", "s", "-1s", "1.5s", "1w", "1 S", "99999999999999999999s", "99999999999999d", "5s ms"] {
            assert_eq!(read_duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_show_in_the_largest_whole_unit() {
        for text in ["0s", "1us", "1500us", "200ms", "1800ms", "90s", "1m", "24h", "36h", "2d", "7d"] {
            assert_eq!(show_duration(read_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_name_a_binary_unit() {
        assert_eq!(read_size("8MiB"), Some(Size(8 << 20)));
        for text in ["", "8", "8MB", "8M", "-8MiB", "8MiB8", "99999999999999GiB"] {
            assert_eq!(read_size(text), None, "{text}");
        }
    }

    #[test]
    fn a_count_in_quotes_is_no_count_in_the_file() {
        assert_eq!(u32::read(&Raw::Text("5".into())), None);
        assert_eq!(u32::read(&Raw::Word("5".into())), Some(5));
        assert_eq!(u32::read(&Raw::Integer(-5)), None);
        assert_eq!(
            u32::read(&Raw::Integer(i64::MAX)),
            Some(u32::MAX),
            "too large is out of range, not another kind of value"
        );
    }
}
