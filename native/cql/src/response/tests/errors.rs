//! What errors bring along.

use super::*;

#[test]
fn every_error_brings_its_fields() {
    let consistency = Consistency::Quorum;
    let details: Vec<_> = error_bodies().iter().map(error_detail).collect();
    let expected = [
        ErrorDetail::None,
        ErrorDetail::Unavailable {
            consistency,
            required: 3,
            alive: 1,
        },
        ErrorDetail::Write {
            consistency,
            received: 1,
            required: 2,
            failures: None,
            reasons: Vec::new(),
            contentions: None,
            write_type: "SIMPLE".into(),
        },
        ErrorDetail::Write {
            consistency,
            received: 1,
            required: 2,
            failures: Some(1),
            reasons: Vec::new(),
            contentions: None,
            write_type: "BATCH".into(),
        },
        ErrorDetail::Read {
            consistency,
            received: 1,
            required: 2,
            failures: None,
            reasons: Vec::new(),
            data_present: true,
        },
        ErrorDetail::Read {
            consistency,
            received: 1,
            required: 2,
            failures: Some(1),
            reasons: Vec::new(),
            data_present: false,
        },
        ErrorDetail::Function {
            keyspace: "ks".into(),
            function: "f".into(),
            argument_types: vec!["int".into(), "text".into()],
        },
        ErrorDetail::AlreadyExists {
            keyspace: "ks".into(),
            table: "t".into(),
        },
        ErrorDetail::Unprepared { id: vec![1, 2, 3] },
    ];
    assert_eq!(details, expected);
}

#[test]
fn errors_without_fields_and_unknown_ones_are_read() {
    for code in [
        code::SERVER,
        code::PROTOCOL,
        code::BAD_CREDENTIALS,
        code::OVERLOADED,
        code::IS_BOOTSTRAPPING,
        code::TRUNCATE,
        code::SYNTAX,
        code::UNAUTHORIZED,
        code::INVALID,
        code::CONFIG,
        0x7777,
        -1,
    ] {
        let expected = ServerError {
            code,
            message: "told".into(),
            detail: ErrorDetail::None,
        };
        assert_eq!(parse(Opcode::Error, &error(code)), Message::Error(expected));
    }
}

#[test]
fn an_error_may_quote_bytes_that_are_no_text() {
    let quoted = body().int(code::SYNTAX).short(3).raw(&[b'a', 0xFF, b'b']);
    let Message::Error(error) = parse(Opcode::Error, &quoted) else {
        panic!("no error");
    };
    assert_eq!(error.message, "a\u{FFFD}b");
}

#[test]
fn protocol_5_tells_which_replicas_failed() {
    let reasons = body()
        .int(2)
        .raw(&[4, 10, 0, 0, 1])
        .short(1)
        .raw(&[16])
        .raw(&[0; 15])
        .raw(&[1])
        .short(2);
    let head = |code| error(code).short(4).int(1).int(2).raw(&reasons.0);
    let expected = vec![
        ("10.0.0.1".parse().unwrap(), 1),
        ("::1".parse().unwrap(), 2),
    ];
    let detail = |body: &Body| {
        let parsed = parse_in(dialect(Version::V5), Opcode::Error, 0, &body.0).unwrap();
        match parsed.message {
            Message::Error(error) => error.detail,
            other => panic!("{other:?}"),
        }
    };
    let read = detail(&head(code::READ_FAILURE).raw(&[1]));
    let ErrorDetail::Read {
        failures, reasons, ..
    } = read
    else {
        panic!("{read:?}");
    };
    assert_eq!((failures, &reasons), (Some(2), &expected));
    let write = detail(&head(code::WRITE_FAILURE).string("SIMPLE"));
    let ErrorDetail::Write {
        failures, reasons, ..
    } = write
    else {
        panic!("{write:?}");
    };
    assert_eq!((failures, reasons), (Some(2), expected));
    let timeout = error(code::WRITE_TIMEOUT).short(4).int(1).int(2);
    let contended = detail(&timeout.clone().string("CAS").short(7));
    assert!(matches!(
        contended,
        ErrorDetail::Write {
            contentions: Some(7),
            ..
        }
    ));
    // Not every server of the version says so.
    let silent = detail(&timeout.string("CAS"));
    assert!(matches!(
        silent,
        ErrorDetail::Write {
            contentions: None,
            ..
        }
    ));
}

#[test]
fn a_rate_limit_is_known_by_the_code_that_was_agreed_on() {
    let scylla = Dialect {
        rate_limit_error: Some(0x4321),
        ..dialect(Version::V4)
    };
    let bytes = error(0x4321).raw(&[1, 1]);
    let known = parse_in(scylla, Opcode::Error, 0, &bytes.0).unwrap();
    let expected = ErrorDetail::RateLimit {
        operation: LimitedOperation::Write,
        by_coordinator: true,
    };
    assert!(matches!(known.message, Message::Error(e) if e.detail == expected));
    assert_eq!(error_detail(&bytes), ErrorDetail::None);
}

#[test]
fn an_error_is_told_though_its_fields_are_not_understood() {
    for (body, code) in error_bodies().iter().zip(error_codes()) {
        let text = error(code).0.len();
        for len in 0..body.0.len() {
            let cut = parse_with(Opcode::Error, 0, &body.0[..len]);
            if len < text || (code == code::UNPREPARED && len < body.0.len()) {
                assert!(cut.is_err(), "{code:#x} cut to {len}");
                continue;
            }
            let Message::Error(told) = cut.unwrap().message else {
                panic!("no error");
            };
            assert_eq!((told.code, told.message.as_str()), (code, "told"));
        }
    }
    // A consistency that is not known yet.
    let newer = error(code::UNAVAILABLE).short(0x0B).int(3).int(1);
    assert_eq!(error_detail(&newer), ErrorDetail::None);
}

fn error_codes() -> Vec<i32> {
    let code = |body: &Body| i32::from_be_bytes(body.0[..4].try_into().unwrap());
    error_bodies().iter().map(code).collect()
}
