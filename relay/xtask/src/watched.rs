//! Runs a command without a terminal, keeps what it said in a file and shows that it is alive.

use crate::fail::{Outcome, While};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line of progress appears this often while a command is silent; runners take longer silence for a
/// hang.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// How often a running command is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// What a finished command left.
pub(crate) struct Finished {
    status: ExitStatus,
    /// Standard output and standard error, line by line in the order they came.
    pub(crate) said: String,
    log: PathBuf,
}

impl Finished {
    /// Did it exit with 0?
    pub(crate) fn success(&self) -> bool {
        self.status.success()
    }

    /// How it ended, the end of what it said and where the rest is.
    pub(crate) fn account(&self) -> String {
        let lines: Vec<&str> = self.said.lines().collect();
        let shown = lines.len().saturating_sub(LAST_LINES);
        let end = lines.get(shown..).unwrap_or_default().join("\n");
        format!("{}\n{end}\nall of it: {}", self.status, self.log.display())
    }
}

/// Enough to see one compiler error or one panic with its context.
const LAST_LINES: usize = 60;

/// Runs `command` to its end; everything it says goes to `log`.
pub(crate) fn run(command: &mut Command, log: &Path) -> Outcome<Finished> {
    let program = command.get_program().to_string_lossy().into_owned();
    let file = File::create(log).while_(log.display())?;
    let said = Arc::new(Mutex::new(Said { file, text: String::new() }));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .while_(format_args!("starting {program}"))?;
    let mut readers = Vec::new();
    if let Some(out) = child.stdout.take() {
        readers.push(listen(out, &said));
    }
    if let Some(err) = child.stderr.take() {
        readers.push(listen(err, &said));
    }
    let started = Instant::now();
    let mut due = SIGN_OF_LIFE;
    let status = loop {
        if let Some(status) = child.try_wait().while_(&program)? {
            break status;
        }
        if started.elapsed() >= due {
            let last = Said::lock(&said).text.lines().last().unwrap_or_default().trim().to_owned();
            println!("    {:>4} s  {last:.100}", started.elapsed().as_secs());
            due += SIGN_OF_LIFE;
        }
        std::thread::sleep(GLANCE);
    };
    for reader in readers {
        let _ = reader.join();
    }
    let said = Said::lock(&said).text.clone();
    Ok(Finished { status, said, log: log.to_owned() })
}

/// What a command said so far, in memory and on disk.
struct Said {
    file: File,
    text: String,
}

impl Said {
    fn lock(said: &Mutex<Self>) -> std::sync::MutexGuard<'_, Self> {
        said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(
    from: impl Read + Send + 'static,
    said: &Arc<Mutex<Said>>,
) -> std::thread::JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while let Ok(1..) = from.read_until(b'\n', &mut line) {
            let mut said = Said::lock(&said);
            let _ = said.file.write_all(&line);
            said.text.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
