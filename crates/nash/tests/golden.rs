//! Weights computed to sixty digits by `golden/make.py`, which shares nothing with the crate.

#[path = "golden/cases.rs"]
mod cases;
mod support;

use mtl_nash::{Gram, Settings, Status, bargain, fair};

#[test]
fn weights_agree_with_sixty_digits() {
    assert!(cases::CASES.len() > 50);
    for case in cases::CASES {
        let gram = Gram::from_rows(case.gram);
        let agreement = fair(&gram, case.exponent, &Settings::default());
        assert_eq!(agreement.status, Status::Agreed, "{} at {}", case.name, case.exponent);
        let distance = support::distance(&gram, &agreement.alpha, case.alpha);
        assert!(distance < 1e-10, "{} at {}: {distance:e}", case.name, case.exponent);
        if case.exponent == 1.0 {
            assert_eq!(bargain(&gram, &Settings::default()), agreement);
        }
    }
}
