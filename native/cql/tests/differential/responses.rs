//! Responses of the other implementation are to us what they were meant to be.

use cassandra_protocol::frame::{Direction, Envelope, Flags};
use cassandra_protocol::types::data_serialization_types::decode_timeuuid;
use palladion_cql::frame::Sender;
use palladion_cql::response::{Message, Response, ResultBody, Rows};
use palladion_cql::value::Values;
use palladion_cql::wire::BytesMap;
use palladion_cql::{Dialect, Frame, ServerEvent};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::answers::{any_answer, Answer, Meant, MeantRows};
use crate::other::{self, read_by_us, sent_by_them};
use crate::support::{any_dialect, DIALECTS};

/// A response with what may stand before its message.
#[derive(Debug, Clone)]
struct Sent {
    tracing_id: Option<[u8; 16]>,
    warnings: Option<Vec<String>>,
    payload: Option<BytesMap>,
    stream: i16,
    answer: Answer,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn responses_mean_the_same(
        (dialect, sent) in any_conversation(),
        piece in prop_oneof![1..40usize, Just(usize::MAX)],
    ) {
        check(&dialect, &sent, piece);
    }
}

#[test]
fn responses_longer_than_a_segment_mean_the_same() {
    for dialect in DIALECTS {
        let warnings: Vec<_> = (0..9).map(|n| format!("{n}").repeat(30_000)).collect();
        let ready = Answer {
            opcode: cassandra_protocol::frame::Opcode::Ready,
            body: Vec::new(),
            meant: Meant::Message(Message::Ready),
        };
        let short = Sent {
            tracing_id: None,
            warnings: None,
            payload: None,
            stream: 7,
            answer: ready,
        };
        let noise = crate::support::content(200_000, 3);
        let long = Sent {
            tracing_id: Some([7; 16]),
            warnings: Some(warnings),
            payload: Some(vec![("noise".to_owned(), Some(noise))]),
            ..short.clone()
        };
        check(&dialect, &[short.clone(), long.clone(), short, long], 9_999);
    }
}

fn check(dialect: &Dialect, sent: &[Sent], piece: usize) {
    let envelopes: Vec<_> = sent.iter().map(|sent| sent.envelope(dialect)).collect();
    let bytes = sent_by_them(dialect, &envelopes);
    let read = read_by_us(dialect, Sender::Server, &bytes, piece);
    assert_eq!(read.len(), sent.len());
    for (sent, frame) in sent.iter().zip(&read) {
        sent.assert_meant(frame);
    }
}

impl Sent {
    fn envelope(&self, dialect: &Dialect) -> Envelope {
        let mut flags = Flags::empty();
        flags.set(Flags::TRACING, self.tracing_id.is_some());
        flags.set(Flags::WARNING, self.warnings.is_some());
        flags.set(Flags::CUSTOM_PAYLOAD, self.payload.is_some());
        let payload = self.payload.as_deref().map(other::bytes_map);
        Envelope::new(
            other::version(dialect),
            Direction::Response,
            flags,
            self.answer.opcode,
            self.stream,
            [payload.unwrap_or_default(), self.answer.body.clone()].concat(),
            self.tracing_id.map(|id| decode_timeuuid(&id).unwrap()),
            self.warnings.clone().unwrap_or_default(),
        )
    }

    fn assert_meant(&self, frame: &Frame) {
        assert_eq!(frame.header.stream, self.stream);
        assert_eq!(frame.header.opcode as u8, u8::from(self.answer.opcode));
        assert_eq!(frame.header.sender, Sender::Server);
        let response = Response::parse(frame).unwrap();
        assert_eq!(response.tracing_id, self.tracing_id);
        assert_eq!(response.warnings, self.warnings.clone().unwrap_or_default());
        assert_eq!(response.payload, self.payload.clone().unwrap_or_default());
        match (&self.answer.meant, response.message) {
            (Meant::Message(meant), message) => assert_eq!(message, *meant),
            (Meant::Event(meant), Message::Event(body)) => {
                assert_eq!(ServerEvent::read(&body).as_ref(), Ok(meant));
            }
            (Meant::Supported(meant), Message::Supported(mut options)) => {
                // The other implementation sends them in any order.
                options.sort();
                assert_eq!(options, *meant);
            }
            (Meant::Rows(meant), Message::Result(ResultBody::Rows(rows))) => meant.assert_is(&rows),
            (meant, message) => panic!("{meant:?} has become {message:?}"),
        }
    }
}

impl MeantRows {
    fn assert_is(&self, rows: &Rows) {
        assert_eq!(rows.columns.is_some(), self.has_metadata);
        if let Some(columns) = &rows.columns {
            assert_eq!(columns[..], self.columns[..]);
        }
        assert_eq!(rows.column_count, self.columns.len());
        assert_eq!(rows.paging_state.as_deref(), self.paging_state.as_deref());
        assert_eq!(rows.metadata_id.as_deref(), self.metadata_id.as_deref());
        assert_eq!(rows.count, self.rows.len());
        let mut read = Vec::new();
        rows.decode(&self.columns, &mut Values, |_, cells| {
            read.push(std::mem::take(cells))
        })
        .unwrap();
        assert_eq!(read, self.rows);
    }
}

fn any_conversation() -> impl Strategy<Value = (Dialect, Vec<Sent>)> {
    any_dialect().prop_flat_map(|dialect| (Just(dialect), vec(any_sent(dialect), 1..5)))
}

fn any_sent(dialect: Dialect) -> impl Strategy<Value = Sent> {
    let bytes = prop::option::of(vec(any::<u8>(), 0..20));
    let before = (
        prop::option::weighted(0.2, any::<[u8; 16]>()),
        prop::option::weighted(0.2, vec("\\PC{0,30}", 0..4)),
        prop::option::weighted(0.2, vec(("[a-z]{0,9}", bytes), 0..4)),
    );
    (before, any::<i16>(), any_answer(dialect)).prop_map(|(before, stream, answer)| Sent {
        tracing_id: before.0,
        warnings: before.1,
        payload: before.2,
        stream,
        answer,
    })
}
