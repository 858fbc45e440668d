//! The lines of a file, the last one first.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

/// Octets that are read at once.
const CHUNK: u64 = 1 << 18;
/// A longer line is no record of ours: one is below 16 KiB.
const LINE_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Backwards {
    file: File,
    /// What begins here has been read.
    at: u64,
    /// What of it has not been told.
    rest: Vec<u8>,
}

impl Backwards {
    /// The lines that the file has now; what is appended later is not among them.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let at = file.metadata()?.len();
        Ok(Self { file, at, rest: Vec::new() })
    }

    /// The line before, without its end; empty ones are passed over.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.rest.iter().rposition(|octet| *octet == b'\n') {
                let line = self.rest.split_off(end + 1);
                self.rest.pop();
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.at == 0 {
                let first = std::mem::take(&mut self.rest);
                return Ok(Some(first).filter(|line| !line.is_empty()));
            }
            if self.rest.len() > LINE_MAX {
                let why = format!("a line has more than {LINE_MAX} octets");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            let more = self.at.min(CHUNK);
            self.at -= more;
            self.file.seek(SeekFrom::Start(self.at))?;
            let mut before = Vec::new();
            (&self.file).take(more).read_to_end(&mut before)?;
            before.append(&mut self.rest);
            self.rest = before;
        }
    }
}
