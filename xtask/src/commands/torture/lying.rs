//! `server`: a Hub that cuts off, lies, stalls and refuses. Either every byte is right in the end, or nothing is
//! installed and the message says what was wrong.
//!
//! The server is the one that the tests of `mtl-hub` have.

#[path = "../../../../crates/hub/tests/fetch/hub.rs"]
#[allow(dead_code, reason = "the tests use what this does not")]
mod hub;
#[path = "../../../../crates/hub/tests/fetch/server.rs"]
#[allow(dead_code, reason = "the tests use what this does not")]
mod server;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use mtl_task::rng::Stream;

use self::hub::{Pair, fetch, files, manifest, visible};
use self::server::{Reply, Request};
use super::harness::Harness;
use super::tally::{Outcome, Point, Tally};

/// Bytes of an endless answer that a client may have taken before it hung up: what fits into the buffers of a
/// connection, many times over.
const ENOUGH: usize = 16 << 20;

/// What has to come of it.
enum Wanted {
    /// Every byte.
    Arrival,
    /// A message that has these words, and nothing else.
    Refusal(&'static str),
}
use Wanted::{Arrival, Refusal};

/// A way to lie, with numbers drawn for it.
type Lie = fn(&mut Stream) -> Pair;

const LIES: &[(&str, Lie, Wanted)] = &[
    ("cut", |stream| at_cdn(cuts(stream, false)), Arrival),
    ("cut, and whole again", |stream| at_cdn(cuts(stream, true)), Arrival),
    ("cut at once, always", |_| at_cdn(|_, reply| Reply { cut: Some(0), ..reply }), Refusal("attempts")),
    ("another byte", flipped, Refusal("hash")),
    ("shorter", |stream| shorter(stream.below(weights())), Refusal("wrong length")),
    ("longer", |stream| longer(1 + stream.below(5000)), Refusal("wrong length")),
    ("without end", |_| at_cdn(|_, reply| Reply { endless: true, ..reply }), Refusal("wrong length")),
    ("a page", |_| at_cdn(|_, _| page()), Refusal("HTML page")),
    ("a page for the Hub", |_| Pair::start(|_, _| page(), |_, reply| reply), Refusal("HF_ENDPOINT")),
    ("a pointer", |_| pointer(), Refusal("git-LFS pointer")),
    ("another part", |stream| other_part(1 + stream.below(9000)), Refusal("on, it sent those from")),
    ("busy", busy, Arrival),
    ("busy for an hour", |_| at_hub(|_, _| Reply::status(503).with("Retry-After", 3600)), Refusal("3600 s")),
    ("down", |_| at_hub(|_, _| Reply::status(500)), Refusal("attempts")),
    ("nothing there", |_| at_hub(|_, _| Reply::status(404)), Refusal("404")),
    ("in a circle", |_| at_hub(|to, _| Reply::status(302).with("Location", &to.path)), Refusal("redirects")),
    ("dripping", |_| at_cdn(|_, reply| Reply { drip: Duration::from_millis(50), ..reply }), Refusal("a second")),
    ("silent", |_| at_cdn(|_, reply| Reply { drip: Duration::from_secs(1), ..reply }), Refusal("given up")),
];

pub(super) fn run(harness: &Harness, points: usize) -> Result<Outcome> {
    let points = harness.each("server", points, point)?;
    let names = ["installed wrongly", "unclear", "sent twice", "without end", "arrived", "refused"];
    Ok(Outcome::Tried(Tally::new(&names, points)))
}

fn point(number: usize, stream: &mut Stream, place: &Path) -> Result<Point> {
    let (name, lie, wanted) = &LIES[number % LIES.len()];
    std::fs::create_dir_all(place)?;
    let pair = lie(stream);
    let mut fetcher = pair.fetcher(place);
    if *name == "dripping" {
        // Each attempt brings a little, so there would be many.
        fetcher.patience.attempts = 1;
    }
    let fetched = fetch(&fetcher, &manifest());
    let installed = visible(&place.join("models/small"));
    let sent: usize = pair.cdn.seen().iter().map(|(_, sent)| sent).sum();
    let said = |(kind, what): (&'static str, String)| (kind, format!("{name}: {what}"));
    let right =
        |folder: &Path| files().iter().all(|(file, bytes)| std::fs::read(folder.join(file)).is_ok_and(|b| b == *bytes));
    let wrong = match (wanted, &fetched) {
        (_, Ok(folder)) if !right(folder) => {
            Some(("installed wrongly", format!("{installed:?} are not what they were")))
        }
        (_, Err(error)) if !installed.is_empty() => {
            Some(("installed wrongly", format!("{installed:?} stand there after: {error}")))
        }
        (Arrival, Err(error)) => Some(("unclear", format!("it gave up: {error}"))),
        (Refusal(_), Ok(_)) => Some(("installed wrongly", "it was content".into())),
        (Refusal(words), Err(error)) if !error.contains(words) => {
            Some(("unclear", format!("no `{words}` in: {error}")))
        }
        _ if sent > ENOUGH => Some(("without end", format!("it took {sent} bytes"))),
        _ if *name == "cut" && sent != weights() => Some(("sent twice", format!("{sent} bytes of {}", weights()))),
        _ => None,
    };
    Ok(Point::of(if fetched.is_ok() { "arrived" } else { "refused" }).judged(wrong.map(said)))
}

/// Bytes of the file that lies at the other origin.
fn weights() -> usize {
    files()["model.safetensors"].len()
}

fn at_cdn(change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Pair {
    Pair::start(|_, reply| reply, change)
}

fn at_hub(change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Pair {
    Pair::start(change, |_, reply| reply)
}

/// Cuts the first answers at random places, each of which brings something; `whole`: and answers ranges with the file.
fn cuts(stream: &mut Stream, whole: bool) -> impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static {
    let mut places: Vec<usize> = (0..5).map(|_| 1 + stream.below(weights() / 8)).collect();
    if whole {
        // Only what goes further than the answer before brings something.
        for at in 1..places.len() {
            places[at] += places[at - 1];
        }
    }
    move |request, reply| Reply { cut: places.get(request.before).copied(), whole, ..reply }
}

fn flipped(stream: &mut Stream) -> Pair {
    let (at, change) = (stream.below(weights()), 1 + stream.below(255) as u8);
    at_cdn(move |_, mut reply| {
        reply.body[at] ^= change;
        reply
    })
}

fn shorter(length: usize) -> Pair {
    at_cdn(move |_, mut reply| {
        reply.body.truncate(length);
        reply
    })
}

fn longer(more: usize) -> Pair {
    at_cdn(move |_, mut reply| {
        reply.body.extend(vec![0; more]);
        reply
    })
}

fn page() -> Reply {
    Reply::of(b"<!DOCTYPE html><p>Please log in").with("Content-Type", "text/html; charset=utf-8")
}

/// Without a size from the Hub, the contents are what gives it away.
fn pointer() -> Pair {
    let unsized_hub = |_: &Request, mut reply: Reply| {
        reply.headers.retain(|(name, _)| name != "X-Linked-Size");
        reply
    };
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 200000\n";
    Pair::start(unsized_hub, |_, _| Reply::of(pointer))
}

fn other_part(by: usize) -> Pair {
    at_cdn(move |request, reply| match (request.before, request.from) {
        (0, _) => Reply { cut: Some(1000), ..reply },
        (_, from) => {
            let from = from.unwrap_or(0) + by;
            let range = format!("bytes {from}-{}/{}", from + 9, weights());
            Reply { status: 206, ..Reply::of(&[0; 10]) }.with("Content-Range", range)
        }
    })
}

/// Not yet, says one or the other, once or twice.
fn busy(stream: &mut Stream) -> Pair {
    let status = [429, 500, 503][stream.below(3)];
    let (first, second) = (stream.below(2), 1 + stream.below(2));
    Pair::start(
        move |request, reply| if request.before < first { Reply::status(status) } else { reply },
        move |request, reply| if request.before < second { Reply::status(status) } else { reply },
    )
}
