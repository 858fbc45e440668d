//! SIPp's scenarios, written as one reads a ladder and turned into its XML.
//!
//! A line is a step of one side: `> INVITE sdp` and `< 200` of a caller, `< INVITE` and `> 180` of a callee.
//!
//! | line | means |
//! |---|---|
//! | `> METHOD [sdp]` | sends a request of the caller, with a description: one of [`DESCRIPTIONS`] |
//! | `> INFO key 5` | tells a key |
//! | `> STATUS [sdp] [for METHOD]` | answers the last request, or the one of this method before it |
//! | `< METHOD`, `< STATUS` | waits for it; with a `?` behind, it may also stay away |
//! | `< ... fax` | waits for it, and writes where the fax goes into `SCENARIO.port` |
//! | `< ... again` | waits for a repeat; over UDP SIPp takes repeats in by itself, so there it waits a while |
//! | `... \| Name: value` | with this header |
//! | `... \| ~expression` | only if the message matches |
//! | `... \| credentials` | only if it proves that it knows [`USER`] and [`SECRET`] |
//! | `pause 300` | milliseconds |
//! | `play` | plays the capture that is at hand |

use std::fmt::Write as _;

/// Who has to prove that it is him.
pub(super) const USER: &str = "trunk-7";
/// What only he and SIPp know.
pub(super) const SECRET: &str = "open-sesame";

/// The side of a call that a scenario plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Caller,
    Callee,
}

/// The transport of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Udp,
    Tcp,
}

impl Over {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }

    /// What it is called on SIPp's command line: one socket for all.
    pub(super) const fn sipp(self) -> &'static str {
        match self {
            Self::Udp => "u1",
            Self::Tcp => "t1",
        }
    }
}

/// One scenario as SIPp reads it.
pub(super) fn xml(name: &str, role: Role, over: Over, ladder: &str) -> String {
    let mut writer = Writer::new(role, over);
    for line in ladder.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writer.line(line);
    }
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n");
    let _ = writeln!(text, "<scenario name=\"{name}\">\n{}", writer.steps);
    for variable in 1..=writer.variables {
        let _ = writeln!(text, "  <Reference variables=\"v{variable}\"/>");
    }
    if text.contains("[$via]") || text.contains("assign_to=\"via\"") {
        text.push_str("  <Reference variables=\"via,number\"/>\n");
    }
    if writer.doors > 0 {
        text.push_str("  <Reference variables=\"proven\"/>\n");
    }
    if text.contains(REMEMBER_FAX) {
        text.push_str("  <Reference variables=\"faxes,fax\"/>\n");
    }
    if writer.reliable {
        text.push_str("  <Reference variables=\"rseq\"/>\n");
    }
    text.push_str("</scenario>\n");
    text.replace("@NAME@", name)
}

struct Writer {
    role: Role,
    over: Over,
    steps: String,
    /// SIPp numbers its steps; a branch is named by the number of its request.
    index: i32,
    /// The step and the number of the last INVITE of the caller.
    invite: (i32, u32),
    cseq: u32,
    /// The last final response to that INVITE was a failure: its ACK is of the same transaction.
    refused: bool,
    /// The callee's last request came without our tag.
    untagged: bool,
    /// The last request was an INVITE.
    invited: bool,
    /// A provisional response was reliable: its number is kept.
    reliable: bool,
    variables: u32,
    /// Checks of credentials: SIPp jumps over the end of the world to their labels.
    doors: u32,
    registers: bool,
    /// The next message names the port of a fax, which is kept.
    faxes: bool,
}

impl Writer {
    const fn new(role: Role, over: Over) -> Self {
        Self {
            role,
            over,
            steps: String::new(),
            index: 0,
            invite: (0, 0),
            cseq: 0,
            refused: false,
            untagged: false,
            invited: false,
            reliable: false,
            variables: 0,
            doors: 0,
            registers: false,
            faxes: false,
        }
    }

    fn line(&mut self, line: &str) {
        let mut parts = line.split('|').map(str::trim);
        let head = parts.next().unwrap_or_default();
        let headers: Vec<&str> = parts.collect();
        let words: Vec<&str> = head.split_whitespace().collect();
        match words.as_slice() {
            ["play"] => self.steps.push_str(PLAY),
            ["pause", time] => {
                let _ = writeln!(self.steps, "  <pause milliseconds=\"{time}\"/>");
            }
            ["<", _, "again"] if self.over == Over::Udp => {
                let _ = writeln!(self.steps, "  <pause milliseconds=\"{REPEATS}\"/>");
            }
            ["<", what, "fax"] => {
                self.faxes = true;
                self.receive(what, &headers);
            }
            ["<", what] | ["<", what, "again"] => self.receive(what, &headers),
            [">", status, rest @ ..] if status.parse::<u16>().is_ok() => {
                self.answer(status, rest, &headers);
            }
            [">", "INFO", "key", key] => self.tell(key),
            [">", method, rest @ ..] => self.request(method, described(rest), &headers),
            _ => {
                // SIPp refuses it and says where.
                let _ = writeln!(self.steps, "  <unreadable line=\"{line}\"/>");
            }
        }
        self.index += 1;
    }

    fn receive(&mut self, what: &str, checks: &[&str]) {
        let optional = if what.ends_with('?') { " optional=\"true\"" } else { "" };
        let what = what.trim_end_matches('?');
        let status = what.parse::<u16>().ok();
        let kind = if status.is_some() { "response" } else { "request" };
        if let Some(status) = status.filter(|status| *status >= 200) {
            self.refused = status >= 300;
        }
        self.untagged = matches!(what, "INVITE" if self.index == 0) || what == "CANCEL";
        if what == "INVITE" && self.refused_before() {
            self.untagged = true;
        }
        self.invited = what == "INVITE";
        self.registers = what == "REGISTER";
        self.untagged |= self.registers;
        let dialog =
            self.invited || matches!(status, Some(101..=299)) && self.cseq == self.invite.1;
        let rrs = if dialog { " rrs=\"true\"" } else { "" };
        let _ = write!(self.steps, "  <recv {kind}=\"{what}\"{optional}{rrs}>");
        let asks = checks.contains(&"credentials");
        let checks: Vec<&str> = checks.iter().filter_map(|it| it.strip_prefix('~')).collect();
        let checks_rseq = checks.iter().any(|check| check.contains("RSeq"));
        self.reliable |= checks_rseq;
        let faxes = std::mem::take(&mut self.faxes);
        if !checks.is_empty() || self.invited || asks || faxes {
            self.steps.push_str("<action>");
            if asks {
                let _ = write!(
                    self.steps,
                    "<verifyauth assign_to=\"proven\" username=\"{USER}\" password=\"{SECRET}\"/>"
                );
            }
            for check in checks {
                self.variables += 1;
                let _ = write!(
                    self.steps,
                    "<ereg regexp=\"{check}\" search_in=\"msg\" check_it=\"true\" assign_to=\"v{}\"/>",
                    self.variables
                );
            }
            if self.invited {
                self.steps.push_str(REMEMBER);
            }
            if faxes {
                self.steps.push_str(REMEMBER_FAX);
            }
            if checks_rseq {
                self.steps.push_str(REMEMBER_RSEQ);
            }
            self.steps.push_str("</action>");
        }
        self.steps.push_str("</recv>\n");
        if asks {
            self.doors += 1;
            let door = self.doors;
            let _ = writeln!(
                self.steps,
                "  <nop test=\"proven\" next=\"{door}\"/>\n  \
                 <nop><action><exec int_cmd=\"stop_now\"/></action></nop>\n  <label id=\"{door}\"/>"
            );
            self.index += 2;
        }
    }

    /// Whether this callee has refused before: what it sees next is a new INVITE.
    fn refused_before(&self) -> bool {
        self.role == Role::Callee && self.refused
    }

    fn request(&mut self, method: &str, sdp: Option<&str>, headers: &[&str]) {
        match method {
            "INVITE" => {
                self.cseq += 1;
                self.invite = (self.index, self.cseq);
            }
            "ACK" | "CANCEL" => {}
            _ => self.cseq += 1,
        }
        let of_invite = method == "CANCEL" || (method == "ACK" && self.refused);
        let number = if matches!(method, "ACK" | "CANCEL") { self.invite.1 } else { self.cseq };
        let branch = match of_invite {
            true => format!("[branch-{}]", self.index - self.invite.0),
            false => "[branch]".to_owned(),
        };
        let within = self.invite.0 != self.index || self.cseq > 1;
        let own = "sip:[service]@[remote_ip]:[remote_port]";
        let (uri, routes, tag) = match (within && !of_invite, method) {
            (true, "ACK") | (true, _) => ("[next_url]", "      [routes]\n", "[peer_tag_param]"),
            (false, "ACK") => (own, "", "[peer_tag_param]"),
            (false, _) => (own, "", ""),
        };
        let retrans = if method == "ACK" { "" } else { " retrans=\"500\"" };
        let _ = write!(
            self.steps,
            "  <send{retrans}><![CDATA[\n\n      {method} {uri} SIP/2.0\n      \
             Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}\n{routes}      \
             Max-Forwards: 70\n      \
             From: <sip:+49895550199@[local_ip]:[local_port]>;tag=caller[call_number]\n      \
             To: <sip:[service]@[remote_ip]:[remote_port]>{tag}\n      \
             Call-ID: [call_id]\n      CSeq: {number} {method}\n      \
             Contact: <sip:trunk@[local_ip]:[local_port];transport=[transport]>\n"
        );
        self.finish(headers, sdp);
    }

    /// A key by INFO.
    fn tell(&mut self, key: &str) {
        self.request("INFO", None, &[]);
        let without = "      Content-Length: 0\n\n  ]]></send>\n";
        self.steps.truncate(self.steps.len() - without.len());
        let _ = write!(
            self.steps,
            "      Content-Type: application/dtmf-relay\n      Content-Length: [len]\n\n      \
             Signal={key}\n      Duration=160\n  ]]></send>\n"
        );
    }

    fn answer(&mut self, status: &str, rest: &[&str], headers: &[&str]) {
        let tag = if self.untagged { ";tag=callee[call_number]" } else { "" };
        let for_invite = rest.ends_with(&["for", "INVITE"]);
        let (via, cseq) = match for_invite {
            true => ("Via:[$via]", "CSeq: [$number] INVITE"),
            false => ("[last_Via:]", "[last_CSeq:]"),
        };
        self.refused = status.starts_with(['3', '4', '5', '6']);
        let final_to_invite = !status.starts_with('1') && (self.invited || for_invite);
        let retrans = if final_to_invite { " retrans=\"500\"" } else { "" };
        let routes = headers.iter().any(|header| header.starts_with("Record-Route"));
        let contact = match self.registers {
            true => "[last_Contact:]",
            false => "Contact: <sip:trunk@[local_ip]:[local_port];transport=[transport]>",
        };
        let _ = write!(
            self.steps,
            "  <send{retrans}><![CDATA[\n\n      SIP/2.0 {status} Said\n      {via}\n{}      \
             [last_From:]\n      [last_To:]{tag}\n      [last_Call-ID:]\n      {cseq}\n      \
             {contact}\n",
            if routes { "" } else { "      [last_Record-Route:]\n" }
        );
        self.finish(headers, described(rest));
    }

    fn finish(&mut self, headers: &[&str], sdp: Option<&str>) {
        for header in headers {
            let _ = writeln!(self.steps, "      {header}");
        }
        match sdp {
            Some(media) => {
                self.steps.push_str(DESCRIPTION);
                for line in media.lines() {
                    let _ = writeln!(self.steps, "      {}", line.trim());
                }
                self.steps.push('\n');
            }
            None => self.steps.push_str("      Content-Length: 0\n\n"),
        }
        self.steps.push_str("  ]]></send>\n");
    }
}

/// As long as three repeats of a 200 take (RFC 3261, 13.3.1.4).
const REPEATS: u32 = 2000;

/// What an answer to the INVITE needs when other requests came after it.
const REMEMBER: &str = "<ereg regexp=\".*\" search_in=\"hdr\" header=\"Via:\" assign_to=\"via\"/>\
                        <ereg regexp=\"[0-9]+\" search_in=\"hdr\" header=\"CSeq:\" assign_to=\"number\"/>";

/// What a PRACK needs.
const REMEMBER_RSEQ: &str =
    "<ereg regexp=\"[0-9]+\" search_in=\"hdr\" header=\"RSeq:\" assign_to=\"rseq\"/>";

/// The file is the scenario's own.
const PLAY: &str = "  <nop><action><exec play_pcap_audio=\"@TONE@\"/></action></nop>\n";

/// Where a fax goes.
const REMEMBER_FAX: &str = "<ereg regexp=\"m=image ([0-9]+) udptl t38\" search_in=\"msg\" check_it=\"true\" assign_to=\"faxes,fax\"/>\
     <exec command=\"echo [$fax] > @NAME@.port\"/>";

/// The description that one of these words means.
fn described(words: &[&str]) -> Option<&'static str> {
    DESCRIPTIONS.iter().find(|(name, _)| words.contains(name)).map(|(_, lines)| *lines)
}

/// How every description begins.
const DESCRIPTION: &str = "      Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=- 1001 1 IN IP[local_ip_type] [local_ip]
      s=-
      c=IN IP[media_ip_type] [media_ip]
      t=0 0
";

/// What may be described, by the word for it.
const DESCRIPTIONS: &[(&str, &str)] = &[
    (
        "sdp",
        "m=audio [media_port] RTP/AVP 0 101
         a=rtpmap:0 PCMU/8000
         a=rtpmap:101 telephone-event/8000
         a=fmtp:101 0-16
         a=ptime:20",
    ),
    (
        "fax",
        "m=image 13100 udptl t38
         a=T38FaxVersion:0
         a=T38MaxBitRate:14400
         a=T38FaxRateManagement:transferredTCF
         a=T38FaxMaxBuffer:1024
         a=T38FaxMaxDatagram:238
         a=T38FaxUdpEC:t38UDPRedundancy",
    ),
    // Of a telephone with a camera and a browser in it.
    (
        "several",
        "a=group:BUNDLE 0 1 2 3
         m=video 13200 RTP/AVP 96
         a=mid:0
         a=rtpmap:96 H264/90000
         m=audio 0 RTP/AVP 8
         a=mid:1
         m=audio [media_port] RTP/AVP 0 101
         a=mid:2
         a=rtpmap:101 telephone-event/8000
         m=application 13202 UDP/DTLS/SCTP webrtc-datachannel
         a=mid:3",
    ),
    ("clearmode", "m=audio [media_port] RTP/AVP 97\na=rtpmap:97 CLEARMODE/8000\na=ptime:20"),
];

#[cfg(test)]
mod tests {
    use super::{Over, Role, xml};

    #[test]
    fn cancel_and_the_ack_of_a_refusal_are_of_the_transaction_of_their_invite() {
        let text =
            xml("x", Role::Caller, Over::Tcp, "> INVITE sdp\n< 180\n> CANCEL\n< 200\n< 487\n> ACK");
        assert!(text.contains("CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-2]"));
        assert!(text.contains("branch=[branch-5]"));
        assert_eq!(text.matches("CSeq: 1 ").count(), 3);
    }

    #[test]
    fn the_ack_of_a_200_is_a_request_of_its_own() {
        let text = xml("x", Role::Caller, Over::Tcp, "> INVITE sdp\n< 200\n> ACK\n> BYE\n< 200");
        assert!(text.contains("ACK [next_url] SIP/2.0\n      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]"));
        assert!(text.contains("CSeq: 2 BYE"));
    }

    #[test]
    fn only_the_first_request_is_answered_with_a_tag_of_ours() {
        let text = xml("x", Role::Callee, Over::Tcp, "< INVITE\n> 200 sdp\n< ACK\n< BYE\n> 200");
        assert_eq!(text.matches(";tag=callee[call_number]").count(), 1);
    }
}
