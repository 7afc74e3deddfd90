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
        end(size);
    }
    place
}

/// Says that there is no memory, and ends the process. Nothing in here asks for any.
#[cold]
#[inline(never)]
fn end(size: usize) -> ! {
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
        "error: the system refused {size} bytes of memory, more than is free or than a limit (`ulimit -v`, a control \
         group) leaves; of a training the last checkpoint stands. Make room, or lower train.batch (with train.accumulate \
         the steps stay the same), train.max_tokens or evaluation.batch, or set train.recompute = true; `train --dry-run` \
         tells what a recipe takes"
    );
    let written = room - rest.len();
    crate::output::last_words(&text[..written]);
    std::process::exit(i32::from(OUT_OF_MEMORY))
}
