//! A split under seal: whatever chooses a checkpoint, a setting or a mask cannot look at it.

use std::sync::OnceLock;
use std::time::SystemTime;

/// Permission to look at a test split.
///
/// Whoever scores a finished model makes one; code that chooses among models has no business with it. So a search of
/// the sources for [`TestKey::final_evaluation`] finds every place where a test split can be opened.
#[derive(Debug)]
pub struct TestKey(());

impl TestKey {
    /// The key of the one evaluation at the end.
    pub fn final_evaluation() -> Self {
        Self(())
    }
}

/// Something that only a [`TestKey`] opens, and that remembers when it was first opened.
#[derive(Debug)]
pub struct Sealed<T> {
    content: T,
    opened: OnceLock<SystemTime>,
}

impl<T> Sealed<T> {
    /// Puts `content` under seal.
    pub fn new(content: T) -> Self {
        Self { content, opened: OnceLock::new() }
    }

    /// Breaks the seal.
    pub fn open(&self, _key: &TestKey) -> &T {
        self.opened.get_or_init(SystemTime::now);
        &self.content
    }

    /// When the seal was broken first, if it was.
    pub fn opened_at(&self) -> Option<SystemTime> {
        self.opened.get().copied()
    }

    /// For counts that leave no trace of a label's value: sizes, lengths, duplicates.
    pub(crate) fn counted(&self) -> &T {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_opening_is_remembered() {
        let sealed = Sealed::new(7);
        assert!(sealed.opened_at().is_none());
        assert_eq!(*sealed.open(&TestKey::final_evaluation()), 7);
        let first = sealed.opened_at();
        sealed.open(&TestKey::final_evaluation());
        assert!(first.is_some() && sealed.opened_at() == first);
    }
}
