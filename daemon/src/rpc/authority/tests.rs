//! The filter against HPACK as it is defined, against another decoder, and against noise.
//!
//! Every stream is cut in all places (short ones) or at random; `what_is_no_header_is_not_touched` and
//! `damaged_streams_change_nothing_else` are the fuzz targets.

use loona_hpack::Decoder;
use proptest::{collection::vec, prelude::*, sample::select};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const MAGIC: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Of Huffman's code (RFC 7541 appendix B), what the words here need.
const CODES: [(u8, &str); 17] = [
    (b'%', "010101"),
    (b'-', "010110"),
    (b'/', "011000"),
    (b':', "1011100"),
    (b'2', "00010"),
    (b'a', "00011"),
    (b'e', "00101"),
    (b'h', "100111"),
    (b'i', "00110"),
    (b'o', "00111"),
    (b'p', "101011"),
    (b'r', "101100"),
    (b's', "01000"),
    (b't', "01001"),
    (b'u', "101101"),
    (b'x', "1111001"),
    (b'y', "1111010"),
];

fn huffman(text: &str) -> Vec<u8> {
    let code = |byte| CODES.iter().find(|(of, _)| *of == byte).expect("a code for it").1;
    let mut bits: String = text.bytes().map(code).collect();
    bits.extend(std::iter::repeat_n('1', (8 - bits.len() % 8) % 8));
    let octet = |at: usize| u8::from_str_radix(&bits[at..at + 8], 2).unwrap();
    (0..bits.len()).step_by(8).map(octet).collect()
}

fn integer(first: u8, prefix: u8, value: usize) -> Vec<u8> {
    let max = (1 << prefix) - 1;
    if value < max {
        return vec![first | u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![first | u8::try_from(max).unwrap()];
    let mut rest = value - max;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

#[derive(Debug, Clone)]
struct Text {
    text: String,
    huffman: bool,
}

impl Text {
    fn encode(&self) -> Vec<u8> {
        let (bytes, mark) =
            if self.huffman { (huffman(&self.text), 0x80) } else { (self.text.clone().into_bytes(), 0) };
        [integer(mark, 7, bytes.len()), bytes].concat()
    }
}

#[derive(Debug, Clone)]
enum Name {
    Index(usize),
    Literal(Text),
}

/// A representation of RFC 7541 section 6.
#[derive(Debug, Clone)]
enum Field {
    Indexed(usize),
    /// `form`: the pattern and the length of the prefix.
    Literal {
        form: (u8, u8),
        name: Name,
        value: Text,
    },
    TableSize(usize),
}

impl Field {
    /// Its bytes, and its bytes as they are to come out.
    fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::Indexed(index) => same(integer(0x80, 7, *index)),
            Self::TableSize(size) => same(integer(0x20, 5, *size)),
            Self::Literal { form: (pattern, prefix), name, value } => {
                let (name, authority) = match name {
                    Name::Index(index) => (integer(*pattern, *prefix, *index), *index == 1),
                    Name::Literal(name) => {
                        ([vec![*pattern], name.encode()].concat(), name.text == ":authority")
                    }
                };
                let changes = authority && !value.huffman;
                let after =
                    if changes { Text { text: dashes(&value.text), ..value.clone() } } else { value.clone() };
                ([&name[..], &value.encode()].concat(), [&name[..], &after.encode()].concat())
            }
        }
    }
}

fn same(bytes: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    (bytes.clone(), bytes)
}

fn dashes(text: &str) -> String {
    text.replace('%', "-")
}

fn text(of: impl Strategy<Value = String>) -> impl Strategy<Value = Text> {
    (of, any::<bool>()).prop_map(|(text, huffman)| Text { text, huffman })
}

fn field() -> impl Strategy<Value = Field> {
    const NAMES: &[&str] =
        &[":authority", ":authoriti", ":authorit", ":authorityy", ":path", "xauthority", "", "%"];
    let name = prop_oneof![
        Just(Name::Index(1)),
        select(vec![2_usize, 7, 14, 15, 16, 31, 33, 61]).prop_map(Name::Index),
        text(Just(":authority".to_owned())).prop_map(Name::Literal),
        text(select(NAMES).prop_map(str::to_owned)).prop_map(Name::Literal),
    ];
    let value = prop_oneof![
        4 => "[%/xausr2-]{0,12}",
        1 => "[%/x]{120,300}",
    ];
    let forms = vec![(0x40, 6), (0, 4), (0x10, 4)];
    prop_oneof![
        2 => (1..62_usize).prop_map(Field::Indexed),
        6 => (select(forms), name, text(value))
            .prop_map(|(form, name, value)| Field::Literal { form, name, value }),
        1 => select(vec![0_usize, 15, 30, 31, 158, 159, 4096]).prop_map(Field::TableSize),
    ]
}

/// How a header block is framed.
#[derive(Debug, Clone)]
struct Framing {
    padding: Option<u8>,
    priority: bool,
    /// Where it is cut into CONTINUATIONs, each by its part of the block.
    cuts: Vec<prop::sample::Index>,
}

fn framing() -> impl Strategy<Value = Framing> {
    (any::<Option<u8>>(), any::<bool>(), vec(any::<prop::sample::Index>(), 0..3))
        .prop_map(|(padding, priority, cuts)| Framing { padding, priority, cuts })
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

impl Framing {
    fn apply(&self, block: &[u8]) -> Vec<u8> {
        let mut cuts: Vec<usize> = self.cuts.iter().map(|cut| cut.index(block.len() + 1)).collect();
        cuts.sort_unstable();
        let edges: Vec<usize> = [&[0], &cuts[..], &[block.len()]].concat();
        let parts: Vec<&[u8]> = edges.windows(2).map(|edge| &block[edge[0]..edge[1]]).collect();
        let end = |at: usize| if at + 1 == parts.len() { END_HEADERS } else { 0 };
        let mut payload = Vec::new();
        let mut flags = end(0);
        if let Some(padding) = self.padding {
            payload.push(padding);
            flags |= PADDED;
        }
        if self.priority {
            payload.extend(*b"AAAAA");
            flags |= PRIORITY;
        }
        payload.extend(parts[0]);
        payload.extend(vec![b'%'; self.padding.unwrap_or(0).into()]);
        let mut bytes = frame(HEADERS, flags, &payload);
        for (at, part) in parts.iter().enumerate().skip(1) {
            bytes.extend(frame(CONTINUATION, end(at), part));
        }
        bytes
    }
}

fn filtered(parts: &[&[u8]]) -> Vec<u8> {
    let mut frames = Frames::new();
    let mut bytes = parts.concat();
    let mut at = 0;
    for part in parts {
        frames.pass(&mut bytes[at..at + part.len()]);
        at += part.len();
    }
    bytes
}

/// Cut in two in every place, in three at every other, and byte by byte.
fn every_split(stream: &[u8], expected: &[u8]) {
    for first in 0..=stream.len() {
        let (one, rest) = stream.split_at(first);
        assert_eq!(filtered(&[one, rest]), expected, "cut at {first}");
    }
    for first in (0..=stream.len()).step_by(7) {
        for second in (first..=stream.len()).step_by(3) {
            let parts = [&stream[..first], &stream[first..second], &stream[second..]];
            assert_eq!(filtered(&parts), expected, "cut at {first} and {second}");
        }
    }
    assert_eq!(filtered(&stream.chunks(1).collect::<Vec<_>>()), expected, "byte by byte");
}

fn decoded(block: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut decoder = Decoder::new();
    decoder.set_max_allowed_table_size(1 << 20);
    decoder.decode(block).unwrap_or_else(|error| panic!("{error:?}: {block:x?}"))
}

/// Blocks whose field comes before and after, and the frames between them.
fn stream_of(blocks: &[(Vec<Field>, Framing)]) -> (Vec<u8>, Vec<u8>) {
    let mut streams = (MAGIC.to_vec(), MAGIC.to_vec());
    for (fields, framing) in blocks {
        let (before, after): (Vec<_>, Vec<_>) = fields.iter().map(Field::encode).unzip();
        let between = frame(0, 0, b"\0\0\0\0\x05A\x03%%%");
        for (stream, block) in [(&mut streams.0, before), (&mut streams.1, after)] {
            stream.extend(framing.apply(&block.concat()));
            stream.extend(&between);
        }
    }
    streams
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn another_decoder_finds_authorities_changed_and_nothing_else(fields in vec(field(), 0..8)) {
        let (before, after): (Vec<_>, Vec<_>) = fields
            .iter()
            .filter(|field| !matches!(field, Field::TableSize(_)))
            .map(Field::encode)
            .unzip();
        let (before, after) = (before.concat(), after.concat());
        let mut changed = before.clone();
        Block::default().pass(&mut changed);
        prop_assert_eq!(&changed, &after);
        let (before, after) = (decoded(&before), decoded(&changed));
        prop_assert_eq!(before.len(), after.len());
        for ((name, old), (same_name, new)) in before.iter().zip(&after) {
            prop_assert_eq!(name, same_name);
            if name == NAME {
                prop_assert_eq!(dashes(&String::from_utf8_lossy(old)), dashes(&String::from_utf8_lossy(new)));
            } else {
                prop_assert_eq!(old, new);
            }
        }
    }

    #[test]
    fn cut_anywhere_it_is_the_same(block in vec(field(), 0..3), framing in framing()) {
        let framing = Framing { padding: framing.padding.map(|padding| padding % 8), ..framing };
        let (stream, expected) = stream_of(&[(block, framing)]);
        if stream.len() < 150 {
            every_split(&stream, &expected);
        } else {
            prop_assert_eq!(filtered(&[&stream]), expected);
        }
    }

    #[test]
    fn long_streams_cut_at_random_are_the_same(
        blocks in vec((vec(field(), 0..12), framing()), 0..8),
        sizes in vec(1..64_usize, 1..40),
    ) {
        let (stream, expected) = stream_of(&blocks);
        let mut parts = Vec::new();
        let mut rest = &stream[..];
        for size in sizes.iter().cycle() {
            let (part, after) = rest.split_at(rest.len().min(*size));
            parts.push(part);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(filtered(&parts), expected);
    }
}

/// What has to be there for a change: a name from the static table, or one spelled out.
fn names_authority(bytes: &[u8]) -> bool {
    let spelled = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
    bytes.iter().any(|byte| matches!(byte, 0x01 | 0x11 | 0x41 | 0x0f | 0x1f | 0x7f))
        || spelled(NAME)
        || spelled(NAME_HUFFMAN)
}

fn only_percents_changed(before: &[u8], after: &[u8]) -> bool {
    before.len() == after.len()
        && before.iter().zip(after).all(|(old, new)| old == new || (*old == b'%' && *new == b'-'))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_no_header_is_not_touched(
        noise in vec(prop_oneof![any::<u8>(), select(b"\x00\x01\x04\x09\x25\x25%A:".as_slice())], 0..200),
        magic in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let stream = if magic { [MAGIC, &noise].concat() } else { noise };
        let after = filtered(&[&stream]);
        prop_assert!(only_percents_changed(&stream, &after));
        let changed_at = stream.iter().zip(&after).position(|(old, new)| old != new);
        if let Some(at) = changed_at {
            prop_assert!(names_authority(&stream[..at]), "{stream:x?}");
        }
        let (one, rest) = stream.split_at(cut.index(stream.len() + 1));
        prop_assert_eq!(filtered(&[one, rest]), after);
    }

    #[test]
    fn damaged_streams_change_nothing_else(
        blocks in vec((vec(field(), 0..4), framing()), 1..3),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut stream, _) = stream_of(&blocks);
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let after = filtered(&[&stream]);
        prop_assert!(only_percents_changed(&stream, &after));
        let (one, rest) = stream.split_at(cut.index(stream.len()));
        prop_assert_eq!(filtered(&[one, rest]), after);
    }
}

#[test]
fn the_name_in_huffmans_code_is_the_name() {
    assert_eq!(huffman(":authority"), NAME_HUFFMAN);
    let block = [&[0x40, 0x88], NAME_HUFFMAN, b"\x03a%b"].concat();
    assert_eq!(decoded(&block), [(NAME.to_vec(), b"a%b".to_vec())]);
}

#[test]
fn an_integer_longer_than_h2_takes_ends_it() {
    // An index, an empty value, and an authority.
    for (integer, seen) in [(b"\x0f\xff\xff\xff\x7f".as_slice(), true), (b"\x0f\xff\xff\xff\xff\x00", false)]
    {
        let mut block = [integer, b"\x00\x41\x01%"].concat();
        Block::default().pass(&mut block);
        assert_eq!(block.ends_with(b"\x41\x01-"), seen, "{block:x?}");
    }
    let mut endless = [b"\x0f".as_slice(), &[0xff; 100], b"\x00\x00\x41\x01%"].concat();
    Block::default().pass(&mut endless);
    assert!(endless.ends_with(b"%"));
}

#[test]
fn a_block_broken_off_does_not_outlive_its_frame() {
    let broken = frame(HEADERS, END_HEADERS, b"\x40\x0a:auth");
    let whole = frame(HEADERS, END_HEADERS, b"\x41\x03a%b");
    let stream = [MAGIC, &broken, &whole].concat();
    assert!(filtered(&[&stream]).ends_with(b"a-b"));
}

#[test]
fn a_continuation_without_headers_passes() {
    let stream =
        [MAGIC, &frame(CONTINUATION, END_HEADERS, b"\x41\x01%"), &frame(HEADERS, 0, b"\x41\x01%")].concat();
    let expected =
        [MAGIC, &frame(CONTINUATION, END_HEADERS, b"\x41\x01%"), &frame(HEADERS, 0, b"\x41\x01-")].concat();
    assert_eq!(filtered(&[&stream]), expected);
    let other =
        [&stream[..], &frame(6, 0, b"\0\0\0\0\0\0\0%"), &frame(CONTINUATION, 0, b"\x41\x01%")].concat();
    assert!(filtered(&[&other]).ends_with(b"\x41\x01%"), "the block was given up");
}

#[tokio::test]
async fn it_filters_what_is_read_and_not_what_is_written() {
    let (mut client, server) = tokio::io::duplex(7);
    let (stream, expected) = stream_of(&[(
        vec![Field::Literal {
            form: (0x40, 6),
            name: Name::Literal(Text { text: ":authority".into(), huffman: false }),
            value: Text { text: "run%2Fusher.sock".into(), huffman: false },
        }],
        Framing { padding: Some(3), priority: true, cuts: Vec::new() },
    )]);
    let mut server = Authority::new(server);
    let sent = stream.clone();
    let sending = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        let mut echo = vec![0; sent.len()];
        client.read_exact(&mut echo).await.unwrap();
        echo
    });
    // What is in the buffer already is not looked at.
    let mut storage = [0; 256];
    let mut read = ReadBuf::new(&mut storage);
    read.put_slice(b"%%");
    while read.filled().len() < stream.len() + 2 {
        std::future::poll_fn(|cx| Pin::new(&mut server).poll_read(cx, &mut read)).await.unwrap();
    }
    assert_eq!(read.filled(), [b"%%", &expected[..]].concat());
    server.write_all(&stream).await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(sending.await.unwrap(), stream);
}
