//! `explain`: the page of a member.

use crate::tool::{good, refused};

#[test]
fn members_of_every_registry_have_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let nash = good(here, &["explain", "nash"]);
    for part in [
        "nash (weighting rule, [weighting] rule)",
        "Navon",
        "gram",
        "Nash equation",
        "max_norm = 1.0",
        "αᵢ (Gα)ᵢ = 1",
        "Settings",
    ] {
        assert!(nash.contains(part), "`{part}` is missing in: {nash}");
    }
    let stitch = good(here, &["explain", "cross-stitch"]);
    assert!(
        stitch.contains("sharing strategy") && stitch.contains("K·P + L·K·K") && stitch.contains("Misra"),
        "{stitch}"
    );
    for (name, part) in [
        ("adamw", "rate"),
        ("annealed", "floor"),
        ("linear", "[schedule] name"),
        ("bert", "architecture"),
        ("tagging", "[task] kind"),
        ("csv", "endings"),
        ("span-f1", "higher"),
        ("task", "loss_weight, not set"),
        ("train", "epochs, not set"),
        ("evaluation", "keep = \"best\""),
    ] {
        assert!(good(here, &["explain", name]).contains(part), "{name}");
    }
}

#[test]
fn an_unknown_name_gets_the_nearest_of_all_registries() {
    let folder = tempfile::tempdir().expect("a folder");
    refused(folder.path(), &["explain", "nahs"], &["nothing is called `nahs`", "`nash` (weighting rule)", "mtl list"]);
    refused(folder.path(), &["explain", "hrad"], &["`hard` (sharing strategy)"]);
    refused(folder.path(), &["explain", "qqqqqq"], &["nothing is called `qqqqqq`; see"]);
}
