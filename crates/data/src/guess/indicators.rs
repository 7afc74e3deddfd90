//! Columns of 0 and 1 that together are a set of labels.

use super::columns::LabelGuess;
use super::profile::Profile;
use crate::rows::indicator;

/// Fewer columns than these are classes of their own: two of them say yes and no to two questions.
const FEWEST: usize = 3;

/// Whether `profile` says of every row whether a label holds.
fn indicates(profile: &Profile) -> bool {
    profile.lists.is_empty()
        && profile.texts.len() == profile.rows
        && profile.counts.keys().all(|text| indicator(text).is_some())
}

/// Takes the columns of 0 and 1 out of `columns` where they are enough for a set; answers the set, and says what it is.
pub(super) fn taken<'a>(columns: &mut Vec<&Profile<'a>>, notes: &mut Vec<String>) -> Option<LabelGuess> {
    let (set, others): (Vec<&Profile>, Vec<&Profile>) = columns.iter().partition(|profile| indicates(profile));
    if set.len() < FEWEST {
        return None;
    }
    *columns = others;
    let names: Vec<String> = set.iter().map(|profile| profile.name.to_string()).collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    notes.push(format!(
        "{} hold 0 and 1 and are taken for one set of labels; if each is a question of its own, write a \
         [[columns.labels]] of kind classification for each in place of `indicators`",
        quoted.join(", ")
    ));
    let rows = set.first().map_or(0, |profile| profile.rows);
    let holding = |profile: &Profile| -> usize {
        profile.counts.iter().filter(|(text, _)| indicator(text) == Some(true)).map(|(_, count)| count).sum()
    };
    let held: usize = set.iter().map(|profile| holding(profile)).sum();
    Some(LabelGuess {
        column: "labels".into(),
        kind: "multilabel",
        separator: None,
        missing: 0,
        about: format!("{} indicators, {:.2} of them hold in a row", names.len(), held as f64 / rows.max(1) as f64),
        indicators: names,
    })
}
