//! What samples say, and how sure that is: the median and an interval that holds the true one with 95% probability. Never measures, never judges.

/// A median and its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) middle: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Estimate {
    /// By order statistics, which ask nothing of the samples' distribution: the k-th smallest and the k-th largest sample hold the true median but in
    /// 2·P(Binomial(n, ½) < k) of all cases; k is the largest for which that is at most 5%. Fewer than six samples cannot be so sure: then all of them.
    pub(super) fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return Self { middle: 0.0, low: 0.0, high: 0.0 } };
        let half = sorted.len() / 2;
        let middle = if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) };
        match rank(sorted.len()) {
            0 => Self { middle, low: *first, high: *last },
            rank => Self { middle, low: sorted[rank - 1], high: sorted[sorted.len() - rank] },
        }
    }

    /// Of the ratios of samples that were taken together; a pair of which one is missing does not count.
    pub(super) fn of_ratios(samples: &[Option<f64>], bases: &[Option<f64>]) -> Self {
        let ratios: Vec<f64> = samples.iter().zip(bases).filter_map(|(sample, base)| Some((*sample)? / (*base)?)).collect();
        Self::of(&ratios)
    }

    /// `0.98 (0.97..0.99)`
    pub(super) fn shown(self, decimals: usize) -> String {
        let Self { middle, low, high } = self;
        format!("{middle:.decimals$} ({low:.decimals$}..{high:.decimals$})")
    }
}

/// The k of [`Estimate::of`]; 0 where there is none.
fn rank(samples: usize) -> usize {
    // P(Binomial(n, ½) = 0), and from each the next by (n - i) / (i + 1).
    let mut probability = 0.5_f64.powi(i32::try_from(samples).unwrap_or(i32::MAX));
    let (mut below, mut rank) = (0.0, 0);
    while rank < samples / 2 {
        below += probability;
        if 2.0 * below > 0.05 {
            break;
        }
        #[expect(clippy::cast_precision_loss, reason = "some tens of samples")]
        let step = (samples - rank) as f64 / (rank + 1) as f64;
        probability *= step;
        rank += 1;
    }
    rank
}
