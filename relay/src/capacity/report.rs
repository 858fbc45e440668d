//! What was measured, and what it comes to.

use super::media::Carrying;
use super::signalling::Calls;
use crate::terminal::table;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// All figures.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) cpus: usize,
    pub(crate) workers: usize,
    /// Why another engine was measured than the daemon would have.
    pub(crate) instead: Option<String>,
    pub(crate) rtp: Carrying,
    pub(crate) srtp: Carrying,
    pub(crate) calls: Calls,
}

impl Report {
    /// Media workers that have a core of their own beside signalling.
    fn cores(&self) -> usize {
        self.workers.min(self.cpus.saturating_sub(1)).max(1)
    }

    /// Calls a second on the thread that all signalling runs on.
    fn calls_per_second(&self) -> f64 {
        1e6 / self.calls.us_per_call.max(1.0)
    }

    pub(crate) fn json(&self) -> Value {
        let kind = |carrying: &Carrying| {
            let mut said = serde_json::to_value(carrying).unwrap_or_default();
            said["calls_per_core"] = json!(whole(carrying.calls_per_core()));
            said["calls_per_core_advised"] = json!(carrying.advised_per_core());
            said["calls_advised"] = json!(self.cores() as u64 * carrying.advised_per_core());
            said
        };
        let mut signalling = serde_json::to_value(&self.calls).unwrap_or_default();
        signalling["calls_per_second"] = json!(whole(self.calls_per_second()));
        signalling["calls_per_second_advised"] = json!(advised(self.calls_per_second()));
        json!({
            "cpus": self.cpus,
            "workers": self.workers,
            "media_cores": self.cores(),
            "measured_instead": self.instead,
            "rtp": kind(&self.rtp),
            "srtp": kind(&self.srtp),
            "signalling_tls": signalling,
            "headroom": HEADROOM,
            "not_measured": NOT_MEASURED,
        })
    }

    pub(crate) fn text(&self) -> String {
        let head = [
            "CALLS",
            "WAY",
            "A PACKET",
            "P50/P99 ADDED",
            "SEEN",
            "ONE CORE",
            "ADVISED",
            "THIS HOST",
        ];
        let row = |name: &str, carrying: &Carrying| {
            let core = carrying.calls_per_core();
            [
                name.to_owned(),
                carrying.datapath.to_owned(),
                format!("{:.2} us", carrying.us_per_packet),
                format!("{:.0}/{:.0} us", carrying.added_us_p50, carrying.added_us_p99),
                carrying.seen.to_string(),
                whole(core).to_string(),
                carrying.advised_per_core().to_string(),
                (self.cores() as u64 * carrying.advised_per_core()).to_string(),
            ]
        };
        let rows = [row("RTP to RTP", &self.rtp), row("RTP to SRTP", &self.srtp)];
        let mut text = table(&head, rows.into_iter());
        let per_second = self.calls_per_second();
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "\nCalls over TLS, set up and ended: {:.0} us each on the thread of signalling, so {} calls/s; advised {}.",
            self.calls.us_per_call,
            whole(per_second),
            advised(per_second),
        );
        let _ = writeln!(
            text,
            "Media workers: {} configured, {} with a processor of its own beside signalling ({} processors).",
            self.workers,
            self.cores(),
            self.cpus,
        );
        text.push_str(
            "\nONE CORE is what the cost of a packet comes to; SEEN is the most calls that were really carried.\n\
             ADVISED leaves three tenths free: a busy hour is not even, and who takes over from a host that fails\n\
             needs room.\n",
        );
        for (name, carrying) in [("RTP to RTP", &self.rtp), ("RTP to SRTP", &self.srtp)] {
            let _ = match carrying.seen {
                0 => writeln!(
                    text,
                    "Not even the fewest calls {name} were carried: {}. None are advised: try again on a host\n\
                     that does nothing else.",
                    carrying.ended,
                ),
                seen => writeln!(text, "No more than {seen} calls {name}: {}.", carrying.ended),
            };
        }
        if let Some(instead) = &self.instead {
            let _ = writeln!(text, "Engine: {instead}.");
        } else if let Some(why) = &self.srtp.why_not_faster {
            let _ = writeln!(text, "Nothing faster than {}: {why}.", self.srtp.datapath);
        }
        let _ = writeln!(text, "Not measured:");
        for what in NOT_MEASURED {
            let _ = writeln!(text, "  - {what}");
        }
        text
    }
}

impl Carrying {
    /// What the cost of a packet comes to: a call is a hundred forwarded packets a second.
    fn calls_per_core(&self) -> f64 {
        1e6 / (PACKETS_PER_CALL * self.us_per_packet.max(0.01))
    }

    /// A cost advises nothing where calls were not carried.
    fn advised_per_core(&self) -> u64 {
        if self.seen > 0 { advised(self.calls_per_core()) } else { 0 }
    }
}

/// What is not promised is left out.
fn whole(value: f64) -> u64 {
    value as u64
}

fn advised(value: f64) -> u64 {
    (HEADROOM * value) as u64
}

/// 20 ms of speech a packet, each way.
const PACKETS_PER_CALL: f64 = 100.0;
/// The share of a core that calls may take.
const HEADROOM: f64 = 0.7;
const NOT_MEASURED: [&str; 4] = [
    "the network card and its driver: packets went over loopback, where the sender pays for delivery",
    "AF_XDP, which has no driver on loopback",
    "streams that are forwarded within the kernel, recordings, tones and speech that is transcoded",
    "whatever else this host does at the same time",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let carrying = |us_per_packet| Carrying {
            datapath: "portable",
            why_not_faster: None,
            seen: 400,
            us_per_packet,
            added_us_p50: 310.0,
            added_us_p99: 900.0,
            ended: "packets took long",
        };
        let calls = Calls {
            ended: 1000,
            refused: 0,
            seconds: 8.0,
            us_per_call: 500.0,
            media_us_per_call: 60.0,
        };
        Report {
            cpus: 4,
            workers: 8,
            instead: None,
            rtp: carrying(5.0),
            srtp: carrying(8.0),
            calls,
        }
    }

    #[test]
    fn what_is_advised_leaves_room_and_counts_no_core_that_is_not_there() {
        let said = report().json();
        assert_eq!(said["rtp"]["calls_per_core"], 2000);
        assert_eq!(said["rtp"]["calls_per_core_advised"], 1400);
        assert_eq!(said["media_cores"], 3, "one is left to signalling");
        assert_eq!(said["srtp"]["calls_advised"], 3 * 875);
        assert_eq!(said["signalling_tls"]["calls_per_second"], 2000);
        assert_eq!(said["signalling_tls"]["calls_per_second_advised"], 1400);
        let text = report().text();
        assert!(text.contains("4200") && text.contains("advised 1400"), "{text}");
        assert!(text.contains("network card"), "{text}");
    }

    #[test]
    fn where_not_even_the_fewest_calls_were_carried_none_are_advised() {
        let mut report = report();
        (report.rtp.seen, report.rtp.ended) = (0, "packets were lost");
        assert_eq!(report.json()["rtp"]["calls_advised"], 0);
        let text = report.text();
        assert!(
            text.contains("Not even the fewest calls RTP to RTP were carried: packets were lost"),
            "{text}"
        );
    }
}
