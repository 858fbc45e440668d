//! The operator's program that writes records to DNS.

use super::Failure;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What it takes to write a record.
pub(super) const MAX: Duration = Duration::from_secs(120);
/// How often it is asked whether it has.
const GLANCE: Duration = Duration::from_millis(50);
/// Octets of what it complains.
const COMPLAINT_MAX: u64 = 400;
/// How long that is waited for once it has ended: what it has left running may hold the pipe open.
const COMPLAINT_WAIT: Duration = Duration::from_secs(2);

/// It runs no longer than somebody waits for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Where it has ended already, neither does anything.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has the program write a record, or take it away.
pub(super) async fn run(hook: &Path, what: &str, name: &str, value: &str) -> Result<(), Failure> {
    let told = |said: String| Failure::Proof(format!("{} {what} {name}: {said}", hook.display()));
    let child = Command::new(hook)
        .args([what, name, value])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| told(error.to_string()))?;
    let mut running = Running(child);
    let complaint = running.0.stderr.take();
    // Read to its end, lest the program waits for us.
    let complaint = tokio::task::spawn_blocking(move || {
        let mut said = Vec::new();
        if let Some(mut pipe) = complaint {
            let _ = pipe.by_ref().take(COMPLAINT_MAX).read_to_end(&mut said);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    });
    let ended = async {
        loop {
            match running.0.try_wait() {
                Ok(None) => tokio::time::sleep(GLANCE).await,
                ended => return ended,
            }
        }
    };
    let status = match tokio::time::timeout(MAX, ended).await {
        Ok(Ok(Some(status))) => status,
        Ok(Ok(None)) => return Err(told("it is not known how it ended".to_owned())),
        Ok(Err(error)) => return Err(told(error.to_string())),
        Err(_) => return Err(told("has not ended in time".to_owned())),
    };
    if status.success() {
        return Ok(());
    }
    let said = tokio::time::timeout(COMPLAINT_WAIT, complaint).await;
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    Err(told(format!("{status}: {said}")))
}
