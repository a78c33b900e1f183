#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, SystemTime};

use palladion_testkit::login::sigv4::{signature, Signing};
use proptest::prelude::*;

use super::*;
use crate::Secret;

const NONCE: &[u8] = b"91703fdc2ef562e19fbdab0f58e42fe5";

fn credentials(token: Option<&str>) -> AwsCredentials {
    AwsCredentials {
        access_key_id: "UserID-1".to_owned(),
        secret_access_key: Secret::new(b"UserSecretKey-1"),
        session_token: token.map(|token| Secret::new(token.as_bytes())),
        expires_at: None,
    }
}

fn at(seconds: u64, nanos: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
}

/// 2020-06-09T22:41:51Z
const THEN: u64 = 1_591_742_511;

fn signed(token: Option<&str>, region: &str, now: SystemTime) -> String {
    let response = sign(NONCE, &credentials(token), region, now).unwrap();
    String::from_utf8(response).unwrap()
}

#[test]
fn the_published_vector() {
    let expected = "signature=7f3691c18a81b8ce7457699effbfae5b09b4e0714ab38c1292dbdf082c9ddd87,\
                    access_key=UserID-1,amzdate=2020-06-09T22:41:51.000Z";
    assert_eq!(signed(None, "us-west-2", at(THEN, 0)), expected);
    assert_eq!(
        signed(Some("sess-token-1"), "us-west-2", at(THEN, 0)),
        format!("{expected},session_token=sess-token-1")
    );
}

#[test]
fn a_region_is_signed_in_lower_case() {
    let time = at(THEN, 0);
    assert_eq!(
        signed(None, "US-West-2", time),
        signed(None, "us-west-2", time)
    );
    assert_ne!(
        signed(None, "us-west-1", time),
        signed(None, "us-west-2", time)
    );
}

#[test]
fn a_token_is_sent_as_it_is() {
    let token = "FwoGZXIvYXdzEA0a+/abc==,x=y";
    let response = signed(Some(token), "us-west-2", at(THEN, 0));
    let (_, sent) = response.split_once(",session_token=").unwrap();
    assert_eq!(sent, token);
}

#[test]
fn every_millisecond_has_three_digits_and_is_cut_off() {
    for millis in 0..1_000 {
        for beyond in [0, 499_999, 500_000, 999_999] {
            let (date, time) = timestamp(at(THEN, millis * 1_000_000 + beyond)).unwrap();
            assert_eq!(date, "20200609");
            assert_eq!(time, format!("2020-06-09T22:41:51.{millis:03}Z"));
        }
    }
}

#[test]
fn seconds_minutes_days_and_years_roll_over() {
    let last = |seconds| timestamp(at(seconds - 1, 999_999_999)).unwrap().1;
    let first = |seconds| timestamp(at(seconds, 0)).unwrap();
    assert_eq!(last(THEN + 1), "2020-06-09T22:41:51.999Z");
    assert_eq!(first(THEN + 1).1, "2020-06-09T22:41:52.000Z");
    // Midnight, the end of February in a leap year and in others, and of years.
    for (seconds, before, after) in [
        (1_591_747_200, "2020-06-09T23:59:59.999Z", "2020-06-10"),
        (1_582_934_400, "2020-02-28T23:59:59.999Z", "2020-02-29"),
        (1_583_020_800, "2020-02-29T23:59:59.999Z", "2020-03-01"),
        (1_614_556_800, "2021-02-28T23:59:59.999Z", "2021-03-01"),
        (4_107_542_400, "2100-02-28T23:59:59.999Z", "2100-03-01"),
        (1_609_459_200, "2020-12-31T23:59:59.999Z", "2021-01-01"),
        (86_400, "1970-01-01T23:59:59.999Z", "1970-01-02"),
    ] {
        assert_eq!(last(seconds), before);
        let (date, time) = first(seconds);
        assert_eq!(time, format!("{after}T00:00:00.000Z"));
        assert_eq!(date, after.replace('-', ""));
    }
}

#[test]
fn a_day_has_one_date_in_signature_and_scope() {
    // Around midnight, by another implementation, which has the date from `amzdate` alone.
    for (seconds, nanos) in [(1_591_747_199, 999_999_999), (1_591_747_200, 0)] {
        let response = signed(None, "us-west-2", at(seconds, nanos));
        let (signed, amzdate) = response
            .split_once(",access_key=UserID-1,amzdate=")
            .unwrap();
        let theirs = signature(&Signing {
            access_key_id: "UserID-1",
            secret: "UserSecretKey-1",
            region: "us-west-2",
            amzdate,
            nonce: std::str::from_utf8(NONCE).unwrap(),
        });
        assert_eq!(signed, format!("signature={theirs}"));
    }
}

#[test]
fn times_without_a_date_are_none() {
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert!(timestamp(before).is_none());
    assert!(timestamp(at(253_402_300_799, 0)).is_some());
    assert!(timestamp(at(253_402_300_800, 0)).is_none());
}

#[test]
fn a_nonce_is_found() {
    let text = std::str::from_utf8(NONCE).unwrap();
    for challenge in [
        format!("nonce={text}"),
        format!("nonce={text},"),
        format!("nonce={text},,"),
        format!("nonce={text},more=1"),
        format!("first=1,nonce={text},more=1"),
    ] {
        assert_eq!(nonce(challenge.as_bytes()), Ok(NONCE));
    }
}

#[test]
fn malformed_challenges_are_told_as_such() {
    let text = "91703fdc2ef562e19fbdab0f58e42fe5";
    let umlauts = "ä".repeat(16);
    for challenge in [
        String::new(),
        "\0".to_owned(),
        text.to_owned(),
        "nonce=".to_owned(),
        "nonce=,".to_owned(),
        format!("nonce={}", &text[1..]),
        format!("nonce={}, ", &text[1..]),
        format!("nonce={text}0"),
        format!("nonce={umlauts}"),
        format!("nonc={text}"),
        format!("NONCE={text}"),
    ] {
        let error = nonce(challenge.as_bytes()).unwrap_err();
        assert!(
            matches!(
                &error,
                LoginProblem::Challenge {
                    mechanism: "SigV4",
                    ..
                }
            ),
            "{challenge:?}: {error:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_challenge_and_no_time_panics(
        challenge in prop::collection::vec(any::<u8>(), 0..200),
        region in ".{0,20}",
        seconds in 0_u64..300_000_000_000,
        nanos in 0_u32..1_000_000_000,
    ) {
        let _ = response_to(&challenge, &credentials(None), &region, at(seconds, nanos));
        let _ = sign(&challenge, &credentials(Some("t")), &region, at(seconds, nanos));
    }

    #[test]
    fn dates_go_up_day_by_day(day in 0_u64..2_932_896) {
        prop_assert!(civil(day).unwrap() < civil(day + 1).unwrap_or((10_000, 1, 1)));
    }
}
