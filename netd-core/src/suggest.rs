//! Which known word was meant by an unknown one. Never corrects anything by itself.

/// The known word nearest to the given one, if it is near enough to be a slip: a third of its letters at most.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (given.chars().count() / 3).max(1);
    let (far, word) = known.into_iter().map(|word| (distance(given, word), word)).min()?;
    (far <= most).then_some(word)
}

/// How many letters must be changed, added, left out or swapped with a neighbour (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().take(64).collect(), to.chars().take(64).collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
                let swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
                let swap = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                change.min(swap).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
            };
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    //! Tests of the suggestions.

    use super::*;

    #[test]
    fn a_slip_finds_the_word_that_was_meant() {
        let known = ["socket", "state_dir", "pools"];
        assert_eq!(nearest("sokcet", known), Some("socket"));
        assert_eq!(nearest("pool", known), Some("pools"));
        assert_eq!(nearest("listen", known), None);
        assert_eq!(nearest("", known), None);
    }
}
