//! Bytes to text: UTF-8 by default, any encoding of the WHATWG's standard by its label, UTF-16 by its byte order mark.
//!
//! A byte order mark counts more than the manifest. Text is never repaired: bytes that the encoding does not have are
//! refused with their place, and with what other encodings would read there, for only a reader can tell which is right.

use anyhow::{Result, anyhow, bail};
use encoding_rs::{
    BIG5, Decoder, DecoderResult, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1251,
    WINDOWS_1252,
};

use super::Source;

/// Common names that the WHATWG's list of labels does not have.
const ALIASES: [(&str, &Encoding); 4] =
    [("latin-1", WINDOWS_1252), ("cp949", EUC_KR), ("cp932", SHIFT_JIS), ("cp936", GBK)];

/// What a message suggests; every other label works too.
const SUGGESTED: [&str; 6] = ["utf-8", "utf-16", "windows-1252", "euc-kr", "gb18030", "shift_jis"];

/// `bytes` of `source` as text without its byte order mark; `label` is what the manifest calls their encoding.
pub(super) fn decode(source: &Source, bytes: Vec<u8>, label: Option<&str>) -> Result<String> {
    let mark = Encoding::for_bom(&bytes);
    let (encoding, start) = match (mark, label) {
        (Some(found), _) => found,
        (None, Some(label)) => (named(label)?, 0),
        (None, None) => (UTF_8, 0),
    };
    if mark.is_none() && label.is_some_and(|label| label.eq_ignore_ascii_case("utf-16")) {
        bail!(
            "{}: byte 0: no byte order mark, which utf-16 needs; set encoding = \"utf-16le\" or \"utf-16be\" in the \
             manifest's [reader]",
            source.line(1)
        );
    }
    let wide = encoding == UTF_16LE || encoding == UTF_16BE;
    if !wide && let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        // In UTF-16, every other byte of plain English is NUL.
        let advice = match bytes.iter().skip(at % 2).step_by(2).take(64).filter(|&&byte| byte == 0).count() {
            8.. if at % 2 == 0 => "it looks like UTF-16; set encoding = \"utf-16be\" in the manifest's [reader]",
            8.. => "it looks like UTF-16; set encoding = \"utf-16le\" in the manifest's [reader]",
            _ => "this is no text file, or it is in UTF-16 without a byte order mark",
        };
        bail!("{}: byte {at} is NUL; {advice}", source.line(line_of(&bytes, at)));
    }
    let text = if encoding == UTF_8 && start == 0 {
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            refusal(source, error.as_bytes(), at, line_of(error.as_bytes(), at), encoding, label)
        })?
    } else {
        strictly(bytes.get(start..).unwrap_or_default(), encoding.new_decoder_without_bom_handling()).map_err(|(at, line)| match mark {
            Some(_) => anyhow!(
                "{}: byte {}: no {}, which the file's byte order mark says it is; it is damaged or cut off, fetch it \
                 again",
                source.line(line),
                at + start,
                encoding.name()
            ),
            None => refusal(source, &bytes, at, line, encoding, label),
        })?
    };
    if let Some(at) = text.find('\0') {
        bail!("{}: a NUL character; this is no text file", source.line(line_of(text.as_bytes(), at)));
    }
    Ok(text)
}

fn named(label: &str) -> Result<&'static Encoding> {
    let lower = label.trim().to_ascii_lowercase();
    let alias = ALIASES.iter().find(|(name, _)| *name == lower).map(|(_, encoding)| *encoding);
    alias.or_else(|| Encoding::for_label_no_replacement(lower.as_bytes())).ok_or_else(|| {
        anyhow!(
            "[reader] encoding: unknown `{label}`{}; there are {} and the other labels of the WHATWG's encoding standard",
            mtl_task::nearest(&lower, SUGGESTED),
            SUGGESTED.join(", ")
        )
    })
}

/// The text of `bytes`, or the byte and the line of the first sequence that `decoder` does not have.
fn strictly(bytes: &[u8], mut decoder: Decoder) -> Result<String, (usize, usize)> {
    let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(bytes.len());
    let mut text = String::with_capacity(room);
    match decoder.decode_to_string_without_replacement(bytes, &mut text, true) {
        (DecoderResult::InputEmpty, _) => Ok(text),
        (DecoderResult::OutputFull, read) => Err((read, line_of(text.as_bytes(), text.len()))),
        (DecoderResult::Malformed(length, beyond), read) => {
            Err((read - usize::from(length) - usize::from(beyond), line_of(text.as_bytes(), text.len())))
        }
    }
}

/// Why the byte `at` is no text, and what might help.
fn refusal(
    source: &Source,
    bytes: &[u8],
    at: usize,
    line: usize,
    tried: &'static Encoding,
    label: Option<&str>,
) -> anyhow::Error {
    let byte = bytes.get(at).copied().unwrap_or_default();
    let what = format!("{}: byte {at} ({byte:#04x}) is not {}", source.line(line), tried.name());
    let set = label.map_or_else(String::new, |label| format!(", which [reader] encoding = \"{label}\" asks for"));
    let chunks = bytes.utf8_chunks();
    let (valid, invalid) = chunks.fold((0, 0), |(valid, invalid), chunk| {
        let letters = chunk.valid().chars().filter(|letter| !letter.is_ascii()).count();
        (valid + letters, invalid + usize::from(!chunk.invalid().is_empty()))
    });
    if tried != UTF_8 && invalid == 0 {
        return anyhow!("{what}{set}; the file is UTF-8, leave the key out");
    }
    if valid > invalid {
        let one = if invalid == 1 { "this place is" } else { "such places are" };
        return anyhow!("{what}{set}; all else in the file is UTF-8, so {one} damaged: correct the file");
    }
    let shown = readings(bytes, at, tried);
    if shown.is_empty() {
        return anyhow!("{what}{set}; no other common encoding reads it either: is it a text file, and whole?");
    }
    anyhow!(
        "{what}{set}; if one of these is right, set it in the manifest's [reader], otherwise ask the file's source: {}",
        shown.join("; ")
    )
}

/// What encodings that have all of the file's bytes read around the byte `at`. In languages of the Latin script, letters
/// beyond ASCII stand alone; where most have a neighbour of their kind, those encodings would read garbled words.
fn readings(bytes: &[u8], at: usize, tried: &'static Encoding) -> Vec<String> {
    let mut before = bytes.iter().take(at);
    let start = before.rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1).max(at.saturating_sub(24));
    let high = |at: usize| bytes.get(at).is_some_and(|byte| !byte.is_ascii());
    let (all, beside) = (0..bytes.len()).filter(|&at| high(at)).fold((0, 0), |(all, beside), at| {
        (all + 1, beside + usize::from(high(at + 1) || at.checked_sub(1).is_some_and(high)))
    });
    let plausible: &[&'static Encoding] = match 2 * beside > all {
        true => &[EUC_KR, GB18030, SHIFT_JIS, BIG5, WINDOWS_1251],
        false => &[WINDOWS_1252],
    };
    plausible
        .iter()
        .filter(|encoding| **encoding != tried)
        .filter_map(|encoding| {
            let text = strictly(bytes, encoding.new_decoder_without_bom_handling()).ok()?;
            // Control characters in a text, and those that only a user defines, tell that it is another encoding's.
            let odd = |letter: char| {
                (letter.is_control() && !"\t\n\r".contains(letter)) || ('\u{e000}'..='\u{f8ff}').contains(&letter)
            };
            let around = encoding.decode_without_bom_handling(bytes.get(start..).unwrap_or_default()).0;
            let around: String = around.chars().take_while(|letter| !"\r\n".contains(*letter)).take(40).collect();
            let label = encoding.name().to_lowercase();
            (!text.contains(odd)).then(|| format!("encoding = \"{label}\" reads `{around}`"))
        })
        .collect()
}

/// The line that the byte `at` is in.
fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes.iter().take(at).filter(|&&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(bytes: &[u8], label: Option<&str>) -> Result<String, String> {
        decode(&Source::new(Path::new("rows.csv")), bytes.to_vec(), label).map_err(|error| error.to_string())
    }

    /// Bytes by Python 3's codecs: `text.encode(name).hex()`.
    #[test]
    fn encodings_are_read_by_their_common_names() {
        for (label, bytes, expected) in [
            (None, "caf\u{e9}".as_bytes(), "café"),
            (None, b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
            (Some("utf-8"), b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
            (None, b"\xff\xfe\x63\x00\x61\x00\x66\x00\xe9\x00\x3d\xd8\x00\xde", "café😀"),
            (Some("utf-16"), b"\xfe\xff\x00\x63\x00\x61\x00\x66\x00\xe9\xd8\x3d\xde\x00", "café😀"),
            (Some("utf-16le"), b"\x63\x00\xac\x20", "c€"),
            (Some("UTF-16BE"), b"\x00\x63\x20\xac", "c€"),
            (Some("windows-1252"), b"\x93caf\xe9\x94 \x96 5 \x80", "“café” – 5 €"),
            (Some("latin-1"), b"\x93caf\xe9\x94 \x96 5 \x80", "“café” – 5 €"),
            (Some("iso-8859-15"), b"5 \xa4", "5 €"),
            (Some("cp949"), b"\xc7\xd1\xb1\xdb \x8c\x63", "한글 똠"),
            (Some("euc-kr"), b"\xc7\xd1\xb1\xdb", "한글"),
            (Some("gb18030"), b"\xd6\xd0\xce\xc4\x94\x39\xfc\x36", "中文😀"),
            (Some("shift_jis"), b"\x93\xfa\x96{\x8c\xea", "日本語"),
            (Some("cp932"), b"\x87\x40", "①"),
            (Some("koi8-r"), b"\xf2\xd5\xd3", "Рус"),
        ] {
            assert_eq!(read(bytes, label).as_deref(), Ok(expected), "{label:?}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_refused_with_its_place_and_honest_advice() {
        for (label, bytes, named) in [
            (
                None,
                &b"a\nb\xe9c,x\n"[..],
                &["rows.csv:2", "byte 3 (0xe9) is not UTF-8", "\"windows-1252\" reads `béc,x`"][..],
            ),
            (None, b"a\n\xc7\xd1\xb1\xdb\n", &["rows.csv:2", "byte 2", "\"euc-kr\" reads `한글`"]),
            (
                None,
                "naïve, déjà vu\n\u{e9}".as_bytes().split_last().expect("bytes").1,
                &["rows.csv:2", "all else", "damaged"],
            ),
            (Some("cp949"), "“café”".as_bytes(), &["rows.csv:1", "EUC-KR", "\"cp949\"", "leave the key out"]),
            (Some("shift_jis"), b"a\nok\n\x93\xfa\xff", &["rows.csv:3", "byte 7 (0xff) is not Shift_JIS"]),
            (Some("utf-16"), b"a,b\n", &["rows.csv:1", "no byte order mark", "utf-16le"]),
            (None, b"\xff\xfe\x61\x00\x0a\x00\x00\xdc", &["rows.csv:2", "byte 6", "UTF-16LE", "byte order mark"]),
            (None, b"\xff\xfe\x61\x00\x0a\x00\x61", &["rows.csv:2", "byte 6", "cut off"]),
            (None, b"\xef\xbb\xbfa\xff", &["rows.csv:1", "byte 4", "UTF-8"]),
            (None, b"t\0e\0x\0t\0,\0l\0a\0b\0e\0l\0\n\0", &["byte 1 is NUL", "\"utf-16le\""]),
            (None, b"\0t\0e\0x\0t\0,\0l\0a\0b\0e\0l\0\n", &["byte 0 is NUL", "\"utf-16be\""]),
            (Some("windows-125"), b"a", &["unknown `windows-125`", "did you mean `windows-1252`?"]),
            (Some("hz-gb-2312"), b"a", &["unknown `hz-gb-2312`"]),
        ] {
            let error = read(bytes, label).expect_err("no text");
            named.iter().for_each(|part| assert!(error.contains(part), "`{part}` is missing in: {error}"));
        }
        // Windows-1252 reads any bytes: it is shown where letters beyond ASCII stand alone, as in Latin script.
        for korean in [&b"\xa4\xa4\x81\x40"[..], b"text,team\n\xc7\xd1\xb1\xdb \xb8\xde\xc0\xcf,\xc0\xfc\xc8\xad\n"] {
            let error = read(korean, None).expect_err("no UTF-8");
            assert!(!error.contains("windows-1252") && error.contains("gb18030"), "{error}");
        }
    }
}
