//! The equation is solved, and what the solution implies holds.

use mtl_nash::{Gram, Settings, Status, bargain};

#[test]
fn two_tasks_in_closed_form() {
    for cosine in [-0.999, -0.5, 0.0, 0.3, 0.9, 1.0] {
        for (a, b) in [(1.0, 1.0), (1e-10, 1e15), (3.0, 0.02)] {
            let gram = Gram::from_rows(&[[a * a, cosine * a * b], [cosine * a * b, b * b]]);
            let agreement = bargain(&gram, &Settings::default());
            assert_eq!(agreement.status, Status::Agreed, "cos {cosine}, norms {a} and {b}");
            for (alpha, norm) in agreement.alpha.iter().zip([a, b]) {
                let exact = 1.0 / (norm * f64::sqrt(1.0 + cosine));
                assert!((alpha / exact - 1.0).abs() < 1e-10, "{alpha} is not {exact} at cos {cosine}");
            }
        }
    }
}
