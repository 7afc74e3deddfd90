//! Buffers that are used again: a step's activations are as large as the last one's, and fresh pages cost more than
//! the arithmetic on them. The one mutable state that calls share.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use super::Real;

/// Idle buffers, the longest idle first.
#[derive(Debug)]
pub struct Pool<T>(Mutex<Vec<Vec<T>>>);

impl<T> Pool<T> {
    /// No buffers yet.
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<T>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A slice borrowed from the pool; dropping it gives it back. Its first contents are arbitrary.
#[derive(Debug)]
pub struct Buffer<T: Real> {
    values: Vec<T>,
    length: usize,
}

impl<T: Real> Buffer<T> {
    /// `length` arbitrary values.
    pub fn new(length: usize) -> Self {
        let mut idle = T::pool().lock();
        let fits = |values: &Vec<T>| (length..=2 * length + 1024).contains(&values.len());
        let best = (0..idle.len()).filter(|&at| fits(&idle[at])).min_by_key(|&at| idle[at].len());
        let values = match best {
            Some(at) => idle.remove(at),
            None => {
                // A buffer that fitted nothing for longest makes room, so there are never more than were once in use.
                let outgrown = (!idle.is_empty()).then(|| idle.remove(0));
                drop(idle);
                drop(outgrown);
                let grain = (length.next_power_of_two() / 8).max(64);
                vec![T::default(); length.next_multiple_of(grain)]
            }
        };
        Self { values, length }
    }

    /// `length` zeros.
    pub fn zeros(length: usize) -> Self {
        let mut buffer = Self::new(length);
        buffer.fill(T::default());
        buffer
    }
}

impl<T: Real> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[..self.length]
    }
}

impl<T: Real> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[..self.length]
    }
}

impl<T: Real> Drop for Buffer<T> {
    fn drop(&mut self) {
        T::pool().lock().push(std::mem::take(&mut self.values));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_serves_the_next_call_and_two_at_once_are_two() {
        // A size that no other test asks for: the pool is shared.
        let mut first = Buffer::<f64>::new(7_777_777);
        first.fill(3.);
        let second = Buffer::<f64>::new(7_777_777);
        assert_ne!(first.as_ptr(), second.as_ptr());
        let place = first.as_ptr();
        drop(first);
        let third = Buffer::<f64>::zeros(7_000_000);
        assert_eq!(third.as_ptr(), place);
        assert_eq!(third.len(), 7_000_000);
        assert!(third.iter().all(|&value| value == 0.));
    }
}
