//! Servers that cut off, lie, stall and refuse: no wrong byte is installed, and no byte that arrived is asked for again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mtl_task::rng::Key;

use crate::hub::{COMMIT, Pair, assert_right, fetch, files, manifest, visible};
use crate::server::{Reply, Request};

fn weights() -> Vec<u8> {
    files().remove("model.safetensors").expect("weights")
}

/// The error of a fetch from `pair`, which has to install nothing.
fn refused(pair: &Pair) -> String {
    let root = tempfile::tempdir().expect("a folder");
    let error = fetch(&pair.fetcher(root.path()), &manifest()).expect_err("refused");
    assert!(visible(&root.path().join("models/small")).is_empty(), "nothing is installed");
    error
}

fn at_cdn(change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Pair {
    Pair::start(|_, reply| reply, change)
}

#[test]
fn a_stream_cut_at_fifty_places_arrives_without_a_byte_sent_twice() {
    let size = weights().len();
    let pair = at_cdn(move |request, mut reply| {
        // Anything from nothing to a twentieth of the file.
        let mut random = Key::new(7).with(request.before as u64).stream();
        reply.cut = (request.before < 50).then(|| random.below(size / 20));
        reply
    });
    let root = tempfile::tempdir().expect("a folder");
    let mut fetcher = pair.fetcher(root.path());
    fetcher.patience.attempts = 5;
    assert_right(&fetch(&fetcher, &manifest()).expect("fetched"));
    let sent: usize = pair.cdn.seen().iter().map(|(_, sent)| sent).sum();
    assert!(pair.cdn.gets() > 20, "{} requests", pair.cdn.gets());
    assert_eq!(sent, size);
}

#[test]
fn a_later_run_goes_on_where_an_earlier_one_broke_off() {
    let pair = at_cdn(|request, mut reply| {
        reply.cut = (request.before == 0).then_some(70_000);
        reply
    });
    let root = tempfile::tempdir().expect("a folder");
    let mut hasty = pair.fetcher(root.path());
    hasty.patience.attempts = 1;
    let error = fetch(&hasty, &manifest()).expect_err("cut off");
    assert!(error.contains("model.safetensors") && error.contains("70000"), "{error}");
    assert_right(&fetch(&pair.fetcher(root.path()), &manifest()).expect("fetched"));
    assert_eq!(pair.cdn.seen()[1].0.from, Some(70_000));
}

#[test]
fn a_server_that_answers_a_range_with_the_whole_file_is_understood() {
    let pair = at_cdn(|request, mut reply| {
        reply.whole = true;
        reply.cut = (request.before < 2).then_some(60_000 + 20_000 * request.before);
        reply
    });
    let root = tempfile::tempdir().expect("a folder");
    assert_right(&fetch(&pair.fetcher(root.path()), &manifest()).expect("fetched"));
}

#[test]
fn wrong_bytes_wrong_lengths_and_other_things_than_the_file_are_refused() {
    let flipped = at_cdn(|_, mut reply| {
        reply.body[100_000] ^= 1;
        reply
    });
    let error = refused(&flipped);
    assert!(error.contains("model.safetensors") && error.contains("hash"), "{error}");

    let shorter = at_cdn(|_, mut reply| {
        reply.body.truncate(150_000);
        reply
    });
    assert!(refused(&shorter).contains("wrong length: it offers 150000 bytes of a file of 200000"));
    let longer = at_cdn(|_, mut reply| {
        reply.body.push(0);
        reply
    });
    assert!(refused(&longer).contains("wrong length"));

    let page =
        at_cdn(|_, _| Reply::of(b"<!DOCTYPE html><p>Please log in").with("Content-Type", "text/html; charset=utf-8"));
    assert!(refused(&page).contains("HTML page"));
    // Without a size from the Hub, the contents are what gives it away.
    let unsized_hub = |_: &Request, mut reply: Reply| {
        reply.headers.retain(|(name, _)| name != "X-Linked-Size");
        reply
    };
    let page = Pair::start(unsized_hub, |_, _| Reply::of(b"  <HTML>Please log in"));
    assert!(refused(&page).contains("HTML page"));
    let pointer = Pair::start(unsized_hub, |_, _| {
        Reply::of(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 200000\n")
    });
    assert!(refused(&pointer).contains("git-LFS pointer"));
    let other_part = at_cdn(|request, reply| match request.before {
        0 => Reply { cut: Some(1000), ..reply },
        _ => Reply { status: 206, ..Reply::of(&[0; 10]) }.with("Content-Range", "bytes 5000-5009/200000"),
    });
    assert!(refused(&other_part).contains("from 5000 on"));
}

#[test]
fn a_stream_without_end_is_cut() {
    let endless = |_: &Request, reply: Reply| Reply { endless: true, ..reply };
    // The socket may hold some MB that nobody has read.
    let sent = |pair: &Pair| pair.cdn.seen().iter().map(|(_, sent)| *sent).sum::<usize>();
    let promised = at_cdn(endless);
    let error = refused(&promised);
    assert!(error.contains("model.safetensors") && error.contains("more than the 200000 bytes"), "{error}");
    assert_eq!(promised.cdn.gets(), 1, "asking again would not help");
    assert!(sent(&promised) < 32 << 20, "{}", sent(&promised));

    let unsized_hub = |_: &Request, mut reply: Reply| {
        reply.headers.retain(|(name, _)| name != "X-Linked-Size");
        reply
    };
    let pair = Pair::start(unsized_hub, endless);
    let root = tempfile::tempdir().expect("a folder");
    let error = fetch(&pair.fetcher(root.path()), &manifest()).expect_err("cut");
    assert!(error.contains("says no length") && error.contains("1048576 bytes"), "{error}");
    assert!(sent(&pair) < 32 << 20, "{}", sent(&pair));
    let partial = root.path().join("models/small/.partial/model.safetensors.part");
    assert_eq!(std::fs::metadata(partial).map_or(0, |found| found.len()), 0, "nothing of it is kept");
    let huge = Pair::start(unsized_hub, |_, reply| reply.with("Content-Length", 1_u64 << 50));
    assert!(refused(&huge).contains("1125899906842624 bytes, where a file may have 1048576"));
}

#[test]
fn a_server_that_is_no_hub_or_has_no_such_file_is_named() {
    let missing = Pair::start(|_, _| Reply::status(404).with("X-Error-Message", "Entry not found"), |_, reply| reply);
    let error = refused(&missing);
    assert!(error.contains("404") && error.contains("config.json") && error.contains("Entry not found"), "{error}");
    let portal = Pair::start(|_, _| Reply::of(b"<html>"), |_, reply| reply);
    assert!(refused(&portal).contains("HF_ENDPOINT"));
    let circle = Pair::start(|request, _| Reply::status(302).with("Location", &request.path), |_, reply| reply);
    assert!(refused(&circle).contains("more than 5 redirects"));
    assert_eq!(circle.hub.seen().len(), 6);

    let nobody = tempfile::tempdir().expect("a folder");
    let fetcher = crate::hub::fetcher("http://127.0.0.1:9", nobody.path());
    let error = fetch(&fetcher, &manifest()).expect_err("nobody listens there");
    assert!(error.contains("cannot reach 127.0.0.1"), "{error}");
}

#[test]
fn a_busy_server_is_asked_again_when_it_says_so() {
    for status in [429, 500, 503] {
        let pair = Pair::start(
            move |request, reply| {
                if request.before == 0 { Reply::status(status).with("Retry-After", 1) } else { reply }
            },
            move |request, reply| if request.before < 2 { Reply::status(status) } else { reply },
        );
        let root = tempfile::tempdir().expect("a folder");
        let began = Instant::now();
        assert_right(&fetch(&pair.fetcher(root.path()), &manifest()).expect("fetched"));
        assert!(began.elapsed() >= Duration::from_secs(1), "the server asked for a second");
    }
    let closed = Pair::start(|_, _| Reply::status(503).with("Retry-After", 3600), |_, reply| reply);
    let error = refused(&closed);
    assert!(error.contains("503") && error.contains("3600 s"), "{error}");
    assert_eq!(closed.hub.seen().len(), 1);
    let down = Pair::start(|_, _| Reply::status(500), |_, reply| reply);
    assert!(refused(&down).contains("3 attempts"));
    assert_eq!(down.hub.seen().len(), 3);
}

#[test]
fn a_server_that_stalls_or_drips_is_given_up() {
    let silent = at_cdn(|_, reply| Reply { drip: Duration::from_secs(1), ..reply });
    let error = refused(&silent);
    assert!(error.contains("model.safetensors") && error.contains("given up"), "{error}");
    let dripping = at_cdn(|_, reply| Reply { drip: Duration::from_millis(50), ..reply });
    let root = tempfile::tempdir().expect("a folder");
    let mut fetcher = dripping.fetcher(root.path());
    fetcher.patience.attempts = 1;
    let error = fetch(&fetcher, &manifest()).expect_err("too slow");
    assert!(error.contains("KiB a second"), "{error}");
}

#[test]
fn a_file_that_changes_at_its_source_is_noticed() {
    let changed = std::sync::Arc::new(AtomicBool::new(false));
    let (at_hub, at_cdn) = (changed.clone(), changed.clone());
    let other = |mut reply: Reply| {
        reply.body.iter_mut().for_each(|byte| *byte ^= 0x55);
        reply
    };
    // The Hub, too, tells another hash then, so that only the ledger knows better.
    let pair = Pair::start(
        move |_, reply| match at_hub.load(Ordering::SeqCst) && reply.status == 307 {
            true if reply.headers.iter().any(|(name, _)| name == "X-Linked-Etag") => {
                reply.with("X-Linked-Etag", format!("\"{}\"", "ab".repeat(32)))
            }
            _ => reply,
        },
        move |_, reply| if at_cdn.load(Ordering::SeqCst) { other(reply) } else { reply },
    );
    let root = tempfile::tempdir().expect("a folder");
    let folder = fetch(&pair.fetcher(root.path()), &manifest()).expect("fetched");
    let asked = pair.hub.seen().len();
    std::fs::write(folder.join("model.safetensors"), b"overwritten").expect("written");
    assert_right(&fetch(&pair.fetcher(root.path()), &manifest()).expect("fetched again"));
    let again = &pair.hub.seen()[asked..];
    assert!(again.iter().all(|(request, _)| request.path.contains(COMMIT)), "the revision stays the one first seen");

    changed.store(true, Ordering::SeqCst);
    std::fs::remove_dir_all(&folder).expect("removed");
    let error = fetch(&pair.fetcher(root.path()), &manifest()).expect_err("changed");
    assert!(error.contains("model.safetensors") && error.contains("as expected"), "{error}");
    assert!(visible(&folder).is_empty());
}
