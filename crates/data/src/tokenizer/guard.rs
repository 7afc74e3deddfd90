//! Calls into a library that may panic: the panic becomes an error and nothing is printed about it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use anyhow::{Result, anyhow};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What `call` returns, or an error with the reason of its panic.
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T> {
    static QUIET: Once = Once::new();
    // Panics outside of a guarded call are reported as before.
    QUIET.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                report(panic);
            }
        }));
    });
    GUARDED.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(false);
    outcome.map_err(|panic| {
        let reason = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        anyhow!("the tokenizer library gave up: {}", reason.unwrap_or("for no stated reason"))
    })
}
