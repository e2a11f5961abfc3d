//! Whether what a backward computed is the gradient, and if not, one element where it is not.
//!
//! A direction that disagrees at the step h is tried again at h / 16: a kink of the spec (`max`, `abs`, `relu`) that lies within
//! 2h of the point spoils a difference though the gradient is right. Where the two steps do not agree with each other either,
//! the direction is drawn anew; where that does not help, the data is at fault ([`Verdict::Kinks`]).

use super::slope::{Forward, Slope};
use tile_base::Diagnostic;
use tile_tensor::random::Random;

/// Directions that have to agree.
const DIRECTIONS: u64 = 2;
/// Directions that are drawn before the data is given up.
const DRAWS: u64 = 8;
/// Where f64's rounding and the fifth derivative of most functions are both some 1e-10.
const STEP: f64 = 1e-4;
const SMALL_STEP: f64 = STEP / 16.0;
/// Of the size of what is summed along a direction.
const RELATIVE: f64 = 1e-6;
/// Elements beside the witness that are looked at for what they have in common.
const OTHERS: usize = 4;

pub(super) struct Judge<'a> {
    pub forward: &'a Forward,
    pub input: &'a str,
    /// The input's values.
    pub at: Vec<f64>,
    /// What the backward says.
    pub claimed: &'a [f64],
    pub seed: u64,
}

pub(super) enum Verdict {
    Holds {
        /// Greatest difference along a direction.
        error: f64,
    },
    Wrong(Witness),
    /// The spec has a kink at every point that was tried.
    Kinks,
}

/// An element where the claim is not the slope.
pub(super) struct Witness {
    pub at: usize,
    pub claimed: f64,
    pub slope: f64,
    /// By what all elements that were looked at are wrong, if by the same factor; and their number.
    pub factor: Option<(f64, usize)>,
}

impl Judge<'_> {
    pub fn verdict(&self) -> Result<Verdict, Vec<Diagnostic>> {
        if let Some(at) = self.claimed.iter().position(|v| !v.is_finite()) {
            return Ok(Verdict::Wrong(self.witness(at)?));
        }
        let mut random = Random::stream(self.seed, self.input);
        let (mut held, mut error) = (0, 0.0f64);
        for _ in 0..DRAWS {
            let u: Vec<f64> = self.at.iter().map(|_| direction(&mut random)).collect();
            let coarse = self.slope(&u, STEP)?;
            let fine = if self.agrees(&u, coarse) { coarse } else { self.slope(&u, SMALL_STEP)? };
            if self.agrees(&u, fine) {
                error = error.max((self.along(&u) - fine.value).abs());
                held += 1;
                if held == DIRECTIONS {
                    return Ok(Verdict::Holds { error });
                }
            } else if (coarse.value - fine.value).abs() <= self.allowed(&u, fine) {
                let at = self.bisect(u)?;
                return Ok(Verdict::Wrong(self.witness(at)?));
            }
        }
        Ok(Verdict::Kinks)
    }

    fn slope(&self, u: &[f64], h: f64) -> Result<Slope, Vec<Diagnostic>> {
        self.forward.slope(self.input, &self.at, u, h)
    }

    /// The claimed slope along a direction.
    fn along(&self, u: &[f64]) -> f64 {
        self.claimed.iter().zip(u).map(|(d, u)| d * u).sum()
    }

    fn allowed(&self, u: &[f64], slope: Slope) -> f64 {
        let square: f64 = self.claimed.iter().zip(u).map(|(d, u)| (d * u) * (d * u)).sum();
        RELATIVE * square.sqrt().max(slope.value.abs()) + slope.noise
    }

    fn agrees(&self, u: &[f64], slope: Slope) -> bool {
        (self.along(u) - slope.value).abs() <= self.allowed(u, slope)
    }

    /// An element of a direction that disagrees: halves of it, always the one that disagrees more.
    fn bisect(&self, u: Vec<f64>) -> Result<usize, Vec<Diagnostic>> {
        let (mut lo, mut hi) = (0, u.len());
        while hi - lo > 1 {
            let middle = lo + (hi - lo) / 2;
            let off = |lo: usize, hi: usize| {
                let part: Vec<f64> =
                    u.iter().enumerate().map(|(n, v)| if (lo..hi).contains(&n) { *v } else { 0.0 }).collect();
                let slope = self.slope(&part, SMALL_STEP)?;
                Ok::<f64, Vec<Diagnostic>>((self.along(&part) - slope.value).abs())
            };
            let (front, back) = (off(lo, middle)?, off(middle, hi)?);
            match front >= back {
                true => hi = middle,
                false => lo = middle,
            }
        }
        Ok(lo)
    }

    fn element(&self, at: usize) -> Result<f64, Vec<Diagnostic>> {
        let mut u = vec![0.0; self.at.len()];
        u[at] = 1.0;
        Ok(self.slope(&u, STEP)?.value)
    }

    fn witness(&self, at: usize) -> Result<Witness, Vec<Diagnostic>> {
        let slope = self.element(at)?;
        let mut factor = Some(slope / self.claimed[at]).filter(|f| f.is_finite() && *f != 0.0);
        let mut seen = 1;
        let stride = (self.at.len() / OTHERS).max(1);
        for other in (0..self.at.len()).step_by(stride).filter(|&n| n != at).take(OTHERS) {
            if factor.is_none() {
                break;
            }
            let ratio = self.element(other)? / self.claimed[other];
            factor = factor.filter(|f| (ratio - f).abs() <= 1e-4 * f.abs());
            seen += 1;
        }
        Ok(Witness { at, claimed: self.claimed[at], slope, factor: factor.map(|f| (f, seen)) })
    }
}

/// Neither near 0, so that no element hides, nor all alike, so that errors do not cancel.
fn direction(random: &mut Random) -> f64 {
    let size = 0.5 + 0.5 * random.uniform();
    if random.uniform() < 0.5 { -size } else { size }
}
