//! Figures in rows that people can read and programs can take apart: percentiles, ratios, goals. Never measures.

/// Milliseconds, measured many times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, ms: f64) {
        self.0.push(ms);
    }
    /// The value that this share of the samples does not exceed; 0 without samples.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "a few thousand samples, a share of 0 to 1"
        )]
        let at = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
        sorted.get(at).copied().unwrap_or_default()
    }
    pub(crate) fn p50(&self) -> f64 {
        self.quantile(0.5)
    }
    pub(crate) fn p95(&self) -> f64 {
        self.quantile(0.95)
    }
}

/// The goals of a run: each is printed as it is judged, and all are remembered.
#[derive(Debug, Default)]
pub(crate) struct Goals {
    judged: usize,
    missed: Vec<String>,
}

impl Goals {
    /// Prints whether a figure is at most what it should be.
    pub(crate) fn at_most(&mut self, what: &str, figure: f64, most: f64, unit: &str) {
        self.note(figure <= most, what, &format!("{figure:.2}{unit}, goal at most {most:.2}{unit}"));
    }
    /// Prints whether a figure is at least what it should be.
    pub(crate) fn at_least(&mut self, what: &str, figure: f64, least: f64, unit: &str) {
        self.note(figure >= least, what, &format!("{figure:.2}{unit}, goal at least {least:.2}{unit}"));
    }
    /// Prints whether something is as it should be, which the caller has found out.
    pub(crate) fn note(&mut self, met: bool, what: &str, figures: &str) {
        println!("  {} {what}: {figures}", if met { "met   " } else { "MISSED" });
        self.judged += 1;
        if !met {
            self.missed.push(what.to_owned());
        }
    }
    /// Whether all were met.
    pub(crate) fn all_met(&self) -> bool {
        match self.missed.len() {
            0 if self.judged == 0 => {}
            0 => println!("\nAll goals are met."),
            n => println!("\n{n} goals are missed: {}", self.missed.join("; ")),
        }
        self.missed.is_empty()
    }
}
