//! Points in time as people write and read them: RFC 3339, and UTC to the millisecond. Never asks what time it is.

const DAY: u64 = 86_400;

/// `2026-11-27 09:12:01.123`, from seconds since 1970.
pub(crate) fn utc(seconds: f64) -> String {
    // What is no number, or before 1970, becomes 0.
    let ms = (seconds * 1000.0).round() as u64;
    let (days, second) = (ms / 1000 / DAY, ms / 1000 % DAY);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:03}", second / 3600, second / 60 % 60, second % 60, ms % 1000)
}

/// Seconds since 1970 of `2026-11-27T09:12:01.5+01:00` or `…Z` (RFC 3339, 5.6); a part of a second is left away. None for what is of another form, no
/// date of the calendar, or before 1970.
pub(crate) fn rfc3339(text: &str) -> Option<u64> {
    let (date, rest) = (text.get(..10)?, text.get(11..)?);
    if !matches!(text.as_bytes()[10], b'T' | b't' | b' ') {
        return None;
    }
    let [year, month, day] = parts(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = parts(rest.get(..8)?, ':', [2, 2, 2])?;
    let is_date = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    // 60 is a leap second.
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let local = days(year, month, day)? * DAY + hour * 3600 + minute * 60 + second;
    let zone = match rest[8..].strip_prefix('.') {
        None => &rest[8..],
        Some(rest) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            (zone.len() < rest.len()).then_some(zone)?
        }
    };
    if matches!(zone, "Z" | "z") {
        return Some(local);
    }
    let [hours, minutes] = parts(zone.get(1..)?, ':', [2, 2])?;
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead = hours * 3600 + minutes * 60;
    match zone.as_bytes()[0] {
        b'+' => local.checked_sub(ahead),
        b'-' => local.checked_add(ahead),
        _ => None,
    }
}

/// Numbers of so many digits each, with this between them.
fn parts<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    let mut given = text.split(between);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = given.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    given.next().is_none().then_some(numbers)
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Years here begin with March, so that a leap day is the last of one; 400 of them always have 146,097 days, and the months before one begin after
// (153 * month + 2) / 5 days.

const DAYS_OF_400_YEARS: u64 = 146_097;
/// From the 1st of March of the year 0 to 1970.
const TO_1970: u64 = 719_468;

/// Days since 1970; none before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (past, of_400) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (past * DAYS_OF_400_YEARS + of_400 * 365 + of_400 / 4 - of_400 / 100 + of_year).checked_sub(TO_1970)
}

/// Year, month and day of a day since 1970.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + TO_1970;
    let (past, of_400) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (of_400 - of_400 / 1460 + of_400 / 36_524 - of_400 / 146_096) / 365;
    let of_year = of_400 - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (past * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
