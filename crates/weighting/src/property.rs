//! What a rule claims of its direction; `tests/properties.rs` holds every claim, and that nothing unclaimed is true.

/// A property of the map from task gradients to direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// Renaming the tasks renames the weights and leaves the direction.
    PermutationEquivariant,
    /// Multiplying the tasks' losses by positive constants leaves the direction's bearing.
    ScaleInvariant,
    /// The direction is linear in such constants.
    LinearUnderScaling,
    /// No task's loss rises to first order: ⟨gᵢ, d⟩ ≥ 0.
    NonConflicting,
    /// Every unit gradient has the same projection on the direction, for linearly independent gradients.
    EqualProjections,
    /// αᵢ (Gα)ᵢ is the same for every task, for linearly independent gradients.
    NashEquation,
}

impl Property {
    /// Every property.
    pub const ALL: &'static [Self] = &[
        Self::PermutationEquivariant,
        Self::ScaleInvariant,
        Self::LinearUnderScaling,
        Self::NonConflicting,
        Self::EqualProjections,
        Self::NashEquation,
    ];

    /// The column's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::PermutationEquivariant => "permutation-equivariant",
            Self::ScaleInvariant => "scale-invariant",
            Self::LinearUnderScaling => "linear under scaling",
            Self::NonConflicting => "non-conflicting",
            Self::EqualProjections => "equal projections",
            Self::NashEquation => "Nash equation",
        }
    }
}
