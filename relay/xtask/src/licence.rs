//! Judges the licence expression of a dependency against the ones this project may ship with.

/// Licences that let a product under MIT or Apache-2.0 be shipped in source and as a binary.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// May a crate under this SPDX expression be used? `/` is read as the older spelling of `OR`.
pub(crate) fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let verdict = any_of(&mut rest);
    verdict && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> bool {
    let mut verdict = all_of(words);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        let other = all_of(words);
        verdict = verdict || other;
    }
    verdict
}

fn all_of(words: &mut &[&str]) -> bool {
    let mut verdict = one(words);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        let other = one(words);
        verdict = verdict && other;
    }
    verdict
}

fn one(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let verdict = any_of(words);
            let [")", rest @ ..] = *words else { return false };
            *words = rest;
            verdict
        }
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(&format!("{name} WITH {exception}").as_str()) || ALLOWED.contains(name)
        }
        [name, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(name)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn a_choice_needs_one_and_a_conjunction_all() {
        assert!(allowed("MIT OR GPL-3.0-only"));
        assert!(allowed("MIT/Apache-2.0"));
        assert!(!allowed("MIT AND GPL-3.0-only"));
        assert!(allowed("ISC AND (Apache-2.0 OR ISC) AND BSD-3-Clause"));
        assert!(allowed("Apache-2.0 WITH LLVM-exception OR GPL-2.0"));
    }

    #[test]
    fn nonsense_and_silence_are_refused() {
        assert!(!allowed(""));
        assert!(!allowed("(MIT"));
        assert!(!allowed("MIT MIT"));
    }
}
