//! SIP of one tenant's calls as it crosses this host, for who asks for it, without the keys and secrets
//! in it (TDR-MON-005). Nothing is kept where nobody asks.

mod secrets;

use b2bua::record::Record;
use bytes::Bytes;
use secrets::without_secrets;
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
    /// By Call-ID: since when they wait to become known.
    unknown: HashMap<Vec<u8>, (Instant, Vec<Seen>)>,
    /// Messages in it.
    waiting: usize,
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

    /// Ends what nobody asks for any more, and what has waited for long enough.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.sessions.retain(|it| now.saturating_duration_since(it.asked) < ASKED_EVERY);
        if self.sessions.is_empty() {
            *self = Self::default();
        }
        self.unknown.retain(|_, (since, _)| now.saturating_duration_since(*since) < UNKNOWN_FOR);
        self.waiting = self.unknown.values().map(|(_, seen)| seen.len()).sum();
    }

    /// A message has crossed.
    pub(crate) fn saw(&mut self, seen: Seen) {
        self.new.push(seen);
    }

    /// A Call-ID is of a call of this tenant: what waited for that is kept.
    fn learn(&mut self, call_id: &[u8], tenant: &str) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(call_id.to_vec(), tenant.to_owned());
        if let Some((_, waited)) = self.unknown.remove(call_id) {
            self.waiting = self.waiting.saturating_sub(waited.len());
            waited.iter().for_each(|seen| keep(&mut self.sessions, tenant, seen));
        }
    }

    /// A call is over, or never was one: what comes of it from now on is known by its record alone.
    pub(crate) fn learn_from(&mut self, record: &Record) {
        let Some(tenant) = record.tenant.as_deref().filter(|_| self.is_on()) else { return };
        for call_id in [Some(&record.call_id_in), record.call_id_out.as_ref()].into_iter().flatten()
        {
            self.learn(call_id.as_bytes(), tenant);
        }
    }

    /// Keeps what is of tenants that are asked for; `find` says whose a Call-ID is, as far as the core
    /// has a call of it. It is asked for each message that is of no known call, of any tenant.
    pub(crate) fn settle(&mut self, now: Instant, find: impl Fn(&[u8]) -> Option<String>) {
        for seen in std::mem::take(&mut self.new) {
            let Some(call_id) = header(&seen.octets, CALL_ID) else { continue };
            if !self.known.contains_key(call_id)
                && let Some(tenant) = find(call_id)
            {
                self.learn(call_id, &tenant);
            }
            if let Some(tenant) = self.known.get(call_id) {
                keep(&mut self.sessions, tenant, &seen);
            } else if self.waiting < UNKNOWN_MAX && may_begin_a_call(&seen.octets) {
                let id = call_id.to_vec();
                self.unknown.entry(id).or_insert_with(|| (now, Vec::new())).1.push(seen);
                self.waiting += 1;
            }
        }
    }
}

fn keep(sessions: &mut [Session], tenant: &str, seen: &Seen) {
    let Some(session) = sessions.iter_mut().find(|it| it.tenant == tenant) else { return };
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

const CALL_ID: &[&[u8]] = &[b"call-id", b"i"];
const CSEQ: &[&[u8]] = &[b"cseq"];

/// The first header of a message that has one of these names, in lower case.
fn header<'a>(octets: &'a [u8], names: &[&[u8]]) -> Option<&'a [u8]> {
    octets
        .split(|octet| *octet == b'\n')
        .skip(1)
        .take_while(|line| line.trim_ascii() != b"")
        .find_map(|line| {
            let colon = line.iter().position(|octet| *octet == b':')?;
            let name = line[..colon].trim_ascii();
            let is_it = names.iter().any(|it| name.eq_ignore_ascii_case(it));
            is_it.then(|| line[colon + 1..].trim_ascii())
        })
}

/// Whether a call may come of a message of none: keep-alives and registrations do not wait for one.
fn may_begin_a_call(octets: &[u8]) -> bool {
    let cseq = header(octets, CSEQ).unwrap_or_default();
    let method = cseq.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
    method != b"OPTIONS" && method != b"REGISTER"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_file::tests::record;

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
        for odd in [
            "",
            "\n",
            "k=",
            "a=",
            "a=crypto:",
            "authorization",
            "a=crypto:inline:",
            " \n\n",
            "sip:",
        ] {
            assert_eq!(without_secrets(odd.as_bytes()), odd.as_bytes());
        }
    }

    /// TDR-MON-005: what our own reading takes for a key or a secret is one, however it is written.
    #[test]
    fn a_secret_with_blanks_around_its_name_or_in_a_uri_is_shown() {
        for (written, shown) in [
            (
                "a= crypto:1 AEAD_AES_128_GCM inline:s3cret",
                "a= crypto:1 AEAD_AES_128_GCM inline:xxxxxx",
            ),
            ("a=crypto :1 X inline:s3cret|2^31", "a=crypto :1 X inline:xxxxxxxxxxx"),
            ("a=crypto\t: 1 X s3cret", "a=crypto\t:xxxxxxxxxxx"),
            ("a=ice-pwd : s3cret", "a=ice-pwd :xxxxxxx"),
            ("a= ICE-PWD:s3inline:cret", "a= ICE-PWD:xxxxxxxxxxxxx"),
            ("a=\tkey-mgmt :mikey s3cret", "a=\tkey-mgmt :xxxxxxxxxxxx"),
            ("k=clear:s3cret", "k=xxxxxxxxxxxx"),
            ("Authorization : Digest s3cret", "Authorization :xxxxxxxxxxxxxx"),
            ("Authentication-Info: rspauth=s3cret", "Authentication-Info:xxxxxxxxxxxxxxx"),
            ("proxy-authentication-info:s3cret", "proxy-authentication-info:xxxxxx"),
            ("Contact: <SIP:anna:s3cret@h:5060;x=1>", "Contact: <SIP:anna:xxxxxx@h:5060;x=1>"),
            ("To: sips:a:s3,cret@h, sip:b:s3@i", "To: sips:a:xxxxxxx@h, sip:b:xx@i"),
            ("Call-Info: <https://a:s3cret@h/x>", "Call-Info: <https://a:xxxxxx@h/x>"),
        ] {
            let octets = format!("INVITE sip:a@b SIP/2.0\r\n{written}\r\nSubject: kept\r\n");
            let clean = String::from_utf8(without_secrets(octets.as_bytes())).unwrap();
            assert_eq!(clean.lines().nth(1), Some(shown));
            assert!(clean.ends_with("Subject: kept\r\n"));
        }
        for kept in [
            "Contact: <sip:sbc1.example.net:5061;transport=tls>, <sip:anna@h:5060>",
            "Call-Info: <https://h:443/a@b>;purpose=info",
            "a=rtpmap:8 PCMA/8000",
            "a=ice-ufrag:sB1x",
        ] {
            assert_eq!(String::from_utf8(without_secrets(kept.as_bytes())).unwrap(), kept);
        }
    }

    /// TDR-MON-005: a host of many tenants is asked by thousands of keep-alives; the INVITE that waits for a
    /// routing hook is not lost for them.
    #[test]
    fn keep_alives_take_the_room_of_a_call_that_waits() {
        let (now, mut tracer) = (zero(), Tracer::default());
        tracer.ask(now, "contoso", None).unwrap();
        let about = |line: &str, number: usize, method: &str| {
            let octets = format!("{line}\r\nCall-ID: {number}\r\nCSeq: 1 {method}\r\n\r\n").into();
            Seen { octets, ..seen("", "") }
        };
        for number in 0..2 * UNKNOWN_MAX {
            tracer.saw(about("OPTIONS sip:a SIP/2.0", number, "OPTIONS"));
            tracer.saw(about("SIP/2.0 200 OK", number, "OPTIONS"));
            tracer.saw(about("REGISTER sip:a SIP/2.0", number, "REGISTER"));
        }
        tracer.saw(about("INVITE sip:a SIP/2.0", 7_000, "INVITE"));
        tracer.saw(about("SIP/2.0 100 Trying", 7_000, "INVITE"));
        tracer.settle(now, |_| None);
        assert_eq!(tracer.waiting, 2);
        // In a dialog it is of the call.
        tracer.saw(about("OPTIONS sip:a SIP/2.0", 7_000, "OPTIONS"));
        tracer.learn(b"7000", "contoso");
        tracer.settle(now, |_| None);
        let shown = tracer.ask(now, "contoso", Some(0)).unwrap().0;
        let lines: Vec<&str> = shown.iter().filter_map(|it| it.text.lines().next()).collect();
        let expected = ["INVITE sip:a SIP/2.0", "SIP/2.0 100 Trying", "OPTIONS sip:a SIP/2.0"];
        assert_eq!((lines.as_slice(), tracer.waiting), (&expected[..], 0));
        // One that stays unknown makes room.
        tracer.saw(about("INVITE sip:a SIP/2.0", 7_001, "INVITE"));
        tracer.settle(now, |_| None);
        tracer.forget(now + UNKNOWN_FOR);
        assert_eq!((tracer.waiting, tracer.unknown.len()), (0, 0));
    }

    /// TDR-MON-005: who began to look at a call that was up sees it end on both legs, though none of it is
    /// known any more as that is sent.
    #[test]
    fn the_good_bye_of_a_call_that_is_over_is_missing_on_its_other_leg() {
        let (now, mut tracer) = (zero(), Tracer::default());
        tracer.ask(now, "contoso", None).unwrap();
        tracer.saw(seen("in", ""));
        tracer.saw(seen("out", ""));
        let (call_id_in, call_id_out) = ("in".to_owned(), Some("out".to_owned()));
        tracer.learn_from(&Record { call_id_in, call_id_out, ..record(1) });
        tracer.settle(now, |_| None);
        assert_eq!(tracer.ask(now, "contoso", Some(0)).unwrap().0.len(), 2);
    }

    /// A stranger's message is as long as messages may be, and calls wait: what looks at an octet once for
    /// each scheme before it takes minutes for this.
    #[test]
    fn a_message_of_nothing_but_schemes_is_looked_at_more_than_once() {
        let text = "sip:@".repeat(200_000) + "sip:".repeat(200_000).as_str() + "a:b@c";
        let clean = without_secrets(text.as_bytes());
        assert_eq!(clean.len(), text.len());
        assert!(clean.starts_with(b"sip:@sip:@") && clean.ends_with(b"xxxx@c"));
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
        tracer.learn(b"of-nobody", "contoso");
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
