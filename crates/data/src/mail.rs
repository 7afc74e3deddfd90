//! The readable text of an internet message (RFC 5322, MIME): its subject, and its body as a reader would see it.
//!
//! A mail's other headers say who collected it and when, which gives the labels of a spam corpus away; they are left
//! out. So are the marks on a subject that tell a reply or a mailing list: those, too, say where it was collected.
//!
//! `mailparse` takes messages apart, `html5ever` reads pages, `encoding_rs` character sets. What is done here is to
//! choose the part that a reader sees, and to keep what can be read of damaged mail.

mod html;

use std::borrow::Cow;

use data_encoding::BASE64_MIME_PERMISSIVE;
use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, WINDOWS_1252};
use mailparse::body::Body;
use mailparse::{MailHeaderMap, ParsedMail, parse_headers, parse_mail};
use quoted_printable::ParseMode;

/// Multipart messages within multipart messages are followed so deep.
const DEEPEST: usize = 6;

/// Marks of encoded words and of continued parameters, in which the parser's time is quadratic, and how many of each a
/// message may have before none is decoded.
const MARKS: [(&str, &str); 3] = [("=?", "= ?"), ("?=", "? ="), ("*0*", "* 0*")];
const MOST_MARKS: usize = 300;

/// Subject and body of `message` on one line, white space as single spaces.
pub fn readable(message: &str) -> String {
    let message = message.replace("\r\n", "\n").replace('\r', " ");
    // Mailboxes put a line `From sender date` in front.
    let message = match message.split_once('\n') {
        Some((first, rest)) if first.starts_with("From ") => rest,
        _ => &message,
    };
    let message = MARKS.iter().fold(Cow::from(message), |message, (mark, broken)| {
        if message.matches(mark).nth(MOST_MARKS).is_some() { message.replace(mark, broken).into() } else { message }
    });
    let headers = parse_headers(message.as_bytes()).map(|(headers, _)| headers).unwrap_or_default();
    let subject = headers.get_first_value("Subject").unwrap_or_default();
    let body = match parse_mail(message.as_bytes()) {
        Ok(mail) => shown(&mail, 0).unwrap_or_default(),
        // A part's headers that are none, or parts nested without end.
        Err(_) => visible(message.split_once("\n\n").map_or(&*message, |(_, body)| body), false),
    };
    format!("{} {body}", bare(&subject)).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text of `part` that a reader sees: plain text rather than HTML where a message has both.
fn shown(part: &ParsedMail, depth: usize) -> Option<String> {
    let kind = part.ctype.mimetype.as_str();
    if kind.starts_with("multipart/") && depth < DEEPEST {
        let mut plain = part.subparts.iter().filter(|part| !is_html(part));
        let plain = plain.find_map(|part| shown(part, depth + 1));
        return plain.or_else(|| part.subparts.iter().find_map(|part| shown(part, depth + 1)));
    }
    if kind == "message/rfc822" && depth < DEEPEST {
        return shown(&parse_mail(&part.get_body_raw().ok()?).ok()?, depth + 1);
    }
    if depth > 0 && !kind.starts_with("text") {
        return None;
    }
    let charset = part.ctype.charset.as_str();
    let text = match part.get_body_encoded() {
        Body::Base64(body) => decoded(&base64(body.get_raw()), charset),
        Body::QuotedPrintable(body) => decoded(&quoted_printable(body.get_raw()), charset),
        Body::SevenBit(body) | Body::EightBit(body) => literal(body.get_raw(), charset),
        Body::Binary(body) => literal(body.get_raw(), charset),
    };
    let text = visible(&text, is_html(part));
    (!text.trim().is_empty()).then_some(text)
}

fn is_html(part: &ParsedMail) -> bool {
    part.ctype.mimetype == "text/html"
}

fn visible(text: &str, declared: bool) -> String {
    if declared || html::looks_like(text) { html::text(text) } else { text.to_owned() }
}

/// Decodes base64 up to what is none: mailing lists append their lines as they are.
fn base64(body: &[u8]) -> Vec<u8> {
    let letters: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    // Without an incomplete last group.
    let letters = letters.as_chunks::<4>().0.as_flattened();
    let mut bytes = vec![0; letters.len() / 4 * 3];
    let written = match BASE64_MIME_PERMISSIVE.decode_mut(letters, &mut bytes) {
        Ok(written) => written,
        Err(partial) => partial.written,
    };
    bytes.truncate(written);
    bytes
}

/// Decodes quoted-printable text; what is no valid escape stays as it is.
fn quoted_printable(body: &[u8]) -> Vec<u8> {
    // The decoder drops bytes beyond ASCII, which have no place there but occur.
    let mut escaped = Vec::with_capacity(body.len());
    for byte in body {
        match byte.is_ascii() {
            true => escaped.push(*byte),
            false => escaped.extend(format!("={byte:02X}").bytes()),
        }
    }
    ::quoted_printable::decode(&escaped, ParseMode::Robust).unwrap_or_else(|_| body.to_vec())
}

/// A body without transfer encoding is text already, unless its character set is written in ASCII.
fn literal(body: &[u8], charset: &str) -> String {
    match Encoding::for_label(charset.as_bytes()) {
        Some(encoding) if encoding == ISO_2022_JP && body.is_ascii() => decoded(body, charset),
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

/// Text in the character set that its part states, as far as that can be: much mail says us-ascii or nothing, and is
/// UTF-8 or windows-1252.
fn decoded(bytes: &[u8], charset: &str) -> String {
    let stated = Encoding::for_label_no_replacement(charset.as_bytes()).unwrap_or(WINDOWS_1252);
    let strictly = |encoding: &'static Encoding| encoding.decode_without_bom_handling_and_without_replacement(bytes);
    // Hardly any text in a single-byte encoding happens to be valid UTF-8.
    let order = if stated.is_single_byte() { [UTF_8, stated] } else { [stated, UTF_8] };
    let text = order.into_iter().find_map(strictly);
    text.unwrap_or_else(|| WINDOWS_1252.decode_without_bom_handling(bytes).0).into_owned()
}

/// `subject` without the marks of replies, forwards and mailing lists in front.
fn bare(subject: &str) -> &str {
    let mut rest = subject.trim();
    loop {
        let reply = ["re:", "fw:", "fwd:", "aw:"].iter().find(|mark| starts_with(rest, mark));
        let next = match (reply, rest.strip_prefix('[').and_then(|list| list.split_once(']'))) {
            (Some(mark), _) => rest.get(mark.len()..).unwrap_or_default(),
            (None, Some((_, after))) => after,
            _ => return rest,
        };
        rest = next.trim_start();
    }
}

fn starts_with(text: &str, mark: &str) -> bool {
    text.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_subject_and_body_are_kept() {
        let mail = "From a@x Thu Aug 22 12:36:23 2002\nReceived: by collector\n\tfor <zzzz@x>\nSUBJECT: Re: [list] Fwd: the\n  news\nX-Spam: yes\n\nHello\n\n  there\n";
        assert_eq!(readable(mail), "the news Hello there");
        assert_eq!(readable(&mail.replace('\n', "\r\n")), "the news Hello there");
        assert_eq!(readable("Subject: alone"), "alone");
        assert_eq!(readable(""), "");
    }

    #[test]
    fn bodies_are_decoded() {
        let quoted = "Subject: =?iso-8859-1?Q?caf=E9_?= =?UTF-8?B?4oKs?=\nContent-Transfer-Encoding: quoted-printable\n\nna=EFve li=\nne =3D=zz\n";
        assert_eq!(readable(quoted), "café € naïve line ==zz");
        let base64 =
            "Subject: s\nContent-Transfer-Encoding: BASE64\nContent-Type: text/html\n\nPGI+Ym9sZDwvYj4m\nYW1wOw==\n";
        assert_eq!(readable(base64), "s bold&");
    }

    #[test]
    fn plain_text_is_taken_before_html_and_files_are_left_out() {
        let both = "Subject: s\nContent-Type: multipart/alternative;\n boundary=\"b\"\n\npreamble\n--b\nContent-Type: text/html\n\n<p>marked\n--b\nContent-Type: text/plain\n\nplain\n--b--\n";
        assert_eq!(readable(both), "s plain");
        let file = "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\n\nQUJD\n--b\nContent-Type: text/html\n\n<p>marked</p>\n--b--\n";
        assert_eq!(readable(file), "s marked");
        let nested = both.replace("text/plain\n\nplain", "multipart/x; boundary=c\n\n--c\n\ninner\n--c--");
        assert_eq!(readable(&nested), "s inner");
    }

    /// Bytes by Python 3's codecs; the base64 of `"한글 메일".encode("euc-kr")` and `"日本語".encode("iso-2022-jp")`.
    #[test]
    fn character_sets_are_read_as_stated_or_as_they_are() {
        let mail = |charset: &str, encoding: &str, body: &str| {
            let kind = format!("Content-Type: text/plain; charset={charset}");
            readable(&format!("Subject: s\n{kind}\nContent-Transfer-Encoding: {encoding}\n\n{body}\n"))
        };
        assert_eq!(mail("\"EUC-KR\"", "base64", "x9Gx2yC43sDP"), "s 한글 메일");
        assert_eq!(mail("iso-2022-jp", "7bit", "\u{1b}$BF|K\\8l\u{1b}(B"), "s 日本語");
        assert_eq!(mail("iso-8859-1", "quoted-printable", "=93caf=E9=94 =80 5"), "s “café” € 5");
        assert_eq!(mail("us-ascii", "quoted-printable", "caf=C3=A9"), "s café");
        assert_eq!(mail("nonsense", "quoted-printable", "caf=E9"), "s café");
        assert_eq!(mail("utf-8", "quoted-printable", "naïve =E2=82=AC"), "s naïve €");
        // The file's own encoding was decoded when it was read.
        assert_eq!(mail("iso-8859-1", "8bit", "naïve"), "s naïve");
        assert_eq!(mail("utf-8", "base64", "cGxhaW4g\nd29yZHM=\n-- \n_____ list: http://x"), "s plain words");
    }

    #[test]
    fn hostile_messages_end_soon() {
        use std::time::{Duration, Instant};

        let html = |page: String| format!("Content-Type: text/html\n\n{page}");
        let multi = |body: String| format!("Content-Type: multipart/mixed; boundary=b\n\n{body}");
        let many = 1_000_000;
        let nested =
            (0..20_000).fold(String::new(), |deep, _| deep + "--b\nContent-Type: multipart/mixed; boundary=b\n\n");
        let parameters: String = (0..100_000).map(|at| format!(" p{at}*0*=x;\n")).collect();
        for (what, message) in [
            ("ampersands", html("&".repeat(3 * many))),
            ("ampersands and letters", html("&am".repeat(many))),
            ("deep elements", html("<div>".repeat(many))),
            ("open tags", html("<".repeat(3 * many))),
            ("attributes", html(format!("<p {}", "a=b ".repeat(many / 2)))),
            ("open comments", html("<!--".repeat(many))),
            ("scripts", html("<script>".repeat(many / 2))),
            ("parts", multi("--b\n".repeat(many / 5))),
            ("nested parts", multi(nested)),
            ("boundaries in a line", multi("--b".repeat(many))),
            ("marks of words", format!("Subject: {}\n\nx", "=?".repeat(many))),
            ("ends of words", format!("Subject: =?{}\n\nx", "?=x".repeat(many))),
            ("parameters", format!("Content-Type: text/plain;\n{parameters}\nx")),
            ("headers", "a: b\n".repeat(many / 2)),
            ("subject", format!("Subject: {}\n\n", "Re: [".repeat(many / 2))),
        ] {
            let start = Instant::now();
            readable(&message);
            assert!(start.elapsed() < Duration::from_secs(5), "{what}: {:?}", start.elapsed());
        }
    }

    #[test]
    fn odd_messages_neither_panic_nor_loop() {
        for odd in [
            "\n",
            "\n\n\n",
            "Subject",
            ": \n\n",
            "Subject: [\n\n",
            "Subject: =?x?Q?=?=\n\n=",
            "Subject: =?é?=\n\n<",
            "From \n",
        ] {
            readable(odd);
        }
        let mut deep = String::from("end");
        for _ in 0..50 {
            deep = format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n{deep}\n--b--\n");
        }
        readable(&deep);
        readable("Content-Type: multipart/mixed; boundary=\"\"\n\n--\n--\n--\n");
    }
}
