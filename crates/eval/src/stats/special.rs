//! The distribution functions behind the tests: normal, Student's t, χ², binomial.
//!
//! All rest on the incomplete gamma and beta functions, by series and by continued fractions (Abramowitz and Stegun,
//! "Handbook of mathematical functions", 1964, §6.5 and §26.5). Relative errors stay below about 1e-12.

/// The probability that a standard normal exceeds `z`.
pub(crate) fn normal_above(z: f64) -> f64 {
    let tail = gamma_above(0.5, z * z / 2.) / 2.;
    if z >= 0. { tail } else { 1. - tail }
}

/// The probability that |t| of Student's distribution with `degrees` of freedom exceeds |`t`|.
pub(crate) fn student_beyond(t: f64, degrees: f64) -> f64 {
    if t.is_infinite() {
        return 0.;
    }
    beta(degrees / (degrees + t * t), degrees / 2., 0.5)
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
    beta(0.5, (trials - successes) as f64, successes as f64 + 1.)
}

/// The density of the standard normal.
pub(crate) fn normal_density(z: f64) -> f64 {
    (-z * z / 2.).exp() / std::f64::consts::TAU.sqrt()
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

/// ln Γ(x) for x > 0, by Lanczos' approximation (g = 7, 9 terms).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Reflection: Γ(x)·Γ(1 − x) = π / sin πx.
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1. - x);
    }
    let x = x - 1.;
    let sum = TERMS.iter().enumerate().fold(0.999_999_999_999_809_9, |sum, (i, term)| sum + term / (x + i as f64 + 1.));
    let t = x + 7.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The regularised upper incomplete gamma function Q(a, x) = Γ(a, x) / Γ(a).
fn gamma_above(a: f64, x: f64) -> f64 {
    if x <= 0. {
        return 1.;
    }
    if x.is_infinite() {
        return 0.;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1. {
        let (mut term, mut sum, mut n) = (1. / a, 1. / a, a);
        while term > sum * f64::EPSILON {
            n += 1.;
            term *= x / n;
            sum += term;
        }
        return 1. - front * sum;
    }
    let mut b = x + 1. - a;
    let mut fraction = Fraction::new(b);
    for i in 1..10_000 {
        let i = f64::from(i);
        b += 2.;
        if fraction.extend(-i * (i - a), b) {
            break;
        }
    }
    front / fraction.value
}

/// The regularised incomplete beta function Iₓ(a, b).
fn beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0. {
        return 0.;
    }
    if x >= 1. {
        return 1.;
    }
    // The fraction converges fast on this side of the mean only.
    if x > (a + 1.) / (a + b + 2.) {
        return 1. - beta(1. - x, b, a);
    }
    let front = (a * x.ln() + b * (1. - x).ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp() / a;
    let mut fraction = Fraction::new(1.);
    for m in 0..10_000 {
        let m = f64::from(m);
        let odd = -(a + m) * (a + b + m) * x / ((a + 2. * m) * (a + 2. * m + 1.));
        let even = (m + 1.) * (b - m - 1.) * x / ((a + 2. * m + 1.) * (a + 2. * m + 2.));
        if fraction.extend(odd, 1.) | fraction.extend(even, 1.) {
            break;
        }
    }
    front / fraction.value
}

/// A continued fraction b₀ + a₁/(b₁ + a₂/(b₂ + …)), evaluated from the front (Lentz's method).
struct Fraction {
    value: f64,
    c: f64,
    d: f64,
}

impl Fraction {
    fn new(b: f64) -> Self {
        let b = apart_from_zero(b);
        Self { value: b, c: b, d: 0. }
    }

    /// Takes in the next a and b; whether the value has settled.
    fn extend(&mut self, a: f64, b: f64) -> bool {
        self.d = 1. / apart_from_zero(b + a * self.d);
        self.c = apart_from_zero(b + a / self.c);
        let factor = self.c * self.d;
        self.value *= factor;
        (factor - 1.).abs() < f64::EPSILON
    }
}

fn apart_from_zero(value: f64) -> f64 {
    if value.abs() < 1e-300 { 1e-300 } else { value }
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
