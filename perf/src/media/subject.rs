//! A relay as a process beside us: started, placed on its processor, counted, ended.

use super::order::{
    Account, FAR, FAR_HARDWARE, FAR_INTERFACE, Hook, Net, Order, RELAY, RELAY_HARDWARE,
    RELAY_INTERFACE, Ready, Relay, Word,
};
use super::relay::{QUEUES, ip};
use super::wire::hardware;
use crate::{machine, sys};
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

type Failure = Box<dyn Error>;

/// A relay that stands; dropping it ends it and takes its network away.
pub(super) struct Subject {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub(super) ready: Ready,
    net: Net,
    /// The kernel's threads that work for it.
    kernel: Vec<i32>,
}

impl Subject {
    /// Has a relay stand, and its far end be there.
    pub(super) fn start(order: &Order) -> Result<Self, Failure> {
        let threaded = order.net == Net::Veth && order.threaded;
        // Of runs beside this one.
        let others = if threaded { kernel_threads(&arrivals())? } else { Vec::new() };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("relay").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = machine::end_with_us(&mut command).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let (ready, net) = (Ready::default(), order.net);
        let mut subject = Self { child, input, output, ready, net, kernel: Vec::new() };
        subject.tell(&serde_json::to_string(order)?)?;
        let mut word = subject.hear()?;
        if matches!(word, Word::Inside) {
            subject.wire(order)?;
            word = subject.hear()?;
        }
        match word {
            Word::Ready(ready) => {
                let (name, process) = (order.relay.name(), subject.child.id());
                crate::complain(&format!("{name} stands as process {process}"));
                subject.ready = ready;
            }
            Word::Failed(why) => return Err(format!("{}: {why}", order.relay.name()).into()),
            Word::Inside | Word::Closed(_) => return Err(OUT_OF_STEP.into()),
        }
        if threaded {
            subject.kernel = kernel_threads(&arrivals())?;
            subject.kernel.retain(|thread| !others.contains(thread));
            if subject.kernel.is_empty() {
                return Err("the kernel has no thread for arrivals at the relay".into());
            }
        }
        Ok(subject)
    }

    /// Has it close its calls, and say what carried them and where packets were lost. Where others than what
    /// was asked for carried them, its figures are of something else.
    pub(super) fn close(&mut self, order: &Order) -> Result<Account, Failure> {
        self.tell("close")?;
        let account = match self.hear()? {
            Word::Closed(account) => account,
            Word::Failed(why) => return Err(format!("{}: {why}", order.relay.name()).into()),
            Word::Inside | Word::Ready(_) => return Err(OUT_OF_STEP.into()),
        };
        was_carried_as_asked(order, &account)?;
        Ok(account)
    }

    fn tell(&mut self, line: &str) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("no input")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    fn hear(&mut self) -> Result<Word, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("the relay has ended".into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Lays the cable from here into the relay's network.
    fn wire(&mut self, order: &Order) -> Result<(), Failure> {
        let process = self.child.id().to_string();
        let (ours, theirs) = (hardware(&FAR_HARDWARE), hardware(&RELAY_HARDWARE));
        let queues = if order.threaded { 1 } else { order.workers.min(QUEUES) }.to_string();
        let queues = ["numtxqueues", &queues, "numrxqueues", &queues];
        let far = ["link", "add", FAR_INTERFACE, "address", &ours];
        let near = ["peer", "name", RELAY_INTERFACE, "address", &theirs, "netns", &process];
        ip(&[&far[..], &queues, &["type", "veth"], &near, &queues].concat())?;
        ip(&["address", "add", &format!("{FAR}/24"), "dev", FAR_INTERFACE])?;
        if order.relay.offload() == Some(Hook::Tc) {
            ip(&["link", "set", FAR_INTERFACE, "mtu", TOO_LONG_FOR_XDP])?;
        }
        ip(&["link", "set", FAR_INTERFACE, "up"])?;
        machine::gather_arrivals(FAR_INTERFACE)?;
        let to = ["dev", FAR_INTERFACE, "lladdr", &theirs, "nud", "permanent"];
        ip(&[&["neighbour", "replace", &RELAY.to_string()][..], &to].concat())?;
        self.tell("wired")
    }

    /// Puts all that works for the relay on processors, before all else there: each worker on its own, if
    /// there are several.
    pub(super) fn place(&self, cpus: &[usize]) -> Result<(), Failure> {
        for thread in self.threads()? {
            // Of workers the name ends in their number.
            let name = fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
            let number = name.trim().rsplit('-').next().and_then(|it| it.parse().ok()).unwrap_or(0);
            sys::pin(thread, cpus[number % cpus.len()]);
            machine::go_first(thread, RELAY_PRIORITY)?;
        }
        for &thread in &self.kernel {
            sys::pin(thread, cpus[0]);
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
        let octets: io::Result<u64> =
            self.ready.processes.iter().map(|&process| machine::resident(process)).sum();
        Ok(octets?)
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

/// How the names of threads begin that the kernel has for arrivals at a relay.
fn arrivals() -> String {
    format!("napi/{RELAY_INTERFACE}")
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

fn was_carried_as_asked(order: &Order, account: &Account) -> Result<(), Failure> {
    let Relay::Ours(way) = order.relay else { return Ok(()) };
    let Some(awaited) = way.awaited(order.legs) else { return Ok(()) };
    let legs = 2 * order.calls();
    // A flow that has come up for a moment is not what a run is about.
    let spared = if way.offload.is_some() { legs / OFFLOADED_BUT_FOR } else { 0 };
    let others = || account.carried.iter().filter(|carried| carried.by != awaited.name());
    let elsewhere: usize = others().map(|other| other.legs).sum();
    match others().next() {
        Some(other) if elsewhere > spared => {
            let name = order.relay.name();
            let why = match other.why_not_faster.as_str() {
                "" => String::new(),
                why => format!(" ({why})"),
            };
            Err(format!("{name}: {} of {legs} legs were carried by {}{why}", other.legs, other.by)
                .into())
        }
        _ => Ok(()),
    }
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

/// One leg in so many.
const OFFLOADED_BUT_FOR: usize = 100;
const OUT_OF_STEP: &str = "the relay is out of step";
/// A far end that takes such frames keeps XDP programs from this one, whose pages they do not fit into.
const TOO_LONG_FOR_XDP: &str = "9000";
/// Arrivals come before the relay, as interrupts do.
const ARRIVALS_PRIORITY: i32 = 20;
const RELAY_PRIORITY: i32 = 10;

#[cfg(test)]
mod tests {
    use super::super::order::{Carried, Datapath, Legs, Suite};
    use super::*;

    #[test]
    fn a_run_that_another_way_has_carried_is_no_run() {
        let order = |relay, legs| Order::small(relay, legs, Suite::AesCm);
        let by = |ways: &[(&str, usize)]| Account {
            carried: ways
                .iter()
                .map(|&(by, legs)| Carried {
                    by: by.to_owned(),
                    legs,
                    why_not_faster: "it is down".to_owned(),
                })
                .collect(),
            ..Account::default()
        };
        let xdp = order(Relay::ours(Datapath::Xdp), Legs::RtpSrtp);
        assert!(was_carried_as_asked(&xdp, &by(&[("xdp", 4)])).is_ok());
        let refused = was_carried_as_asked(&xdp, &by(&[("xdp", 3), ("steer", 1)])).unwrap_err();
        assert_eq!(refused.to_string(), "xdp: 1 of 4 legs were carried by steer (it is down)");
        let sent_on = Relay::offloaded(Datapath::Xdp, Hook::Xdp);
        let plain = order(sent_on, Legs::RtpRtp);
        assert!(was_carried_as_asked(&plain, &by(&[("xdp", 4)])).is_err(), "nothing has left");
        assert!(was_carried_as_asked(&plain, &by(&[("xdp-offload", 4)])).is_ok());
        assert!(was_carried_as_asked(&order(sent_on, Legs::RtpSrtp), &by(&[("xdp", 4)])).is_ok());
        let many = Order { far_ports: vec![[1, 2]; 100], ..plain };
        assert!(was_carried_as_asked(&many, &by(&[("xdp-offload", 198), ("xdp", 2)])).is_ok());
        assert!(was_carried_as_asked(&many, &by(&[("xdp-offload", 197), ("xdp", 3)])).is_err());
        let auto = order(Relay::ours(Datapath::Auto), Legs::RtpSrtp);
        assert!(was_carried_as_asked(&auto, &by(&[("steer", 4)])).is_ok());
    }
}
