//! The known word that was probably meant.

/// `did you mean ...?` for the word of `known` nearest to `written`, if one is near.
pub(crate) fn did_you_mean<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let written = written.to_lowercase();
    let bound = near(written.chars().count());
    known
        .into_iter()
        .map(|word| (distance(&written, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many slips a word of this length may hold and still be recognised: in two or three letters
/// two slips make any other word.
const fn near(length: usize) -> usize {
    match length {
        0..=3 => 1,
        4..=8 => 2,
        _ => 3,
    }
}

/// Words longer than this are not compared: nobody means them, and the table grows with the square.
const COMPARED_MAX: usize = 64;

/// Slips between two words: a letter too many, too few, wrong, or swapped with its neighbour
/// (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(COMPARED_MAX).collect();
    let b: Vec<char> = b.chars().take(COMPARED_MAX).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            let swapped = i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y;
            if swapped {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, distance};

    #[test]
    fn each_kind_of_slip_counts_once() {
        assert_eq!(distance("colt", "kolt"), 1);
        assert_eq!(distance("colt", "clot"), 1);
        assert_eq!(distance("colt", "col"), 1);
        assert_eq!(distance("colt", "collt"), 1);
        assert_eq!(distance("", "bt"), 2);
    }

    #[test]
    fn a_short_word_is_not_taken_for_another_short_word() {
        assert_eq!(did_you_mean("bt", ["qx", "colt"]), None);
        assert_eq!(did_you_mean("TLS", ["udp", "tcp", "tls"]), Some("tls"));
        assert_eq!(
            did_you_mean("optons_interval", ["name", "options_interval"]),
            Some("options_interval")
        );
    }
}
