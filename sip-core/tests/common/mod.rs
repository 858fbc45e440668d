//! The torture corpus.

use bytes::Bytes;
use std::path::Path;

/// Every message of the corpus.
pub(crate) fn corpus_messages() -> Vec<Bytes> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files = Vec::new();
    for folder in ["rfc4475", "rfc5118", "extra"] {
        let entries = std::fs::read_dir(corpus.join(folder)).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()));
    }
    // The order of a folder differs between machines; a seed should not.
    files.sort();
    assert_eq!(files.len(), 133);
    files.iter().filter_map(|file| std::fs::read(file).ok()).map(Bytes::from).collect()
}
