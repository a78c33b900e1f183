use super::*;

const V3: Dialect = plain(Version::V3);
const V4: Dialect = plain(Version::V4);
const V5: Dialect = plain(Version::V5);

const fn plain(version: Version) -> Dialect {
    Dialect {
        version,
        compression: None,
        metadata_ids: false,
        rate_limit_error: None,
    }
}

fn body(frame: &[u8]) -> &[u8] {
    let header = Header::parse(frame.first_chunk().unwrap()).unwrap();
    assert_eq!(header.length as usize, frame.len() - HEADER_LEN);
    &frame[HEADER_LEN..]
}

fn statement<'a>(id: &'a [u8], result_id: Option<&'a [u8]>) -> StatementId<'a> {
    StatementId { id, result_id }
}

#[test]
fn options_is_a_bare_header_of_its_version() {
    assert_eq!(options(&V3), [3, 0, 0, 0, 5, 0, 0, 0, 0]);
    assert_eq!(options(&V4), [4, 0, 0, 0, 5, 0, 0, 0, 0]);
    assert_eq!(options(&V5), [5, 0, 0, 0, 5, 0, 0, 0, 0]);
}

#[test]
fn startup_is_a_string_map() {
    let frame = startup(&V4, &[("CQL_VERSION", "3.0.0")]).unwrap();
    assert_eq!(body(&frame), b"\0\x01\0\x0bCQL_VERSION\0\x053.0.0");
}

#[test]
fn parameters_stand_in_the_order_of_the_specification() {
    let parameters = Parameters {
        consistency: Consistency::LocalQuorum,
        page_size: Some(100),
        paging_state: Some(vec![9, 9]),
        serial_consistency: Some(Consistency::LocalSerial),
        timestamp: Some(-1),
        skip_metadata: true,
        ..Parameters::default()
    };
    let tail = [
        &[0, 1, 0, 0, 0, 1, b'v'][..], // values
        &[0, 0, 0, 100],               // page size
        &[0, 0, 0, 2, 9, 9],           // paging state
        &[0, 9],                       // serial consistency
        &[0xFF; 8],                    // timestamp
    ]
    .concat();
    let value = |out: &mut Vec<u8>| Ok::<(), Unsendable>(put_long_bytes(out, b"v", "value")?);
    for dialect in [V3, V4] {
        let frame = execute(&dialect, statement(&[7], Some(&[8])), &parameters, 1, value).unwrap();
        // id, consistency, flags
        let head = [0, 1, 7, 0, 6, 0x3F];
        assert_eq!(body(&frame), [&head[..], &tail].concat());
    }
    let parameters = Parameters {
        keyspace: Some("ks".to_owned()),
        now_in_seconds: Some(5),
        ..parameters
    };
    let frame = execute(&V5, statement(&[7], Some(&[8])), &parameters, 1, value).unwrap();
    let head = [0, 1, 7, 0, 1, 8, 0, 6, 0, 0, 1, 0xBF];
    let more = [&[0, 2, b'k', b's'][..], &[0, 0, 0, 5]].concat();
    assert_eq!(body(&frame), [&head[..], &tail, &more].concat());
}

#[test]
fn a_metadata_id_is_sent_where_the_dialect_has_such() {
    let none = |_: &mut Vec<u8>| Ok::<(), Unsendable>(());
    let parameters = Parameters::default();
    let scylla = Dialect {
        metadata_ids: true,
        ..V4
    };
    let frame = execute(&scylla, statement(&[7], Some(&[8])), &parameters, 0, none).unwrap();
    assert_eq!(body(&frame), [0, 1, 7, 0, 1, 8, 0, 10, 0]);
    let frame = execute(&scylla, statement(&[7], None), &parameters, 0, none).unwrap();
    assert_eq!(body(&frame), [0, 1, 7, 0, 0, 0, 10, 0]);
}

#[test]
fn what_a_version_does_not_know_is_refused() {
    let refused = |spoken, feature, needs| {
        Err(Unsendable::Unsupported {
            feature,
            needs,
            spoken,
        })
    };
    let keyspace = Parameters {
        keyspace: Some("ks".to_owned()),
        ..Parameters::default()
    };
    let now = Parameters {
        now_in_seconds: Some(1),
        ..Parameters::default()
    };
    let payload = Parameters {
        payload: vec![("a".to_owned(), vec![1])],
        ..Parameters::default()
    };
    for dialect in [V3, V4] {
        assert_eq!(
            query(&dialect, "x", &keyspace),
            refused(dialect.version, KEYSPACE, Version::V5)
        );
        assert_eq!(
            query(&dialect, "x", &now),
            refused(dialect.version, NOW, Version::V5)
        );
        let found = prepare(&dialect, "x", Some("ks"));
        assert_eq!(found, refused(dialect.version, KEYSPACE, Version::V5));
        let batch = Batch::new(&dialect, BatchKind::Logged, &now).unwrap();
        assert_eq!(
            batch.finish(&now),
            refused(dialect.version, NOW, Version::V5)
        );
    }
    assert_eq!(
        query(&V3, "x", &payload),
        refused(Version::V3, PAYLOAD, Version::V4)
    );
    assert!(query(&V4, "x", &payload).is_ok());
}

#[test]
fn prepare_has_flags_from_protocol_5_on() {
    assert_eq!(body(&prepare(&V4, "x", None).unwrap()), [0, 0, 0, 1, b'x']);
    let frame = prepare(&V5, "x", None).unwrap();
    assert_eq!(body(&frame), [0, 0, 0, 1, b'x', 0, 0, 0, 0]);
    let frame = prepare(&V5, "x", Some("k")).unwrap();
    assert_eq!(body(&frame), [0, 0, 0, 1, b'x', 0, 0, 0, 1, 0, 1, b'k']);
}

#[test]
fn a_payload_and_the_wish_for_a_trace_come_first() {
    let parameters = Parameters {
        payload: vec![("a".to_owned(), vec![1, 2])],
        tracing: true,
        ..Parameters::default()
    };
    let frame = query(&V4, "x", &parameters).unwrap();
    assert_eq!(frame[1], flag::CUSTOM_PAYLOAD | flag::TRACING);
    let payload = [0, 1, 0, 1, b'a', 0, 0, 0, 2, 1, 2];
    assert_eq!(body(&frame)[..payload.len()], payload);
}

#[test]
fn a_batch_has_its_statements_before_its_parameters() {
    let parameters = Parameters {
        consistency: Consistency::One,
        timestamp: Some(1),
        // Nothing of a batch.
        page_size: Some(7),
        ..Parameters::default()
    };
    for (dialect, flags) in [(V3, &[0x20][..]), (V4, &[0x20]), (V5, &[0, 0, 0, 0x20])] {
        let mut batch = Batch::new(&dialect, BatchKind::Unlogged, &parameters).unwrap();
        batch.query("q").unwrap();
        batch
            .prepared(statement(&[7], Some(&[8])), 1, |out| {
                Ok::<(), Unsendable>(put_long_bytes(out, b"v", "value")?)
            })
            .unwrap();
        let expected = [
            &[1, 0, 2][..],
            &[0, 0, 0, 0, 1, b'q', 0, 0],
            &[1, 0, 1, 7, 0, 1, 0, 0, 0, 1, b'v'],
            &[0, 1],
            flags,
            &1i64.to_be_bytes(),
        ]
        .concat();
        assert_eq!(body(&batch.finish(&parameters).unwrap()), expected);
    }
}

#[test]
fn a_batch_of_more_than_can_be_counted_is_refused() {
    let parameters = Parameters::default();
    let mut batch = Batch::new(&V4, BatchKind::Logged, &parameters).unwrap();
    (0..65_535).for_each(|_| batch.query("").unwrap());
    let refused = batch.query("").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "there are more than 65535 statements in a batch"
    );
    assert!(batch.finish(&parameters).is_ok());
}

#[test]
fn bodies_are_compressed_where_that_was_agreed_on_and_is_worth_it() {
    let parameters = Parameters::default();
    let long = "SELECT ".repeat(1_000);
    for compression in [crate::Compression::Lz4, crate::Compression::Snappy] {
        let with = |version| Dialect {
            compression: Some(compression),
            ..plain(version)
        };
        let frame = query(&with(Version::V4), &long, &parameters).unwrap();
        assert_eq!(frame[1], flag::COMPRESSION);
        let body = crate::compress::decompress(compression, body(&frame)).unwrap();
        let plain = query(&V4, &long, &parameters).unwrap();
        assert_eq!(body, plain[HEADER_LEN..]);
        // Short, or secret, or in segments: as it is.
        let short = query(&with(Version::V4), "x", &parameters).unwrap();
        let secret = auth_response(&with(Version::V4), Some(&[7; 1_000])).unwrap();
        let segments = query(&with(Version::V5), &long, &parameters).unwrap();
        for frame in [short, secret, segments] {
            assert_eq!(frame[1], 0);
        }
    }
}

#[test]
fn a_string_too_long_for_its_length_field_is_an_error() {
    let long = "x".repeat(70_000);
    assert!(startup(&V4, &[("APPLICATION_NAME", &long)]).is_err());
}
