//! The readable text of an internet message (RFC 5322, MIME): its subject, and its body as a reader would see it.
//!
//! A mail's other headers say who collected it and when, which gives the labels of a spam corpus away; they are left
//! out. So are the marks on a subject that tell a reply or a mailing list: those, too, say where it was collected.

mod html;
mod transfer;

use std::borrow::Cow;

/// Multipart messages within multipart messages are followed so deep.
const DEEPEST: usize = 6;

/// Subject and body of `message` on one line, white space as single spaces.
pub fn readable(message: &str) -> String {
    let message = message.replace("\r\n", "\n");
    // Mailboxes put a line `From sender date` in front.
    let message = match message.split_once('\n') {
        Some((first, rest)) if first.starts_with("From ") => rest,
        _ => &message,
    };
    let part = Part::of(message);
    let subject = transfer::words(part.header("subject").as_deref().unwrap_or_default());
    let body = part.text(0).unwrap_or_default();
    format!("{} {body}", bare(&subject)).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A message, or one part of it.
struct Part<'a> {
    headers: &'a str,
    body: &'a str,
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Self {
        // A part may begin with its body at once, after an empty line.
        if let Some(body) = text.strip_prefix('\n') {
            return Self { headers: "", body };
        }
        let (headers, body) = text.split_once("\n\n").unwrap_or((text, ""));
        Self { headers, body }
    }

    /// The first header `name`, its continuation lines joined.
    fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.headers.lines();
        let mut value = loop {
            let (found, value) = lines.next()?.split_once(':').unwrap_or_default();
            if found.trim().eq_ignore_ascii_case(name) {
                break value.trim().to_owned();
            }
        };
        for line in lines.take_while(|line| line.starts_with([' ', '\t'])) {
            value.push(' ');
            value.push_str(line.trim());
        }
        Some(value)
    }

    /// The text that a reader sees: plain text rather than HTML where a message has both.
    fn text(&self, depth: usize) -> Option<String> {
        let kind = self.header("content-type").unwrap_or_default();
        let name = kind.split(';').next().unwrap_or_default().trim().to_lowercase();
        if name.starts_with("multipart/") && depth < DEEPEST {
            let boundary = parameter(&kind, "boundary")?;
            let parts = self.parts(&boundary);
            let plain = parts.iter().filter(|part| !part.is_html()).find_map(|part| part.text(depth + 1));
            return plain.or_else(|| parts.iter().find_map(|part| part.text(depth + 1)));
        }
        let inner = name.is_empty() || name == "message/rfc822" || name.starts_with("text");
        if depth > 0 && !inner {
            return None;
        }
        if name == "message/rfc822" {
            return Part::of(self.body).text(depth + 1);
        }
        let encoding = self.header("content-transfer-encoding").unwrap_or_default();
        let body = match encoding.trim().to_lowercase().as_str() {
            "quoted-printable" => Cow::from(transfer::quoted_printable(self.body)),
            "base64" => Cow::from(transfer::base64(self.body)),
            _ => Cow::from(self.body),
        };
        let text = if self.is_html() || html::looks_like(&body) { html::text(&body) } else { body.into_owned() };
        (!text.trim().is_empty()).then_some(text)
    }

    fn is_html(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.to_lowercase().starts_with("text/html"))
    }

    /// The parts between lines that hold `--boundary`.
    fn parts(&self, boundary: &str) -> Vec<Part<'a>> {
        let line = format!("--{boundary}");
        let mut starts = Vec::new();
        let mut at = 0;
        for text in self.body.split_inclusive('\n') {
            if text.starts_with(&line) {
                starts.push((at, at + text.len()));
            }
            at += text.len();
        }
        let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([self.body.len()]);
        starts.iter().zip(ends).map(|((_, start), end)| Part::of(&self.body[*start..end])).collect()
    }
}

/// The value of `name=` in a header.
fn parameter(header: &str, name: &str) -> Option<String> {
    header.split(';').skip(1).find_map(|piece| {
        let (found, value) = piece.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// `subject` without the marks of replies, forwards and mailing lists in front.
fn bare(subject: &str) -> &str {
    let mut rest = subject.trim();
    loop {
        let reply = ["re:", "fw:", "fwd:", "aw:"].iter().find(|mark| starts_with(rest, mark));
        let next = match (reply, rest.strip_prefix('[').and_then(|list| list.split_once(']'))) {
            (Some(mark), _) => &rest[mark.len()..],
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
