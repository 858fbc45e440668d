//! The operator's program that writes records to DNS.

use super::Failure;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::pin::pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Mutex;

/// What it takes to write a record.
pub(super) const MAX: Duration = Duration::from_secs(120);
/// How often it is asked whether it has.
const GLANCE: Duration = Duration::from_millis(50);
/// Octets of what it complains.
const COMPLAINT_MAX: u64 = 400;
/// How long that is waited for once it has ended: what it has left running may hold the pipe open.
const COMPLAINT_WAIT: Duration = Duration::from_secs(2);

/// It runs no longer than somebody waits for it, and neither does what it has begun: a shell's `nsupdate` would
/// write a record after it was taken away.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Once it was waited for, its number may be another's.
        if let Ok(None) = self.0.try_wait()
            && let Ok(number) = i32::try_from(self.0.id())
        {
            let _ = killpg(Pid::from_raw(number), Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }
}

/// Orders run side by side, and programs that write a zone are seldom made for that.
static TURN: Mutex<()> = Mutex::const_new(());

/// Has the program write a record, or take it away, once no other order has it do so.
pub(super) async fn run(hook: &Path, what: &str, name: &str, value: &str) -> Result<(), Failure> {
    let _turn = TURN.lock().await;
    let told = |said: String| Failure::Proof(format!("{} {what} {name}: {said}", hook.display()));
    let child = Command::new(hook)
        .args([what, name, value])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| told(error.to_string()))?;
    let mut running = Running(child);
    let pipe = running.0.stderr.take().map(|pipe| Receiver::from_owned_fd(pipe.into()));
    let pipe = pipe.transpose().map_err(|error| told(error.to_string()))?;
    let mut said = Vec::new();
    let status = {
        let mut complaint = pin!(listen(pipe, &mut said));
        let mut ended = pin!(tokio::time::timeout(MAX, ended(&mut running.0)));
        tokio::select! {
            status = &mut ended => {
                if matches!(&status, Ok(Ok(status)) if !status.success()) {
                    let _ = tokio::time::timeout(COMPLAINT_WAIT, complaint).await;
                }
                status
            }
            () = &mut complaint => ended.await,
        }
    };
    match status {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(told(format!("{status}: {}", String::from_utf8_lossy(&said).trim()))),
        Ok(Err(error)) => Err(told(error.to_string())),
        Err(_) => Err(told("has not ended in time".to_owned())),
    }
}

async fn ended(child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None => tokio::time::sleep(GLANCE).await,
        }
    }
}

/// Reads what it complains to the end, lest it waits for us. Not on a thread: what it has left running may
/// hold the pipe for ever, and this is given up.
async fn listen(pipe: Option<Receiver>, said: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let _ = (&mut pipe).take(COMPLAINT_MAX).read_to_end(said).await;
    let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
}
