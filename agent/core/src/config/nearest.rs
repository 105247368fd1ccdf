//! "Did you mean": the known word that a mistyped one is closest to.

/// The candidate closest to `word`, if one is close enough to be what was meant: at most a third of the letters apart.
pub(crate) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let (distance, candidate) = candidates.iter().map(|candidate| (distance(word, candidate), *candidate)).min()?;
    let allowed = candidate.chars().count().max(3) / 3;
    (distance <= allowed).then_some(candidate)
}

/// Levenshtein's distance, in characters, with two neighbours in the wrong order counted as one slip
/// (optimal string alignment). A word longer than any key costs no more than a key does.
fn distance(word: &str, candidate: &str) -> usize {
    const LONGEST: usize = 64;
    let a: Vec<char> = word.chars().take(LONGEST).collect();
    let b: Vec<char> = candidate.chars().take(LONGEST).collect();
    let width = b.len() + 1;
    // row-major (a.len()+1) x (b.len()+1); at(i, j) is the distance of the first i letters to the first j.
    let mut cells = vec![0; (a.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let value = if i == 0 || j == 0 {
                i + j
            } else {
                let same = a.get(i - 1) == b.get(j - 1);
                let mut best = (cells[at(i - 1, j)] + 1)
                    .min(cells[at(i, j - 1)] + 1)
                    .min(cells[at(i - 1, j - 1)] + usize::from(!same));
                let swapped = i > 1 && j > 1 && a.get(i - 1) == b.get(j - 2) && a.get(i - 2) == b.get(j - 1);
                if swapped {
                    best = best.min(cells[at(i - 2, j - 2)] + 1);
                }
                best
            };
            cells[at(i, j)] = value;
        }
    }
    cells[at(a.len(), b.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["name", "role", "os", "images", "require_digest"];
        for (word, want) in [
            ("rolle", Some("role")),
            ("nmae", Some("name")),
            ("image", Some("images")),
            ("require-digest", Some("require_digest")),
            ("so", Some("os")),
            ("colour", None),
            ("", None),
            ("größe", None),
        ] {
            assert_eq!(nearest(word, &keys), want, "{word}");
        }
        assert_eq!(nearest("name", &[]), None);
    }
}
