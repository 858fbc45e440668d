//! A peer running beside us: what it says goes to a file, and it never outlives its scenario.

use crate::fail::{Fail, Outcome, While};
use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at while waiting.
const GLANCE: Duration = Duration::from_millis(20);

/// A started program.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with standard output and error in `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Outcome<Self> {
        let file = File::create(log).while_(log.display())?;
        let twin = file.try_clone().while_(log.display())?;
        let child = command
            .env("PATH", PATH)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(twin)
            .spawn()
            .while_(format_args!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The number of the process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until `condition` holds; fails early if the program ends.
    pub(crate) fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Outcome {
        let began = Instant::now();
        while !condition(self) {
            if let Some(status) = self.child.try_wait().while_(&self.name)? {
                return Err(self.fail(&format!("ended with {status} before {what}")));
            }
            if began.elapsed() > patience {
                return Err(self.fail(&format!("no {what} within {} s", patience.as_secs())));
            }
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Has it ended?
    pub(crate) fn is_over(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(&mut self, patience: Duration) -> Outcome<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().while_(&self.name)? {
                return Ok(status);
            }
            if began.elapsed() > patience {
                return Err(self.fail(&format!("did not end within {} s", patience.as_secs())));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Asks it to end, as a service manager would.
    pub(crate) fn signal(&self, signal: &str) -> Outcome {
        // A shell's own `kill`: the program of that name is not on every machine.
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &self.child.id().to_string()])
            .status()
            .while_("kill")?;
        if status.success() { Ok(()) } else { Err(self.fail("is not there any more")) }
    }

    /// A failure with the end of what the program said.
    pub(crate) fn fail(&self, what: &str) -> Fail {
        let said = self.said();
        // baresip draws a meter over and over in one line.
        let lines = said.split(['\n', '\r']).filter(|line| !line.contains("(bit/s)"));
        let lines: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
        let end = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
        Fail(format!("{} {what}; it said last:\n{}", self.name, end.join("\n")))
    }
}

/// Enough to see a peer's last complaint.
const LAST_LINES: usize = 15;

/// Debian keeps Kamailio and ip where a user's path does not look.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a program may take to end when told. Kamailio ends its workers in that time; killed outright,
/// it would leave them behind with its sockets.
const FAREWELL: Duration = Duration::from_secs(2);

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_over() && self.signal("TERM").is_ok() {
            let _ = self.ended(FAREWELL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds that no program of ours answers for.
pub(crate) fn until(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> bool,
) -> Outcome {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > patience {
            return Err(Fail(format!("no {what} within {} s", patience.as_secs())));
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

/// Writes a peer's file from its template.
pub(crate) fn fill(template: &str, values: &[(&str, &str)], to: &Path) -> Outcome {
    std::fs::write(to, filled(template, values)).while_(to.display())
}

/// A template whose `@NAME@`s have become their values.
pub(crate) fn filled<V: Display>(template: &str, values: &[(&str, V)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("@{name}@"), &value.to_string())
    })
}
