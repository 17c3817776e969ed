//! Reads `spec.context.timeout`: a Go duration, as in the original runners' input file. Pure.
//!
//! Written out here because the parser that kube ships panics on some strings that an API server can hold
//! (`5s-3s`, or more hours than a `Duration` can count), and reads `""` as zero.

use std::time::Duration;

/// The longest timeout: ten years.
pub const MAX: Duration = Duration::from_hours(87_600);

/// Why a text is no timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Not a sequence of numbers with units.
    #[error("must be a Go duration such as 30s, 10m or 1h30m; write 0 for no timeout")]
    Syntax,
    /// Below a second, but not zero.
    #[error("must be 0 for no timeout, or at least 1s")]
    TooShort,
    /// Above [`MAX`].
    #[error("must be at most 87600h; write 0 for no timeout")]
    TooLong,
}

/// The duration that `text` stands for; `None` for zero, which means no timeout.
pub fn parse(text: &str) -> Result<Option<Duration>, InvalidDuration> {
    if text == "0" {
        return Ok(None);
    }
    if text.is_empty() {
        return Err(InvalidDuration::Syntax);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (part, remaining) = leading_part(rest)?;
        total = total.checked_add(part).filter(|t| *t <= MAX).ok_or(InvalidDuration::TooLong)?;
        rest = remaining;
    }
    if total.is_zero() {
        Ok(None)
    } else if total < Duration::from_secs(1) {
        Err(InvalidDuration::TooShort)
    } else {
        Ok(Some(total))
    }
}

/// The duration that a text stands for, or the default where there is none, or none that is right.
pub fn or_default(text: Option<&str>, default: Duration) -> Duration {
    text.and_then(|text| parse(text).ok().flatten()).unwrap_or(default)
}

/// Splits off one number with its unit, such as `1.5h`.
fn leading_part(text: &str) -> Result<(Duration, &str), InvalidDuration> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(InvalidDuration::Syntax)?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let nanos_per_unit: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        _ => return Err(InvalidDuration::Syntax),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(InvalidDuration::Syntax);
    }
    let whole = digits(whole)?.checked_mul(nanos_per_unit).ok_or(InvalidDuration::TooLong)?;
    // Digits beyond a nanosecond have no effect, as in Go.
    let fraction: String = fraction.chars().take(15).collect();
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let nanos = whole.saturating_add(digits(&fraction)?.saturating_mul(nanos_per_unit) / scale);
    let nanos = u64::try_from(nanos).map_err(|_| InvalidDuration::TooLong)?;
    Ok((Duration::from_nanos(nanos), rest))
}

fn digits(text: &str) -> Result<u128, InvalidDuration> {
    if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| InvalidDuration::TooLong) }
}

#[cfg(test)]
mod tests {
    use super::{InvalidDuration, parse};
    use proptest::prelude::*;
    use rstest::rstest;
    use std::time::Duration;

    #[rstest]
    #[case("10m", 600.0)]
    #[case("1h30m", 5400.0)]
    #[case("1.5h", 5400.0)]
    #[case("1000ms", 1.0)]
    #[case("1m1m1m", 180.0)]
    #[case("87600h", 315_360_000.0)]
    fn go_durations_are_read_as_go_reads_them(#[case] text: &str, #[case] seconds: f64) {
        assert_eq!(parse(text), Ok(Some(Duration::from_secs_f64(seconds))));
    }

    #[rstest]
    #[case("0")]
    #[case("0s")]
    #[case("0h0m")]
    fn zero_means_no_timeout(#[case] text: &str) {
        assert_eq!(parse(text), Ok(None));
    }

    #[rstest]
    fn what_is_no_duration_is_refused(
        #[values(
            "", " 30s", "30s\n", "5s-3s", "1h-1m", "-5s", "-0", "+-5s", "1d", "5", "1h30", "1e9s", "٣٠s",
            ".s", "1..5s", "s"
        )]
        text: &str,
    ) {
        assert_eq!(parse(text), Err(InvalidDuration::Syntax));
    }

    #[rstest]
    fn what_is_too_long_is_refused(
        #[values(
            "87601h",
            "99999999999999999999999999h",
            "18446744073709551615s1s",
            "99999999999999999999999999999999999999999999999s"
        )]
        text: &str,
    ) {
        assert_eq!(parse(text), Err(InvalidDuration::TooLong));
    }

    #[test]
    fn less_than_a_second_is_refused() {
        assert_eq!(parse("999ms"), Err(InvalidDuration::TooShort));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_in_whole_units_is_their_sum(hours in 0..87_600_u64, minutes in 0..10_000_u64, seconds in 1..10_000_u64) {
            let sum = Duration::from_secs(hours * 3600 + minutes * 60 + seconds);
            let expected = if sum <= super::MAX { Ok(Some(sum)) } else { Err(InvalidDuration::TooLong) };
            prop_assert_eq!(parse(&format!("{hours}h{minutes}m{seconds}s")), expected);
        }

        #[test]
        fn no_near_duration_makes_it_panic(text in "([-+0-9.]{0,30}(ns|us|ms|s|m|h|d)?){0,6}") {
            if let Ok(Some(duration)) = parse(&text) {
                prop_assert!(duration <= super::MAX);
            }
        }
    }
}
