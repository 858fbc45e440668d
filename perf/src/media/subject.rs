//! A relay as a process beside us: started, placed on its processor, counted, ended.

use super::order::{
    FAR, FAR_HARDWARE, FAR_INTERFACE, Net, Order, RELAY, RELAY_HARDWARE, RELAY_INTERFACE, Ready,
    Word,
};
use super::relay::{self, ip};
use super::wire::hardware;
use crate::{machine, sys};
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

type Failure = Box<dyn Error>;

/// A relay that stands; dropping it ends it and takes its network away.
pub(super) struct Subject {
    child: Child,
    input: Option<ChildStdin>,
    pub(super) ready: Ready,
    net: Net,
    /// The kernel's threads that work for it.
    kernel: Vec<i32>,
}

impl Subject {
    /// Has a relay stand, and its far end be there.
    pub(super) fn start(order: &Order) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("relay").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = machine::end_with_us(&mut command).spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("no output")?;
        let mut subject = Self {
            child,
            input,
            ready: Ready {
                ports: Vec::new(),
                keys: Vec::new(),
                processes: Vec::new(),
                carried: Vec::new(),
                resident_before: 0,
            },
            net: order.net,
            kernel: Vec::new(),
        };
        subject.tell(&serde_json::to_string(order)?)?;
        let mut output = BufReader::new(output);
        let mut word = hear(&mut output)?;
        if matches!(word, Word::Inside) {
            subject.wire(order.threaded)?;
            word = hear(&mut output)?;
        }
        match word {
            Word::Ready(ready) => subject.ready = ready,
            Word::Failed(why) => return Err(why.into()),
            Word::Inside => return Err("the relay is out of step".into()),
        }
        if order.net == Net::Veth && order.threaded {
            subject.kernel = kernel_threads(&format!("napi/{RELAY_INTERFACE}"))?;
            if subject.kernel.is_empty() {
                return Err("the kernel has no thread for arrivals at the relay".into());
            }
        }
        Ok(subject)
    }

    fn tell(&mut self, line: &str) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("no input")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// Lays the cable from here into the relay's network.
    fn wire(&mut self, threaded: bool) -> Result<(), Failure> {
        let process = self.child.id().to_string();
        let (ours, theirs) = (hardware(&FAR_HARDWARE), hardware(&RELAY_HARDWARE));
        let far = ["link", "add", FAR_INTERFACE, "address", &ours];
        let near = ["peer", "name", RELAY_INTERFACE, "address", &theirs, "netns", &process];
        ip(&[&far[..], &ONE_QUEUE, &["type", "veth"], &near, &ONE_QUEUE].concat())?;
        ip(&["address", "add", &format!("{FAR}/24"), "dev", FAR_INTERFACE])?;
        ip(&["link", "set", FAR_INTERFACE, "up"])?;
        machine::gather_arrivals(FAR_INTERFACE)?;
        let to = ["dev", FAR_INTERFACE, "lladdr", &theirs, "nud", "permanent"];
        ip(&[&["neighbour", "replace", &RELAY.to_string()][..], &to].concat())?;
        self.tell(if threaded { "wired, arrivals on a thread" } else { "wired" })
    }

    /// Puts all that works for the relay on one processor, before all else there.
    pub(super) fn place(&self, cpu: usize) -> Result<(), Failure> {
        for thread in self.threads()? {
            sys::pin(thread, cpu);
            machine::go_first(thread, RELAY_PRIORITY)?;
        }
        for &thread in &self.kernel {
            sys::pin(thread, cpu);
            machine::go_first(thread, ARRIVALS_PRIORITY)?;
        }
        Ok(())
    }

    /// Keeps the relay on one processor, without a place before others.
    pub(super) fn pin(&self, cpu: usize) -> Result<(), Failure> {
        self.threads()?.into_iter().for_each(|thread| sys::pin(thread, cpu));
        Ok(())
    }

    fn threads(&self) -> Result<Vec<i32>, Failure> {
        let mut threads = Vec::new();
        for process in &self.ready.processes {
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                threads.extend(task?.file_name().to_str().and_then(|id| id.parse::<i32>().ok()));
            }
        }
        Ok(threads)
    }

    /// CPU time of the relay's threads and of the kernel's that work for it, in nanoseconds.
    pub(super) fn used_ns(&self) -> Result<Used, Failure> {
        let sum = |threads: &[i32]| threads.iter().map(|&thread| used_ns(thread)).sum();
        Ok(Used { relay: sum(&self.threads()?), kernel: sum(&self.kernel) })
    }

    /// Octets in memory of the processes that relay.
    pub(super) fn resident(&self) -> Result<u64, Failure> {
        self.ready.processes.iter().map(|&process| relay::resident(process)).sum()
    }
}

/// CPU time in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) relay: u64,
    /// Arrivals, on a thread of the kernel.
    pub(super) kernel: u64,
}

/// CPU time of one thread, as the scheduler has counted it; none if it is gone.
pub(super) fn used_ns(thread: i32) -> u64 {
    let line = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
    line.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// The threads of the kernel whose names start so.
pub(super) fn kernel_threads(prefix: &str) -> Result<Vec<i32>, Failure> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")? {
        let Some(id) = process?.file_name().to_str().and_then(|id| id.parse::<i32>().ok()) else {
            continue;
        };
        // It may be gone meanwhile.
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        if name.starts_with(prefix) {
            found.push(id);
        }
    }
    Ok(found)
}

fn hear(output: &mut BufReader<ChildStdout>) -> Result<Word, Failure> {
    let mut line = String::new();
    if output.read_line(&mut line)? == 0 {
        return Err("the relay has ended".into());
    }
    Ok(serde_json::from_str(&line)?)
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It ends with its input; one that does not is ended. Its network goes with it, and the cable by
        // name, so that the next one finds the name free.
        self.input = None;
        if self.net == Net::Veth {
            let _ = ip(&["link", "delete", FAR_INTERFACE]);
        }
        let _ = self.child.wait();
    }
}

/// Of each direction, as many as processors that the relay may use.
const ONE_QUEUE: [&str; 4] = ["numtxqueues", "1", "numrxqueues", "1"];
/// Arrivals come before the relay, as interrupts do.
const ARRIVALS_PRIORITY: i32 = 20;
const RELAY_PRIORITY: i32 = 10;
