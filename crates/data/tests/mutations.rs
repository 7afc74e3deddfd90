//! Valid files with bytes and tokens changed, cut, doubled and swapped: every parser reads or refuses them, none panics,
//! and none takes long.
//!
//! `MTL_MUTATIONS` says how many of each format; without it, a tenth of the 10,000 that a release is tried with.

use std::path::Path;
use std::time::{Duration, Instant};

use mtl_data::manifest::ReaderSpec;
use mtl_data::{mail, reader};
use mtl_task::Registry;
use mtl_task::rng::{Key, Stream};

/// No input may take longer.
const LONGEST: Duration = Duration::from_secs(5);

fn count() -> u64 {
    std::env::var("MTL_MUTATIONS").ok().map_or(1000, |count| count.parse().expect("a number"))
}

/// Up to three changes of bytes.
fn bytes_changed(bytes: &mut Vec<u8>, stream: &mut Stream) {
    for _ in 0..=stream.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = stream.below(bytes.len());
        let end = (at + 1 + stream.below(12)).min(bytes.len());
        match stream.below(7) {
            0 => bytes[at] = stream.next_u32() as u8,
            1 => bytes[at] ^= 1 << stream.below(8),
            2 => bytes[at..end].fill([0, 0xff, 0x7f, 0x80][stream.below(4)]),
            3 => bytes.insert(at, b"\"\n\r,;\t|[]{}\\'&<#=?\0"[stream.below(19)]),
            4 => bytes.truncate(at),
            5 => bytes.extend_from_within(at..end),
            _ => drop(bytes.drain(at..end)),
        }
    }
}

/// Up to three changes of tokens: runs of letters and digits, and every other byte by itself.
fn tokens_changed(bytes: &[u8], odd: &[&[u8]], stream: &mut Stream) -> Vec<u8> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    let mut tokens: Vec<Vec<u8>> = bytes.chunk_by(|a, b| word(*a) && word(*b)).map(<[u8]>::to_vec).collect();
    for _ in 0..=stream.below(3) {
        if tokens.is_empty() {
            break;
        }
        let (one, other) = (stream.below(tokens.len()), stream.below(tokens.len()));
        match stream.below(5) {
            0 => tokens.swap(one, other),
            1 => drop(tokens.remove(one)),
            2 => tokens.insert(other, tokens[one].clone()),
            3 => tokens[one] = odd[stream.below(odd.len())].to_vec(),
            _ => tokens[one] = tokens[one].repeat(1 + stream.below(2000)),
        }
    }
    tokens.concat()
}

/// What no format expects.
const ODD: [&[u8]; 20] = [
    b"",
    b"\"",
    b"\"\"",
    b"\n\n",
    b"\r",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"NaN",
    b"null",
    b"\\u0000",
    b"\\ud800",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc2\xa0",
    b"[[[[[[[[",
    b"{\"a\":",
    b"&#x110000;",
    b"--b",
    b"=?utf-8?B?",
];

/// Changes each of `whole` in turn, and gives what came out to `parse`.
fn mutated(name: &str, whole: &[Vec<u8>], odd: &[&[u8]], parse: &dyn Fn(&[u8])) {
    for case in 0..count() {
        let mut stream = Key::new(17).named("mutations").named(name).with(case).stream();
        let valid = &whole[stream.below(whole.len())];
        let mut bytes = valid.clone();
        match stream.below(3) {
            0 => bytes_changed(&mut bytes, &mut stream),
            1 => bytes = tokens_changed(&bytes, odd, &mut stream),
            _ => {
                bytes = tokens_changed(&bytes, odd, &mut stream);
                bytes_changed(&mut bytes, &mut stream);
            }
        }
        let start = Instant::now();
        parse(&bytes);
        assert!(start.elapsed() < LONGEST, "{name}, case {case}: {:?}", start.elapsed());
    }
}

/// Mutates files for the reader called `name`; `foreign` says that a panic of a parser of another crate is an error.
fn read(name: &str, whole: &[Vec<u8>], odd: &[&[u8]], foreign: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows");
    let spec = ReaderSpec { name: Some(name.into()), ..ReaderSpec::default() };
    let parse = |bytes: &[u8]| -> Result<usize, String> {
        std::fs::write(&path, bytes).expect("written");
        reader::read(&Registry::default(), Path::new(&path), &spec)
            .map(|records| records.len())
            .map_err(|error| format!("{error:#}"))
    };
    for (index, bytes) in whole.iter().enumerate() {
        assert!(parse(bytes).expect("a valid file") > 0, "{name}: file {index}");
    }
    mutated(name, whole, odd, &|bytes| {
        if let Err(error) = parse(bytes) {
            assert!(error.contains("rows"), "no file in: {error}");
            assert!(foreign || !error.contains("the parser gave up"), "{error}");
            assert!(error.len() < 20_000, "{} bytes of message", error.len());
        }
    });
}

fn owned(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn csv() {
    let many: String = (0..60).map(|row| format!("\"note {row}, {row}\",{}\n", row % 3)).collect();
    let whole = owned(&[
        "text,label\n\"a, \"\"b\"\"\nc\",x\r\n d ,y\n",
        "\u{feff}text;label\nein Satz, lang;x\n\"zwei\nZeilen\";y\n",
        &format!("text,label\n{many}"),
    ]);
    read("csv", &whole, &ODD, false);
}

#[test]
fn tsv() {
    let whole = owned(&["text\tlabel\na b\tx\n\"c\td\"\ty\n", "id|text|label\n1|한국 글|x\n2|b|y\n"]);
    read("tsv", &whole, &ODD, false);
}

#[test]
fn json() {
    let whole = owned(&[
        "[{\"text\": \"a\\u00e9\\n\", \"label\": \"x\"}, {\"text\": \"b\", \"label\": 2.5e3}]",
        "[{\"tokens\": [\"a\", \"b\"], \"tags\": [1, -100]},\n {\"tokens\": [], \"tags\": null, \"more\": {\"a\": [[1]]}}]",
    ]);
    read("json", &whole, &ODD, false);
}

#[test]
fn json_lines() {
    let whole = owned(&[
        "{\"text\": \"a\\u00e9\", \"label\": [\"x\", 1, true]}\n{\"text\": null, \"label\": {}}\n",
        "{\"text\": \"한국\", \"label\": 1.0}\r\n{\"text\": \"b\", \"label\": 1e300}\r\n",
    ]);
    read("jsonl", &whole, &ODD, false);
}

#[test]
fn conll() {
    let word = |at: usize, form: &str| format!("{at}\t{form}\t_\tNOUN\t_\t_\t0\troot\t_\t_\n");
    let universal = format!(
        "# text = vámonos\n1-2\tvámonos{}\n{}{}\n# text = a\n{}\n",
        "\t_".repeat(8),
        word(1, "vamos"),
        word(2, "nos"),
        word(1, "a")
    );
    let whole = owned(&[
        &universal,
        "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n# O O\n. . O\n",
        "# a comment\n10\u{a0}000\tB-NUM\n#tag\tO\n\nb\tO\n",
    ]);
    read("conll", &whole, &ODD, false);
}

#[test]
fn mails() {
    let whole = owned(&[
        "From a@x Thu Aug 22\nSubject: =?iso-8859-1?Q?caf=E9?= =?UTF-8?B?4oKs?=\nContent-Type: multipart/alternative;\n \
         boundary=\"b\"\n\npreamble\n--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: \
         quoted-printable\n\n<p class=3D\"x\">marked &amp; &#x20ac; <script>x</script>\n--b\nContent-Type: \
         text/plain\nContent-Transfer-Encoding: base64\n\ncGxhaW4gd29yZHM=\n--b--\n",
        "Subject: [list] Re: s\nContent-Type: text/plain; charset=\"EUC-KR\"\nContent-Transfer-Encoding: \
         base64\n\nx9Gx2yC43sDP\n",
        "Subject: s\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: text/html\n\n<!DOCTYPE \
         html><title>no</title><b>bold</b>&nbsp;&notin;\n",
    ]);
    assert!(whole.iter().all(|mail| !mail::readable(&String::from_utf8_lossy(mail)).is_empty()));
    mutated("mail", &whole, &ODD, &|bytes| {
        mail::readable(&String::from_utf8_lossy(bytes));
    });
}

#[cfg(feature = "parquet")]
mod parquet_files {
    use std::sync::Arc;

    use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    fn written(compression: Compression, version: WriterVersion) -> Vec<u8> {
        let schema = "message schema { REQUIRED BINARY text (UTF8); OPTIONAL DOUBLE label; \
                      OPTIONAL GROUP words (LIST) { REPEATED GROUP list { REQUIRED BINARY element (UTF8); } } }";
        let schema = Arc::new(parse_message_type(schema).expect("a schema"));
        let properties = WriterProperties::builder().set_compression(compression).set_writer_version(version).build();
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).expect("a writer");
        let mut group = writer.next_row_group().expect("a group");
        let texts: Vec<ByteArray> =
            (0..50).map(|row| ByteArray::from(format!("note {} of many", row % 20).as_str())).collect();
        let mut next = group.next_column().expect("a column").expect("the first");
        next.typed::<ByteArrayType>().write_batch(&texts, None, None).expect("written");
        next.close().expect("closed");
        let mut next = group.next_column().expect("a column").expect("the second");
        let levels: Vec<i16> = (0..50).map(|row| i16::from(row % 10 != 0)).collect();
        next.typed::<DoubleType>().write_batch(&[0.5; 45], Some(&levels), None).expect("written");
        next.close().expect("closed");
        let mut next = group.next_column().expect("a column").expect("the third");
        let repeats: Vec<i16> = (0..100).map(|word| word % 2).collect();
        let words = vec![ByteArray::from("word"); 100];
        next.typed::<ByteArrayType>().write_batch(&words, Some(&[2; 100]), Some(&repeats)).expect("written");
        next.close().expect("closed");
        group.close().expect("closed");
        writer.into_inner().expect("closed")
    }

    /// Numbers at their ends, as Thrift and Parquet write them, and its own marks.
    const ODD: [&[u8]; 8] = [
        b"PAR1",
        b"\xff\xff\xff\xff\x0f",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80\x80\x80\x80\x10",
        b"\xff\xff\xff\x7f",
        b"\x00\x00\x00\x80",
        b"\x15\x02",
        b"\x00",
    ];

    #[test]
    fn parquet() {
        let whole: Vec<Vec<u8>> = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::ZSTD(ZstdLevel::default()),
            Compression::LZ4_RAW,
            Compression::LZ4,
            Compression::BROTLI(BrotliLevel::default()),
        ]
        .into_iter()
        .flat_map(|compression| {
            [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0].map(|version| written(compression, version))
        })
        .collect();
        read("parquet", &whole, &ODD, true);
    }
}
