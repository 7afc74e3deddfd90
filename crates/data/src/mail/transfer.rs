//! What keeps mail within seven bits: quoted-printable, base64, and encoded words in headers (RFC 2045, RFC 2047).

/// Decodes quoted-printable text; what is no valid escape stays as it is.
pub(super) fn quoted_printable(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let end = line.trim_end();
        match end.strip_suffix('=') {
            // The line goes on.
            Some(start) => escapes(start.as_bytes(), &mut bytes),
            None => {
                escapes(end.as_bytes(), &mut bytes);
                bytes.push(b'\n');
            }
        }
    }
    decoded(&bytes)
}

fn escapes(line: &[u8], bytes: &mut Vec<u8>) {
    let mut at = 0;
    while at < line.len() {
        let escape = line.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = escape.filter(|_| line[at] == b'=').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(line[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
}

/// Decodes base64; characters outside its alphabet are passed over, as the standard asks.
pub(super) fn base64(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0);
    for letter in text.bytes().take_while(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        held = (held << 6 | u32::from(value)) & 0xFF_FFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    decoded(&bytes)
}

/// Decodes the words `=?charset?encoding?text?=` of a header.
pub(super) fn words(header: &str) -> String {
    let mut text = String::new();
    let mut rest = header;
    while let Some(start) = rest.find("=?") {
        let word = &rest[start + 2..];
        let Some((length, encoding, encoded)) = word_at(word) else {
            text.push_str(&rest[..start + 2]);
            rest = word;
            continue;
        };
        // White space between two encoded words is part of neither.
        if text.is_empty() || !rest[..start].trim().is_empty() {
            text.push_str(&rest[..start]);
        }
        match encoding {
            'Q' | 'q' => {
                let mut bytes = Vec::new();
                escapes(encoded.replace('_', " ").as_bytes(), &mut bytes);
                text.push_str(&decoded(&bytes));
            }
            _ => text.push_str(&base64(encoded)),
        }
        rest = &word[length..];
    }
    text.push_str(rest);
    text
}

/// Length, encoding and text of an encoded word, from after its `=?`.
fn word_at(word: &str) -> Option<(usize, char, &str)> {
    let (charset, after) = word.split_once('?')?;
    let (encoding, after) = after.split_once('?')?;
    let (encoded, _) = after.split_once("?=")?;
    let letter = encoding.chars().next().filter(|letter| encoding.len() == 1 && "QqBb".contains(*letter))?;
    Some((charset.len() + encoding.len() + encoded.len() + 4, letter, encoded))
}

/// Text of unknown encoding: UTF-8 where it is valid, Latin-1 otherwise, as in most mail of its time.
fn decoded(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}
