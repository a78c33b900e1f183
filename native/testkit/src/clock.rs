//! Points in time as milliseconds since 1970, and as text: `2020-06-09T22:41:51.000Z`.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400_000;

pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// Of a point in time from 1970 on.
pub(crate) fn to_text(millis: i64) -> String {
    let (mut days, time) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let (seconds, millis) = (time / 1000, time % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let day = days + 1;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Nothing for what is not written in exactly this way, or is no time.
pub(crate) fn from_text(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let millis = number(20, 23)?;
    let exists = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day);
    if !exists {
        return None;
    }
    let days = (1970..year).map(days_of_year).sum::<i64>()
        + (1..month)
            .map(|month| days_of_month(year, month))
            .sum::<i64>()
        + day
        - 1;
    let time = days * DAY + ((hour * 60 + minute) * 60 + second) * 1000 + millis;
    // Whatever else it may be written like, and an hour 24, comes out differently.
    (to_text(time) == text).then_some(time)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_year(year: i64) -> i64 {
    365 + i64::from(is_leap(year))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_591_742_511_000, "2020-06-09T22:41:51.000Z"),
            (1_582_934_400_000 - 1, "2020-02-28T23:59:59.999Z"),
            (1_582_934_400_000, "2020-02-29T00:00:00.000Z"),
            (4_102_444_800_007, "2100-01-01T00:00:00.007Z"),
        ] {
            assert_eq!(to_text(millis), text);
            assert_eq!(from_text(text), Some(millis));
        }
    }

    #[test]
    fn other_ways_to_write_a_time_are_none() {
        for wrong in [
            "",
            "20200609T224151Z",
            "2020-06-09T22:41:51Z",
            "2020-06-09T22:41:51.0Z",
            "2020-06-09T22:41:51.1000Z",
            "2020-06-09T24:00:00.000Z",
            "2020-06-09T22:60:51.000Z",
            "2021-02-29T00:00:00.000Z",
            "2020-06-09T22:41:51.+01Z",
            "2020-06-09 22:41:51.000Z",
        ] {
            assert_eq!(from_text(wrong), None, "{wrong}");
        }
    }
}
