//! What happens when memory runs out all the same: one sentence and an exit code, where Rust would abort.
//!
//! [`memory`](mtl_train::memory) refuses beforehand what cannot fit. Where a limit is met in spite of that, because
//! others take memory too or an estimate was too low, an allocation fails; nobody who asked for it could go on without.
//! A run's last checkpoint stands whatever happens, so that the process ends at once, from here.

#![allow(unsafe_code, reason = "an allocator can be written in no other way; it hands every request to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a process exits with that the system refused memory: EX_OSERR of sysexits.h.
pub const OUT_OF_MEMORY: u8 = 71;

/// The system's allocator; a request that it refuses ends the process with a sentence on standard error and
/// [`OUT_OF_MEMORY`]. For the binary, which says `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocator;

// SAFETY: every method hands its arguments to the system's allocator, whose contract is this one's, and returns what that
// returned; null never comes back.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise for `layout` is the one that the system's allocator asks for.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: `place` came from the system's allocator by `layout`, as everything that this one gives.
        given(unsafe { System.realloc(place, layout, size) }, size)
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[inline(always)]
fn given(place: *mut u8, size: usize) -> *mut u8 {
    if place.is_null() {
        end(format_args!("{size} bytes of memory"));
    }
    place
}

/// From now on a thread that the system refuses, for want of memory for its stack or by a limit of their number, ends the
/// process as refused memory does: libraries panic there, some of them in threads that others wait for.
pub(crate) fn watch_threads() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload();
        let message =
            said.downcast_ref::<&str>().copied().or_else(|| said.downcast_ref::<String>().map(String::as_str));
        if message.is_some_and(is_refusal) {
            end(format_args!("a thread"));
        }
        before(panic);
    }));
}

/// Whether a panic's message quotes an error of the system that says that something is used up.
fn is_refusal(message: &str) -> bool {
    message.contains("Os {") && ["kind: WouldBlock", "kind: OutOfMemory"].iter().any(|kind| message.contains(kind))
}

/// Says what the system refused, and ends the process. Nothing in here asks for memory.
#[cold]
#[inline(never)]
fn end(what: std::fmt::Arguments) -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    if ENDING.swap(true, Ordering::SeqCst) {
        // Another thread says it, and ends this one too.
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    let mut text = [0u8; 640];
    let room = text.len();
    let mut rest = text.as_mut_slice();
    let _ = writeln!(
        rest,
        "error: the system refused {what}: more than the memory that is free, or than a limit (`ulimit`, a control group) \
         leaves; of a training the last checkpoint stands. Make room, or lower train.batch (with train.accumulate \
         the steps stay the same), train.max_tokens or evaluation.batch, or set train.recompute = true; `train --dry-run` \
         tells what a recipe takes"
    );
    let written = room - rest.len();
    last_words(&text[..written]);
    // Without what a usual end does first: it may want memory, or a lock.
    signal_hook::low_level::exit(i32::from(OUT_OF_MEMORY))
}

/// Writes `bytes` to standard error past its lock, which a thread may hold that waits for the end.
#[cfg(unix)]
fn last_words(bytes: &[u8]) {
    use std::os::fd::FromRawFd;
    // SAFETY: 2 is standard error, which is open or where writing fails; the file is not dropped, so that nothing closes it.
    let error = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(2) });
    let _ = (&*error).write_all(bytes);
}

#[cfg(not(unix))]
use crate::output::last_words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_the_system_are_told_from_other_panics() {
        for code in [11, 12] {
            let message = format!("failed to spawn thread: {:?}", std::io::Error::from_raw_os_error(code));
            assert_eq!(is_refusal(&message), cfg!(target_os = "linux"), "{message}");
        }
        for message in ["index out of bounds: the len is 3 but the index is 3", "a line of text: kind: WouldBlock"] {
            assert!(!is_refusal(message), "{message}");
        }
    }
}
