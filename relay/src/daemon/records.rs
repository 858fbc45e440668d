//! Where calls are recorded.

use super::error::DaemonError;
use crate::config::Records;
use crate::record_file::{RecordFile, RecordWriter};

/// Opens the file of `[records]`.
pub(crate) fn open(records: &Records) -> Result<RecordWriter, DaemonError> {
    RecordFile::open(&records.file, records.size_max, records.files_max)
        .and_then(RecordWriter::start)
        .map_err(|error| DaemonError::Records { path: records.file.clone(), error })
}

/// Without `[records]`, calls are recorded in the usual place, where there is one to write to.
pub(crate) fn usual() -> Option<RecordWriter> {
    let records = Records::default();
    match open(&records) {
        Ok(writer) => Some(writer),
        Err(error) => {
            tracing::warn!(%error, "calls are not recorded; [records] file names another place");
            None
        }
    }
}
