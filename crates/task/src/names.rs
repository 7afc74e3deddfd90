//! Members of a registry by name, and names that come close to one that is not there.

use anyhow::{Result, bail};

/// " (did you mean `x`?)" if some name is close to `found`, else nothing.
pub fn nearest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default()
}

/// The member of a registry called `name`; `what` is what a member is.
///
/// # Errors
/// If there is none: names the nearest, and all that there are.
pub fn member<'a, T>(what: &str, name: &str, members: &'a [T], called: fn(&T) -> &str) -> Result<&'a T> {
    if let Some(found) = members.iter().find(|member| called(member) == name) {
        return Ok(found);
    }
    let names: Vec<&str> = members.iter().map(called).collect();
    bail!("unknown {what} `{name}`{}; there are {}", nearest(name, names.iter().copied()), names.join(", "))
}

/// The index of `name` in `names`, or an error that lists them.
#[cfg(feature = "candle")]
pub(crate) fn index_of(name: &str, names: &[String], what: &str) -> Result<u32> {
    if let Some(index) = names.iter().position(|known| known == name) {
        return Ok(index as u32);
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let shown = known.iter().take(12).copied().collect::<Vec<_>>().join(", ");
    let more = if known.len() > 12 { format!(", … ({} in all)", known.len()) } else { String::new() };
    bail!("unknown {what} `{name}`{}; known are {shown}{more}", nearest(name, known.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_there_finds_its_neighbour() {
        let members = ["hard", "single", "soft"];
        assert_eq!(member("strategy", "soft", &members, |name| name).expect("there"), &"soft");
        let error = member("strategy", "hrad", &members, |name| name).expect_err("not there").to_string();
        assert_eq!(error, "unknown strategy `hrad` (did you mean `hard`?); there are hard, single, soft");
        assert_eq!(nearest("quite another", members), "");
    }
}
