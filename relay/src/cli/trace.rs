//! `tollgate trace TENANT`: the SIP of a tenant's calls while it crosses, without keys and secrets.

use super::daemon::{answer, problems_told};
use super::{ConfigFlag, Exit};
use crate::admin::{Answer, Request};
use crate::terminal::{complain, print, print_json};
use crate::trace::Traced;
use crate::{clock, pcap};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Show the SIP of a tenant's calls from now on, on all their legs; keys and secrets are written over
#[derive(Debug, clap::Args)]
pub(crate) struct Trace {
    /// The tenant: the name of its file
    tenant: String,
    /// How long, such as 60s or 5m; until interrupted if left out
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Write a capture for Wireshark, tshark or sngrep to this file instead
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Print one JSON object a message
    #[arg(long, conflicts_with = "write")]
    json: bool,
    #[command(flatten)]
    config: ConfigFlag,
}

/// How often the daemon is asked.
const PACE: Duration = Duration::from_millis(250);
/// A capture holds who called whom.
const MODE: u32 = 0o600;

impl Trace {
    pub(crate) fn run(self) -> Exit {
        let mut capture = match self.write.as_deref().map(begin).transpose() {
            Ok(capture) => capture,
            Err(error) => {
                let file = self.write.as_deref().unwrap_or_else(|| Path::new("")).display();
                complain(&format!("{file} cannot be written: {error}"));
                return Exit::No;
            }
        };
        let began = clock::now().mono;
        let (mut since, mut shown) = (None, 0_u64);
        loop {
            let over = self
                .time
                .is_some_and(|time| clock::now().mono.saturating_duration_since(began) >= time);
            let request = Request::Trace { tenant: self.tenant.clone(), since };
            let (messages, next, lost) = match answer(self.config.clone(), request) {
                Ok(Answer::Trace { messages, next, lost }) => (messages, next, lost),
                Ok(Answer::Refused { problems }) => {
                    problems_told(&problems);
                    return Exit::No;
                }
                Ok(_) => return Exit::No,
                Err(exit) => return exit,
            };
            if since.is_none() {
                complain(&format!("tracing {}; calls that are up are seen as well", self.tenant));
            }
            if lost > 0 {
                complain(&format!("{lost} messages were lost: more than this can show"));
            }
            let more = !messages.is_empty();
            shown += messages.len() as u64;
            since = Some(next);
            for message in &messages {
                let shown = match &mut capture {
                    Some(file) => pcap::message(file, message),
                    None => {
                        show(message, self.json);
                        Ok(())
                    }
                };
                if let Err(error) = shown {
                    complain(&format!("cannot be written: {error}"));
                    return Exit::No;
                }
            }
            if over {
                complain(&format!("{shown} messages"));
                return Exit::Done;
            }
            if !more {
                clock::pause(PACE);
            }
        }
    }
}

fn begin(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(MODE).open(path)?;
    // One that was there keeps who may read it; a device or a pipe is nobody's file.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    pcap::head(&mut file)?;
    file.flush()?;
    Ok(file)
}

fn show(message: &Traced, json: bool) {
    if json {
        return print_json(&serde_json::json!(message));
    }
    print(&as_text(message));
}

fn as_text(message: &Traced) -> String {
    let at = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(message.at_us));
    let Traced { trunk, transport, local, remote, text, .. } = message;
    let way = match message.came {
        true => format!("{remote} -> {local}"),
        false => format!("{local} -> {remote}"),
    };
    format!("--- {at}  {trunk}  {way}  {transport}\n{}\n\n", readable(text.trim_end()))
}

/// The far side's text with nothing in it that a terminal would act on but the ends of lines and tabs.
fn readable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let ends_line = c == '\r' && rest.peek() == Some(&'\n');
        match c.is_control() && !matches!(c, '\n' | '\t') && !ends_line {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{MODE, Traced, as_text, begin};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_far_side_writes_escape_sequences_to_the_operators_terminal() {
        let message = Traced {
            at_us: 0,
            came: true,
            trunk: "colt".to_owned(),
            transport: "udp".to_owned(),
            local: ([203, 0, 113, 10], 5060).into(),
            remote: ([198, 51, 100, 7], 5060).into(),
            text: "INVITE sip:a SIP/2.0\r\nSubject:\t\u{1b}]0;x\u{7}gr\u{fc}n\rall is well\u{9b}2J\u{7f}\r\n\r\n"
                .to_owned(),
        };
        let shown = as_text(&message);
        let expected = "--- 1970-01-01T00:00:00.000000Z  colt  198.51.100.7:5060 -> 203.0.113.10:5060  udp\n\
                        INVITE sip:a SIP/2.0\r\n\
                        Subject:\t\\u{1b}]0;x\\u{7}gr\u{fc}n\\rall is well\\u{9b}2J\\u{7f}\n\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_capture_over_a_file_that_others_may_read_is_theirs_too() {
        let name = format!("tollgate-trace-{}.pcap", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        begin(&file).unwrap();
        let metadata = std::fs::metadata(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!((metadata.permissions().mode() & 0o777, metadata.len()), (MODE, 24));
        // What is no file is left as it is.
        begin(std::path::Path::new("/dev/null")).unwrap();
        let null = std::fs::metadata("/dev/null").unwrap();
        assert_ne!(null.permissions().mode() & 0o777, MODE);
    }
}
