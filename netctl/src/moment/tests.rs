//! Known points in time, and every day of eight centuries there and back.

use super::*;

#[test]
fn known_points_in_time() {
    for (seconds, text) in [
        (0.0, "1970-01-01 00:00:00.000"),
        (951_782_399.999, "2000-02-28 23:59:59.999"),
        (951_782_400.0, "2000-02-29 00:00:00.000"),
        (1_795_770_721.123, "2026-11-27 09:12:01.123"),
        (4_107_542_399.999_6, "2100-03-01 00:00:00.000"),
        (-5.0, "1970-01-01 00:00:00.000"),
        (f64::NAN, "1970-01-01 00:00:00.000"),
    ] {
        assert_eq!(utc(seconds), text, "{seconds}");
    }
    // Nothing that a daemon may send makes it panic.
    let _ = utc(f64::INFINITY);
}

#[test]
fn rfc_3339_is_read_with_its_zone() {
    for text in [
        "2026-11-27T09:12:01Z",
        "2026-11-27t09:12:01z",
        "2026-11-27 09:12:01.999Z",
        "2026-11-27T10:12:01+01:00",
        "2026-11-27T10:12:01.5+01:00",
        "2026-11-26T23:42:01-09:30",
    ] {
        assert_eq!(rfc3339(text), Some(1_795_770_721), "{text}");
    }
    assert_eq!(rfc3339("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(rfc3339("2016-12-31T23:59:60Z"), rfc3339("2017-01-01T00:00:00Z"), "a leap second");
}

#[test]
fn what_is_no_point_in_time_is_none() {
    for text in [
        "",
        "10m",
        "2026-11-27",
        "2026-11-27T09:12Z",
        "2026-11-27T09:12:01",
        "2026-11-27T09:12:01.Z",
        "2026-11-27T09:12:01+1:00",
        "2026-11-27T09:12:01+01:00:00",
        "2026-11-27T09:12:01+24:00",
        "2026-11-27T09:12:01*01:00",
        "2026-11-27T09:12:01ZZ",
        "2026-11-27X09:12:01Z",
        "2026-13-27T09:12:01Z",
        "2026-00-27T09:12:01Z",
        "2026-11-31T09:12:01Z",
        "2025-02-29T09:12:01Z",
        "2100-02-29T09:12:01Z",
        "2026-11-27T24:12:01Z",
        "2026-11-27T09:60:01Z",
        "2026-11-27T09:12:61Z",
        "+026-11-27T09:12:01Z",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "1970-01-01T00:00:00+00:01",
        "2026-11-27T09:12:0äZ",
        "ääääää2026-11-27",
    ] {
        assert_eq!(rfc3339(text), None, "{text}");
    }
}

#[test]
fn every_day_comes_back_from_its_date() {
    let mut before = (1969, 12, 31);
    for day in 0..300_000 {
        let (year, month, of_month) = date(day);
        assert_eq!(days(year, month, of_month), Some(day));
        assert!((year, month, of_month) > before && of_month <= days_of(year, month), "{year}-{month}-{of_month}");
        before = (year, month, of_month);
    }
}
