//! The distribution functions behind the tests: normal, Student's t, χ², binomial.
//!
//! The incomplete gamma and beta functions are those of `statrs`. By hand is what it does worse than the values of SciPy
//! that the tests hold: its `erfc` is off by 1e-10, so the normal goes by the gamma function; its beta function breaks off
//! where many coins are half heads (2e-3 off at a million), so the binomial is summed up; its quantiles are bisected to a
//! width of their own, here to the last bit. Relative errors stay below 1e-11 up to 10,000 degrees of freedom or trials,
//! and below 1e-8 up to a million.

use std::f64::consts::{LN_2, TAU};

use statrs::function::beta::beta_reg;
use statrs::function::factorial::{binomial, ln_binomial};
use statrs::function::gamma::gamma_ur;

/// The probability that a standard normal exceeds `z`.
pub(crate) fn normal_above(z: f64) -> f64 {
    let tail = gamma_above(0.5, z * z / 2.) / 2.;
    if z >= 0. { tail } else { 1. - tail }
}

/// The probability that |t| of Student's distribution with `degrees` of freedom exceeds |`t`|.
pub(crate) fn student_beyond(t: f64, degrees: f64) -> f64 {
    let square = t * t;
    // Near t = 0 the share of t² has the digits, in the tail the share of the degrees.
    match degrees / (degrees + square) {
        share if share.is_nan() => {
            if t.is_infinite() {
                0.
            } else {
                share
            }
        }
        0. => 0.,
        _ if square < 1. => 1. - beta_reg(0.5, degrees / 2., square / (degrees + square)),
        share => beta_reg(degrees / 2., 0.5, share),
    }
}

/// The t that |t| of Student's distribution with `degrees` of freedom exceeds with probability `p` in (0, 1].
pub(crate) fn student_quantile(p: f64, degrees: f64) -> f64 {
    solve(|t| student_beyond(t, degrees) - p)
}

/// The probability that χ² with `degrees` of freedom exceeds `value`.
pub(crate) fn chi_squared_above(value: f64, degrees: f64) -> f64 {
    gamma_above(degrees / 2., value / 2.)
}

/// The probability of at most `successes` among `trials` fair coins.
pub(crate) fn fair_coins_up_to(successes: usize, trials: usize) -> f64 {
    if successes >= trials {
        return 1.;
    }
    if 2 * successes >= trials {
        return 1. - fair_coins_up_to(trials - successes - 1, trials);
    }
    // The largest term, of exactly so many successes, and each before it as a share of the one after.
    let (n, k) = (trials as u64, successes as u64);
    let largest = match trials {
        // Whole numbers and powers of two: exact.
        ..=50 => binomial(n, k) * 0.5f64.powi(trials as i32),
        _ => (ln_binomial(n, k) - trials as f64 * LN_2).exp(),
    };
    let (mut share, mut sum) = (1., 1.);
    for successes in (1..=successes).rev() {
        share *= successes as f64 / (trials - successes + 1) as f64;
        sum += share;
        if share < sum * f64::EPSILON {
            break;
        }
    }
    largest * sum
}

/// The density of the standard normal.
pub(crate) fn normal_density(z: f64) -> f64 {
    (-z * z / 2.).exp() / TAU.sqrt()
}

/// The positive root of a falling function, by doubling and halving.
pub(crate) fn solve(falling: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0., 1.);
    while falling(high) > 0. && high < 1e150 {
        (low, high) = (high, high * 2.);
    }
    loop {
        let middle = low + (high - low) / 2.;
        if middle <= low || middle >= high {
            return middle;
        }
        if falling(middle) > 0. { low = middle } else { high = middle }
    }
}

/// The regularised upper incomplete gamma function Q(a, x) = Γ(a, x) / Γ(a).
fn gamma_above(a: f64, x: f64) -> f64 {
    match x {
        x if x.is_nan() => x,
        x if x <= 0. => 1.,
        f64::INFINITY => 0.,
        x => gamma_ur(a, x),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy.stats: norm.sf(z), t.sf(t, d) * 2, chi2.sf(x, d), binom.cdf(k, n, .5), SciPy 1.17.1.
    #[test]
    fn tails_are_those_of_scipy() {
        let close = |found: f64, expected: f64| {
            assert!((found / expected - 1.).abs() < 1e-11, "{found} is not {expected}");
        };
        close(normal_above(-1.5), 0.9331927987311419);
        close(normal_above(0.0), 0.5);
        close(normal_above(1.0), 0.15865525393145707);
        close(normal_above(1.959963984540054), 0.025);
        close(normal_above(6.0), 9.865876450376946e-10);
        close(normal_above(10.0), 7.61985302416047e-24);
        close(student_beyond(0.5, 1.0), 0.7048327646991335);
        close(student_beyond(2.776, 4.0), 0.05002277831997642);
        close(student_beyond(1.96, 1000.0), 0.050273184955748736);
        close(student_beyond(30.0, 3.0), 8.135280427163958e-05);
        close(student_beyond(5.0, 7.3), 0.0013827743793134609);
        close(student_beyond(0.001, 2.0), 0.9992928933955901);
        close(chi_squared_above(0.1, 1.0), 0.7518296340458492);
        close(chi_squared_above(3.84, 1.0), 0.05004352124870519);
        close(chi_squared_above(5.0, 9.0), 0.8343082601934075);
        close(chi_squared_above(200.0, 19.0), 3.4047651393116526e-32);
        close(chi_squared_above(12.0, 12.0), 0.44567964136461097);
        close(fair_coins_up_to(0, 5), 0.03125);
        close(fair_coins_up_to(2, 5), 0.5);
        close(fair_coins_up_to(10, 40), 0.0011107168866146822);
        close(fair_coins_up_to(40, 81), 0.5000000000000004);
        close(fair_coins_up_to(3, 1000), 1.5554471507014885e-293);
        // mpmath, 40 digits: near t = 0 and in a far tail.
        close(student_beyond(1e-8, 4.0), 0.9999999925);
        close(student_beyond(1e-8, 1.0), 0.9999999936338023);
        close(normal_above(0.75), 0.2266273523768682);
        // scipy.stats.binom.cdf again, where the error of ln Γ shows.
        assert!((fair_coins_up_to(499_999, 1_000_000) / 0.4996010578193346 - 1.).abs() < 1e-8);
        assert!(student_beyond(f64::NAN, 3.).is_nan() && student_beyond(f64::INFINITY, 3.) == 0.);
    }

    #[test]
    fn quantiles_invert_tails() {
        for degrees in [1., 2.5, 4., 30., 1e4] {
            for p in [0.5, 0.1, 0.05, 1e-6] {
                let t = student_quantile(p, degrees);
                assert!((student_beyond(t, degrees) / p - 1.).abs() < 1e-10, "{degrees} {p} {t}");
            }
        }
    }
}
