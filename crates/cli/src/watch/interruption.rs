//! How a training or a comparison is asked to stop: by signals, and of a child by its parent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
#[cfg(unix)]
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGUSR1};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Those of a terminal that is typed at or closed, of `kill`, and of schedulers before they take the machine away.
#[cfg(unix)]
const SIGNALS: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1];
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// What a shell adds to the number of the signal that ended a command.
const ENDED_BY: i32 = 128;

/// Whether somebody asks to stop after the current step.
pub(super) struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// From now on, the first signal asks, and the second one ends the process.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn listen() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let signals: Vec<i32> = SIGNALS.into_iter().filter(|&signal| !is_kept_away(signal)).collect();
        // A flag for every signal, as asking in another way is no first signal. Two signals may be handled at the same
        // time by two threads: each first sets its own flag and then looks at the others', so that one of the two sees
        // that it is the second.
        let arrived: Vec<Arc<AtomicBool>> = signals.iter().map(|_| Arc::new(AtomicBool::new(false))).collect();
        for (&signal, own) in signals.iter().zip(&arrived) {
            flag::register_conditional_shutdown(signal, ENDED_BY + signal, own.clone())?;
            flag::register(signal, own.clone())?;
            for other in arrived.iter().filter(|other| !Arc::ptr_eq(other, own)) {
                flag::register_conditional_shutdown(signal, ENDED_BY + signal, other.clone())?;
            }
            flag::register(signal, asked.clone())?;
        }
        Ok(Self(asked))
    }

    /// From now on, the end of standard input asks too: so a parent stops its children, wherever a signal was sent to,
    /// and even when it is killed.
    pub(super) fn listen_for_eof(&self) {
        let asked = self.0.clone();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            asked.store(true, Ordering::Relaxed);
        });
    }

    /// Whether somebody asked.
    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether `signal` is SIGHUP, and the process was started to live on when its terminal is closed, as by `nohup`.
#[cfg(target_os = "linux")]
fn is_kept_away(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    signal == SIGHUP && mask & (1 << (signal - 1)) != 0
}

/// Elsewhere it cannot be told without calls that may go wrong: there `nohup` saves, and stops.
#[cfg(not(target_os = "linux"))]
fn is_kept_away(_: i32) -> bool {
    false
}
