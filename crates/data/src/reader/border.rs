//! Panics of foreign parsers end at this border: they become errors, and nothing is printed.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use anyhow::{Result, anyhow};

thread_local! {
    /// Whether this thread is inside a parser.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Leaves a parser, also by a panic.
struct Leave(bool);

impl Drop for Leave {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// What `parse` returns; a panic in it is an error that says so. `parse` keeps nothing that a panic could leave half
/// done.
pub(crate) fn contained<T>(parse: impl FnOnce() -> T) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !INSIDE.get() {
                usual(panic);
            }
        }));
    });
    let leave = Leave(INSIDE.replace(true));
    let parsed = catch_unwind(AssertUnwindSafe(parse));
    drop(leave);
    parsed.map_err(|payload| {
        anyhow!("the parser gave up ({}): the content is damaged, or not of this format", said(payload.as_ref()))
    })
}

fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_and_the_border_stays_open() {
        let error = contained(|| -> usize { panic!("index {} out of range", 7) }).expect_err("a panic").to_string();
        assert!(error.contains("index 7 out of range") && error.contains("damaged"), "{error}");
        assert_eq!(contained(|| contained(|| 3).expect("no panic") + 1).expect("no panic"), 4);
        assert!(!INSIDE.get());
    }
}
