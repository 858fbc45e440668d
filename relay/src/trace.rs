//! SIP of one tenant's calls as it crosses this host, for who asks for it, without the keys and secrets
//! in it (TDR-MON-005). Nothing is kept where nobody asks.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// Tenants that are traced at once.
const SESSIONS_MAX: usize = 8;
/// Messages of one tenant that wait for who asks.
const MESSAGES_MAX: usize = 4096;
/// Their octets.
const OCTETS_MAX: usize = 4 << 20;
/// Octets of one answer.
const ANSWER_MAX: usize = 512 << 10;
/// Who does not ask for so long has gone.
const ASKED_EVERY: Duration = Duration::from_secs(10);
/// Messages whose call is not known yet: those that a routing hook is asked about.
const UNKNOWN_MAX: usize = 512;
/// For so long it may become known.
const UNKNOWN_FOR: Duration = Duration::from_secs(6);
/// Call-IDs whose tenant is remembered.
const KNOWN_MAX: usize = 20_000;

/// One message as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// When it came or went, in microseconds since 1970.
    pub at_us: u64,
    /// Whether it came in.
    pub came: bool,
    /// The trunk.
    pub trunk: String,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// Our address.
    pub local: SocketAddr,
    /// The far side's.
    pub remote: SocketAddr,
    /// The message, without keys and secrets.
    pub text: String,
}

/// A message, and where it crossed.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: SystemTime,
    pub(crate) came: bool,
    pub(crate) trunk: String,
    pub(crate) transport: &'static str,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) octets: Bytes,
}

/// What is asked for, and what has been seen of it.
#[derive(Debug, Default)]
pub(crate) struct Tracer {
    sessions: Vec<Session>,
    known: HashMap<Vec<u8>, String>,
    /// Seen since the core was last asked whose they are.
    new: Vec<Seen>,
    unknown: VecDeque<(Instant, Seen)>,
}

#[derive(Debug)]
struct Session {
    tenant: String,
    kept: VecDeque<Traced>,
    octets: usize,
    /// The number of the next message.
    next: u64,
    asked: Instant,
}

impl Tracer {
    /// Whether anybody asks.
    pub(crate) fn is_on(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// The messages of a tenant from number `since` on, the number to ask from next, and how many were
    /// lost before; without a number, what comes from now on. `None` if too many are traced.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        tenant: &str,
        since: Option<u64>,
    ) -> Option<(Vec<Traced>, u64, u64)> {
        self.forget(now);
        if !self.sessions.iter().any(|session| session.tenant == tenant) {
            if self.sessions.len() >= SESSIONS_MAX {
                return None;
            }
            self.sessions.push(Session {
                tenant: tenant.to_owned(),
                kept: VecDeque::new(),
                octets: 0,
                next: 0,
                asked: now,
            });
        }
        let session = self.sessions.iter_mut().find(|session| session.tenant == tenant)?;
        session.asked = now;
        Some(session.from(since.unwrap_or(session.next)))
    }

    /// Ends what nobody asks for any more.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.sessions.retain(|it| now.saturating_duration_since(it.asked) < ASKED_EVERY);
        if self.sessions.is_empty() {
            *self = Self::default();
        }
    }

    /// A message has crossed.
    pub(crate) fn saw(&mut self, seen: Seen) {
        self.new.push(seen);
    }

    /// A Call-ID is of a call of this tenant.
    pub(crate) fn learn(&mut self, call_id: &str, tenant: &str) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(call_id.as_bytes().to_vec(), tenant.to_owned());
    }

    /// Keeps what is of tenants that are asked for; `find` says whose a Call-ID is, as far as the core
    /// has a call of it.
    pub(crate) fn settle(&mut self, now: Instant, find: impl Fn(&[u8]) -> Option<String>) {
        for seen in std::mem::take(&mut self.new) {
            let Some(call_id) = call_id(&seen.octets).map(<[u8]>::to_vec) else { continue };
            if !self.known.contains_key(&call_id)
                && let Some(tenant) = find(&call_id)
            {
                self.learn(&String::from_utf8_lossy(&call_id), &tenant);
            }
            match self.known.get(&call_id).cloned() {
                Some(tenant) => self.keep(&tenant, &seen),
                None if self.unknown.len() < UNKNOWN_MAX => self.unknown.push_back((now, seen)),
                None => {}
            }
        }
        for _ in 0..self.unknown.len() {
            let Some((since, seen)) = self.unknown.pop_front() else { break };
            let tenant = call_id(&seen.octets).and_then(|id| self.known.get(id).cloned());
            match tenant {
                Some(tenant) => self.keep(&tenant, &seen),
                None if now.saturating_duration_since(since) < UNKNOWN_FOR => {
                    self.unknown.push_back((since, seen));
                }
                None => {}
            }
        }
    }

    fn keep(&mut self, tenant: &str, seen: &Seen) {
        let Some(session) = self.sessions.iter_mut().find(|it| it.tenant == tenant) else { return };
        let since = seen.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let text = String::from_utf8_lossy(&without_secrets(&seen.octets)).into_owned();
        session.octets += text.len();
        session.next += 1;
        session.kept.push_back(Traced {
            at_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            came: seen.came,
            trunk: seen.trunk.clone(),
            transport: seen.transport.to_owned(),
            local: seen.local,
            remote: seen.remote,
            text,
        });
        while session.kept.len() > MESSAGES_MAX || session.octets > OCTETS_MAX {
            let gone = session.kept.pop_front().map_or(0, |gone| gone.text.len());
            session.octets = session.octets.saturating_sub(gone);
        }
    }
}

impl Session {
    fn from(&self, since: u64) -> (Vec<Traced>, u64, u64) {
        let first = self.next - self.kept.len() as u64;
        let start = since.clamp(first, self.next);
        let mut octets = 0;
        let wanted = self.kept.iter().skip(usize::try_from(start - first).unwrap_or(usize::MAX));
        let fits = |message: &&Traced| {
            octets += message.text.len();
            octets <= ANSWER_MAX || octets == message.text.len()
        };
        let messages: Vec<Traced> = wanted.take_while(fits).cloned().collect();
        let next = start + messages.len() as u64;
        (messages, next, start - since.min(start))
    }
}

/// The Call-ID of a message.
fn call_id(octets: &[u8]) -> Option<&[u8]> {
    octets
        .split(|octet| *octet == b'\n')
        .skip(1)
        .take_while(|line| line.trim_ascii() != b"")
        .find_map(|line| {
            let colon = line.iter().position(|octet| *octet == b':')?;
            let name = line[..colon].trim_ascii();
            let is_it = name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i");
            is_it.then(|| line[colon + 1..].trim_ascii())
        })
}

/// Headers whose value proves who somebody is.
const SECRET_HEADERS: [&str; 4] =
    ["authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate"];
/// Lines of SDP that hold keys, whole.
const SECRET_LINES: [&str; 4] = ["a=ice-pwd:", "a=key-mgmt:", "k=", "a=fingerprint:"];

/// The same message with its keys and secrets written over: its length stays, as Content-Length says it.
fn without_secrets(octets: &[u8]) -> Vec<u8> {
    let mut clean = octets.to_vec();
    let (mut at, mut hidden) = (0, false);
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let range = at..at + line.trim_ascii_end().len();
        at += line.len();
        let lower = line.to_ascii_lowercase();
        let folded = line.first().is_some_and(|octet| b" \t".contains(octet));
        let name = lower.split(|octet| *octet == b':').next().unwrap_or_default().trim_ascii();
        let is_secret = |secret: &&str| secret.as_bytes() == name;
        hidden = (folded && hidden) || SECRET_HEADERS.iter().any(is_secret);
        let from = if hidden {
            if folded { Some(0) } else { Some(name.len() + 1) }
        } else if let Some(line) = SECRET_LINES.iter().find(|it| lower.starts_with(it.as_bytes())) {
            Some(line.len())
        } else if lower.starts_with(b"a=crypto:") {
            find(&lower, b"inline:").map(|at| at + "inline:".len())
        } else {
            None
        };
        if let Some(from) = from
            && let Some(secret) =
                clean.get_mut(range.start + from..range.end.max(range.start + from))
        {
            secret.fill(b'x');
        }
    }
    clean
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Virtual time zero.
    fn zero() -> Instant {
        crate::clock::now().mono
    }

    fn seen(call_id: &str, body: &str) -> Seen {
        let octets = format!(
            "INVITE sip:+4930@contoso.sbc1.example.net SIP/2.0\r\nVIA: SIP/2.0/TLS a\r\ni: {call_id}\r\n\
             Authorization: Digest username=\"a\",\r\n response=\"0123\"\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Seen {
            at: SystemTime::UNIX_EPOCH,
            came: true,
            trunk: "teams".to_owned(),
            transport: "tls",
            local: ([203, 0, 113, 10], 5061).into(),
            remote: ([52, 114, 75, 24], 5061).into(),
            octets: octets.into(),
        }
    }

    const KEY: &str = "krXco0QRglwErMqtbMs2zSw29tBdmdgXpEYZhQmp";

    fn sdp() -> String {
        format!(
            "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\na=ice-ufrag:sB1x\r\n\
             a=ice-pwd:7Gk2mR0yVt4QwLz8cN5hJp3e\r\nA=CRYPTO:2 X INLINE:{KEY};inline:{KEY}\r\na=sendrecv\r\n"
        )
    }

    /// TDR-MON-005: a trace goes to others, and with it no key that opens the call's media and no
    /// answer to a challenge.
    #[test]
    fn a_key_or_secret_in_a_trace_opens_what_others_say() {
        let octets = seen("1@a", &sdp()).octets;
        let clean = without_secrets(&octets);
        assert_eq!(clean.len(), octets.len(), "Content-Length still holds");
        let text = String::from_utf8(clean).unwrap();
        for secret in [KEY, "7Gk2", "0123", "username"] {
            assert!(!text.contains(secret), "{secret} is in\n{text}");
        }
        for kept in
            ["a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:xxx", "sB1x", "a=sendrecv\r\n", "i: 1@a"]
        {
            assert!(text.contains(kept), "{kept} is not in\n{text}");
        }
        for odd in ["", "\n", "k=", "a=crypto:", "authorization", "a=crypto:inline:", " \n\n"] {
            assert_eq!(without_secrets(odd.as_bytes()).len(), odd.len());
        }
    }

    /// TDR-MON-005: nobody who asks for one tenant is shown another's calls.
    #[test]
    fn a_message_of_another_tenant_or_of_no_call_is_not_shown() {
        let (now, mut tracer) = (zero(), Tracer::default());
        assert!(!tracer.is_on());
        assert_eq!(tracer.ask(now, "contoso", None), Some((vec![], 0, 0)));
        for call_id in ["of-contoso", "of-fabrikam", "of-nobody"] {
            tracer.saw(seen(call_id, ""));
        }
        tracer.settle(now, |id| {
            let id = String::from_utf8_lossy(id);
            let tenant = id.strip_prefix("of-").filter(|it| *it != "nobody");
            tenant.map(str::to_owned)
        });
        let (shown, next, lost) = tracer.ask(now, "contoso", Some(0)).unwrap();
        assert_eq!((shown.len(), next, lost), (1, 1, 0));
        assert!(shown[0].text.contains("of-contoso"));
        // A call that was refused is known by its record, and who waited is shown then.
        tracer.learn("of-nobody", "contoso");
        tracer.settle(now, |_| None);
        assert_eq!(tracer.ask(now, "contoso", Some(1)).unwrap().0.len(), 1);
        tracer.forget(now + ASKED_EVERY);
        assert!(!tracer.is_on() && tracer.known.is_empty() && tracer.unknown.is_empty());
    }

    #[test]
    fn who_asks_too_seldom_is_told_how_much_was_lost_and_memory_stays_bounded() {
        let (now, mut tracer) = (zero(), Tracer::default());
        tracer.ask(now, "contoso", None).unwrap();
        let body = "x".repeat(10_000);
        for _ in 0..2000 {
            tracer.saw(seen("1", &body));
        }
        tracer.settle(now, |_| Some("contoso".to_owned()));
        assert!(tracer.sessions[0].octets <= OCTETS_MAX);
        let (shown, next, lost) = tracer.ask(now, "contoso", Some(0)).unwrap();
        assert!(!shown.is_empty() && lost > 1000, "{lost}");
        assert_eq!(next, lost + shown.len() as u64);
        for tenant in 1..SESSIONS_MAX {
            assert!(tracer.ask(now, &tenant.to_string(), None).is_some());
        }
        assert_eq!(tracer.ask(now, "one too many", None), None);
    }
}
