//! Valid files with bytes and tokens changed, cut, doubled, swapped, spliced, and with a part many times over. A mutation is a function of target, seed
//! and case, so that it can be made again.

use mtl_task::rng::{Key, Stream};

use crate::Target;
use crate::corpus::Seed;

/// No input is longer: what a parser makes of much is a question of its own.
const LONGEST: usize = 1 << 20;

/// What no format expects.
pub const ODD: [&[u8]; 24] = [
    b"",
    b"\"",
    b"\"\"",
    b"\n\n",
    b"\r",
    b"-1",
    b"0",
    b"1e999",
    b"4294967295",
    b"9223372036854775807",
    b"18446744073709551616",
    b"NaN",
    b"null",
    b"\\u0000",
    b"\\ud800",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc2\xa0",
    b"\xed\x95\x9c",
    b"[[[[[[[[",
    b"{\"a\":",
    b"&#x110000;",
    b"--b",
    b"=?utf-8?B?",
];

/// The input of `target` in `case` under `seed`: first each of `seeds` as it is, then mutations of them.
pub fn input(target: &Target, seeds: &[Seed], seed: u64, case: u64) -> Vec<u8> {
    if let Some(known) = usize::try_from(case).ok().and_then(|case| seeds.get(case)) {
        return known.bytes.to_vec();
    }
    if seeds.is_empty() {
        return Vec::new();
    }
    let mut stream = Key::new(seed).named("fuzz").named(target.name).with(case).stream();
    let words: Vec<&[u8]> = ODD.iter().chain(target.dictionary).copied().collect();
    let valid = seeds[stream.below(seeds.len())].bytes;
    let mut bytes = valid.to_vec();
    match stream.below(12) {
        0..=3 => bytes_changed(&mut bytes, &mut stream),
        4..=7 => bytes = tokens_changed(&bytes, &words, &mut stream),
        8 => {
            bytes = tokens_changed(&bytes, &words, &mut stream);
            bytes_changed(&mut bytes, &mut stream);
        }
        9 => bytes = multiplied(&bytes, &mut stream),
        10 => {
            bytes = multiplied(&bytes, &mut stream);
            bytes_changed(&mut bytes, &mut stream);
        }
        _ => {
            let other = seeds[stream.below(seeds.len())].bytes;
            bytes.truncate(stream.below(bytes.len() + 1));
            bytes.extend_from_slice(&other[stream.below(other.len() + 1)..]);
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Up to four changes of bytes.
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

/// Up to four changes of tokens: runs of letters and digits, and every other byte by itself.
fn tokens_changed(bytes: &[u8], words: &[&[u8]], stream: &mut Stream) -> Vec<u8> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    let mut tokens: Vec<Vec<u8>> = bytes.chunk_by(|a, b| letter(*a) && letter(*b)).map(<[u8]>::to_vec).collect();
    for _ in 0..=stream.below(3) {
        if tokens.is_empty() {
            break;
        }
        let (one, other) = (stream.below(tokens.len()), stream.below(tokens.len()));
        match stream.below(7) {
            0 => tokens.swap(one, other),
            1 => drop(tokens.remove(one)),
            2 => tokens.insert(other, tokens[one].clone()),
            3 => tokens[one] = words[stream.below(words.len())].to_vec(),
            4 => tokens.insert(one, words[stream.below(words.len())].to_vec()),
            5 => lines_changed(&mut tokens, one, stream),
            _ => tokens[one] = tokens[one].repeat(1 + stream.below(2000)),
        }
    }
    tokens.concat()
}

/// A line or an item of a list up to some thousand times, each time with another number in it: what a parser does for
/// each pair of them takes long.
fn multiplied(bytes: &[u8], stream: &mut Stream) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let (at, ends) = (stream.below(bytes.len()), b"\n\n,;"[stream.below(4)]);
    let start = bytes[..at].iter().rposition(|byte| *byte == ends).map_or(0, |end| end + 1);
    let end = bytes[at..].iter().position(|byte| *byte == ends).map_or(bytes.len(), |end| at + end + 1);
    let (before, after) = bytes[start..end].split_at(stream.below(end - start));
    let times = (1 << stream.below(14)).min(LONGEST / 4 / (end - start + 5));
    let mut all = bytes[..start].to_vec();
    for number in 0..times {
        all.extend_from_slice(before);
        all.extend_from_slice(number.to_string().as_bytes());
        all.extend_from_slice(after);
    }
    all.extend_from_slice(&bytes[end..]);
    all
}

/// The line of the token at `at` doubled, or left out.
fn lines_changed(tokens: &mut Vec<Vec<u8>>, at: usize, stream: &mut Stream) {
    let ends = |token: &Vec<u8>| token == b"\n";
    let start = tokens[..at].iter().rposition(ends).map_or(0, |end| end + 1);
    let end = tokens[at..].iter().position(ends).map_or(tokens.len(), |end| at + end + 1);
    let line: Vec<Vec<u8>> = tokens[start..end].to_vec();
    match stream.below(2) {
        0 => drop(tokens.splice(start..start, line)),
        _ => drop(tokens.drain(start..end)),
    }
}
