//! A program under test: started from a folder of its own, watched through /proc, ended by its id.

use super::Failure;
use super::wire::Wire;
use crate::clock;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running program, and the far sides' sockets that its configuration names.
pub(super) struct Subject {
    name: &'static str,
    child: Child,
    /// Where calls go in.
    pub(super) sip: SocketAddr,
    /// Where metrics are read, if it has any.
    metrics: Option<SocketAddr>,
    pub(super) wire: Wire,
}

/// What it holds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Usage {
    /// Resident octets, of all its processes.
    pub(super) resident: u64,
    /// Open descriptors, of all its processes.
    pub(super) descriptors: usize,
    /// Calls it says to have; `None` if it says nothing.
    pub(super) calls: Option<u64>,
    /// Media ports it says to hold.
    pub(super) ports: Option<u64>,
}

impl Subject {
    /// Starts `command` with what it says in `log`, and waits until `ready`.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
        sip: SocketAddr,
        metrics: Option<SocketAddr>,
        wire: Wire,
    ) -> Result<Self, Failure> {
        let file = File::create(log)?;
        let twin = file.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(twin).spawn()?;
        let mut subject = Self { name, child, sip, metrics, wire };
        let due = clock::monotonic() + START_MAX;
        while !subject.is_ready() {
            let ended = subject.child.try_wait()?;
            if ended.is_some() || clock::monotonic() > due {
                let said = fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{name} does not serve: {}", said.trim_end()).into());
            }
            clock::sleep_until(clock::monotonic() + GLANCE);
        }
        Ok(subject)
    }

    /// Where metrics are read, if it has any.
    pub(super) const fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it has bound its port and, where it has one, says so itself.
    fn is_ready(&self) -> bool {
        match self.metrics {
            Some(metrics) => get(metrics, "/readyz").is_ok_and(|said| said.contains(" 200 ")),
            // What is bound cannot be bound again.
            None => std::net::UdpSocket::bind(self.sip).is_err(),
        }
    }

    /// CPU time used so far by all its processes.
    pub(super) fn cpu(&self) -> Result<Duration, Failure> {
        let mut ticks = 0;
        for id in self.processes() {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            // The name may hold anything, but what follows its last bracket are numbers.
            let numbers = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let mut fields = numbers.split_ascii_whitespace().skip(UTIME_AFTER_NAME);
            for _ in 0..2 {
                ticks += fields.next().and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_millis(ticks * MS_PER_TICK))
    }

    /// The time for which its threads have run whose names begin so, to the nanosecond.
    pub(super) fn ran(&self, name: &str) -> Result<Duration, Failure> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))?.flatten() {
            // A thread that has ended meanwhile is none of those that run all the time.
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            if read("comm").starts_with(name) {
                let schedstat = read("schedstat");
                let ran = schedstat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
                sum += ran.unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(sum))
    }

    pub(super) fn usage(&self) -> Result<Usage, Failure> {
        let mut usage = Usage::default();
        for id in self.processes() {
            let statm = fs::read_to_string(format!("/proc/{id}/statm"))?;
            let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
            usage.resident += pages.unwrap_or(0) * PAGE;
            usage.descriptors += fs::read_dir(format!("/proc/{id}/fd"))?.count();
        }
        if let Some(metrics) = self.metrics {
            let said = get(metrics, "/metrics")?;
            usage.calls = Some(sum(&said, "tollgate_calls_active"));
            usage.ports = Some(sum(&said, "tollgate_media_ports_in_use"));
        }
        Ok(usage)
    }

    /// What it holds once it has had time to let go of what `before` did not have.
    pub(super) fn settled(&self, before: &Usage) -> Result<Usage, Failure> {
        let due = clock::monotonic() + SETTLE_MAX;
        loop {
            let usage = self.usage()?;
            let idle = usage.calls.unwrap_or(0) == 0 && usage.ports.unwrap_or(0) == 0;
            // One connection to the far side stays open.
            let closed = usage.descriptors <= before.descriptors + DESCRIPTORS_KEPT;
            if (idle && closed) || clock::monotonic() > due {
                return Ok(usage);
            }
            clock::sleep_until(clock::monotonic() + GLANCE);
        }
    }

    /// Asks it to end; one that does not is ended.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        crate::sys::terminate(self.child.id());
        let due = clock::monotonic() + STOP_MAX;
        while self.child.try_wait()?.is_none() {
            if clock::monotonic() > due {
                self.child.kill()?;
                self.child.wait()?;
                return Err(format!("{} did not end when asked to", self.name).into());
            }
            clock::sleep_until(clock::monotonic() + GLANCE);
        }
        Ok(())
    }

    /// Its process and those it has started.
    fn processes(&self) -> Vec<u32> {
        let id = self.child.id();
        let mut all = vec![id];
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        all.extend(children.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        all
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            crate::sys::terminate(self.child.id());
            clock::sleep_until(clock::monotonic() + GLANCE);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What `GET path` brings.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<String, Failure> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

/// The sum of a metric's series.
fn sum(said: &str, metric: &str) -> u64 {
    said.lines()
        .filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum::<f64>() as u64
}

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(15);
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Metrics are refreshed each second.
const SETTLE_MAX: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(50);
/// Connections to the far side and to the reader of metrics.
const DESCRIPTORS_KEPT: usize = 8;
/// The state is field 3, the first after the name; utime is field 14.
const UTIME_AFTER_NAME: usize = 11;
/// Of USER_HZ, which is 100 for every program.
const MS_PER_TICK: u64 = 10;
const PAGE: u64 = 4096;

#[cfg(test)]
mod tests {
    #[test]
    fn series_of_a_metric_are_summed_and_others_left_alone() {
        let said = "# TYPE a gauge\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\na 1\n";
        assert_eq!(super::sum(said, "a"), 6);
    }
}
