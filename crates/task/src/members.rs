//! Registries: members by name, the built-in ones by default, and those that a program adds of its own.
//!
//! A registry is a value. Whoever looks a member up is given the registry, so that a program outside of this workspace
//! can hand over one with its own strategy, rule or metric in it:
//!
//! ```
//! use mtl_task::{Member, Registry};
//!
//! #[derive(Clone)]
//! struct Shape(&'static str);
//! impl Member for Shape {
//!     const KIND: &'static str = "shape";
//!     fn built_in() -> Vec<Self> {
//!         vec![Self("circle"), Self("square")]
//!     }
//!     fn name(&self) -> &str {
//!         self.0
//!     }
//! }
//!
//! let shapes = Registry::<Shape>::default().with(Shape("hexagon")).expect("a new name");
//! assert!(shapes.find("hexagon").is_ok());
//! let error = shapes.find("cirle").err().expect("no such shape").to_string();
//! assert_eq!(error, "unknown shape `cirle` (did you mean `circle`?); there are circle, hexagon, square");
//! ```

use anyhow::{Result, bail};

use crate::nearest;

/// What a registry holds.
pub trait Member: Sized {
    /// What a member is called in messages, such as "strategy".
    const KIND: &'static str;

    /// The members that come with this workspace.
    fn built_in() -> Vec<Self>;

    /// The name that a recipe uses.
    fn name(&self) -> &str;

    /// Other names for it.
    fn aliases(&self) -> &[&str] {
        &[]
    }
}

/// Members by name, sorted.
#[derive(Clone, Debug)]
pub struct Registry<M> {
    members: Vec<M>,
}

impl<M: Member> Default for Registry<M> {
    /// The built-in members.
    fn default() -> Self {
        let mut members = M::built_in();
        members.sort_by(|a, b| a.name().cmp(b.name()));
        Self { members }
    }
}

impl<M: Member> Registry<M> {
    /// The same registry with `member` in it.
    ///
    /// # Errors
    /// If the name, or one of its other names, is empty or belongs to a member already.
    pub fn with(mut self, member: M) -> Result<Self> {
        for name in names_of(&member) {
            if name.is_empty() {
                bail!("a {} needs a name", M::KIND);
            }
            if let Some(taken) = self.members.iter().find(|known| names_of(*known).any(|other| other == name)) {
                bail!("the name `{name}` belongs to the {} `{}` already; choose another one", M::KIND, taken.name());
            }
        }
        let at = self.members.partition_point(|known| known.name() < member.name());
        self.members.insert(at, member);
        Ok(self)
    }

    /// The member called `name`, or one that has it as another name.
    ///
    /// # Errors
    /// If there is none; names the nearest.
    pub fn find(&self, name: &str) -> Result<&M> {
        if let Some(found) = self.members.iter().find(|member| names_of(*member).any(|known| known == name)) {
            return Ok(found);
        }
        let all = self.members.iter().flat_map(names_of);
        bail!("unknown {} `{name}`{}; there are {}", M::KIND, nearest(name, all), self.names().join(", "))
    }

    /// The members, by name.
    pub fn iter(&self) -> std::slice::Iter<'_, M> {
        self.members.iter()
    }

    /// Their names, sorted; other names are left out.
    pub fn names(&self) -> Vec<&str> {
        self.members.iter().map(Member::name).collect()
    }
}

impl<'a, M: Member> IntoIterator for &'a Registry<M> {
    type Item = &'a M;
    type IntoIter = std::slice::Iter<'a, M>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn names_of<M: Member>(member: &M) -> impl Iterator<Item = &str> {
    std::iter::once(member.name()).chain(member.aliases().iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Fruit(&'static str, &'static [&'static str]);

    impl Member for Fruit {
        const KIND: &'static str = "fruit";

        fn built_in() -> Vec<Self> {
            vec![Self("pear", &[]), Self("apple", &["pomme"])]
        }

        fn name(&self) -> &str {
            self.0
        }

        fn aliases(&self) -> &[&str] {
            self.1
        }
    }

    #[test]
    fn a_registry_is_sorted_and_takes_members_with_new_names_only() {
        let fruits = Registry::<Fruit>::default().with(Fruit("orange", &[])).expect("new");
        assert_eq!(fruits.names(), ["apple", "orange", "pear"]);
        assert_eq!(fruits.find("pomme").expect("another name").0, "apple");
        for taken in [Fruit("pear", &[]), Fruit("pomme", &[]), Fruit("lime", &["apple"])] {
            let error = fruits.clone().with(taken).expect_err("taken").to_string();
            assert!(error.contains("already"), "{error}");
        }
        assert!(fruits.with(Fruit("", &[])).is_err());
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_of_all_that_are_in_it() {
        let with = Registry::<Fruit>::default().with(Fruit("orange", &[])).expect("new");
        let error = with.find("orang").expect_err("not there").to_string();
        assert_eq!(error, "unknown fruit `orang` (did you mean `orange`?); there are apple, orange, pear");
        let error = Registry::<Fruit>::default().find("orang").expect_err("not there").to_string();
        assert!(!error.contains("`orange`"), "{error}");
    }
}
