//! The peers that are not user agents of their own: the Kamailio front, SIPp's carriers, the clock of all.

use super::audio::{mulaw_keys, mulaw_tone};
use super::baresip::{Agent, Setup};
use super::lab;
use super::namespace::on;
use super::pki::Leaf;
use super::process::{Process, fill, until};
use super::sipp;
use super::sipp::Over;
use crate::fail::{Fail, Outcome, While, ensure};
use crate::packages;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Teams' three names, mutual TLS towards Tollgate, UDP towards the user.
pub(super) fn front(folder: &Path, leaf: &Leaf, root: &Path) -> Outcome<Process> {
    let folder = folder.join("front");
    std::fs::create_dir_all(&folder).while_(folder.display())?;
    let modules = packages::kamailio_modules().ok_or_else(|| Fail::new("no Kamailio modules"))?;
    let user = format!("sip:{}@{}:{}", lab::USER_NUMBER, lab::USER, lab::USER_PORT);
    let [border, bypass] =
        [lab::BORDER_TLS, lab::BORDER_BYPASS].map(|at| format!("sip:{at};transport=tls"));
    let values = [
        ("FRONT", &*lab::FRONT.to_string()),
        ("FRONT2", &*lab::FRONT_NAMES[1].1.to_string()),
        ("FRONT3", &*lab::FRONT_NAMES[2].1.to_string()),
        ("BASE", lab::BASE_FQDN),
        ("TENANT", lab::TENANT_FQDN),
        ("BORDER", &*border),
        ("BYPASS", &*bypass),
        ("USER", &*user),
        ("MODULES", &*modules.display().to_string()),
        ("FOLDER", &*folder.display().to_string()),
        ("KEY", &*leaf.key.display().to_string()),
        ("CHAIN", &*leaf.chain.display().to_string()),
        ("ROOT", &*root.display().to_string()),
    ];
    let configuration = folder.join("front.cfg");
    fill(include_str!("../../peers/front.cfg"), &values, &configuration)?;
    fill(include_str!("../../peers/front.tls"), &values, &folder.join("front.tls"))?;
    let entry = |border| format!("1 {border} 0 0 socket=tls:{}:5061\n", lab::FRONT);
    let list = [border.as_str(), bypass.as_str()].map(entry).concat();
    std::fs::write(folder.join("front.list"), list).while_("front.list")?;
    let mut command = on(&lab::TEAMS, "kamailio");
    command.args(["-DD", "-E", "-f"]).arg(&configuration);
    command.arg("-P").arg(folder.join("pid")).arg("-Y").arg(&folder).arg("-w").arg(&folder);
    let mut front = Process::start("kamailio", &mut command, &folder.join("log"))?;
    front.until("listening front", START, |_| {
        std::net::TcpStream::connect((lab::FRONT, lab::BORDER_TLS.port())).is_ok()
    })?;
    Ok(front)
}

/// Kamailio resolves its names and forks its workers first.
const START: Duration = Duration::from_secs(60);

/// The Teams user: SRTP or nothing, RTCP on the RTP port.
pub(super) fn user(folder: &Path) -> Outcome<Agent> {
    user_with(folder, "", &[])
}

/// The same as a client under media bypass: it checks its way to us (RFC 8445).
pub(super) fn bypass_user(folder: &Path) -> Outcome<Agent> {
    user_with(folder, ";medianat=ice", &["stun", "ice"])
}

fn user_with(folder: &Path, more: &str, modules: &[&str]) -> Outcome<Agent> {
    let account = format!(
        "<sip:{}@sip.pstnhub.microsoft.com>;regint=0;answermode=auto;audio_codecs=PCMU;\
         mediaenc=srtp-mand{more};outbound=\"sip:{}:{};transport=udp\"",
        lab::USER_NUMBER,
        lab::FRONT,
        lab::SIP_PORT
    );
    Agent::start(&Setup {
        name: "user",
        namespace: lab::TEAMS.name,
        address: lab::USER,
        port: lab::USER_PORT,
        account: &account,
        tone_hz: lab::USER_TONE,
        rtcp_mux: true,
        rtp: lab::USER_MEDIA,
        modules,
        certificate: None,
        folder: folder.to_owned(),
    })
}

/// Someone on the carrier's side: plain RTP, RTCP on the next port.
pub(super) fn carrier(folder: &Path) -> Outcome<Agent> {
    let account = format!(
        "<sip:{}@{}:{};transport=udp>;regint=0;answermode=auto;audio_codecs=PCMU",
        lab::CARRIER_NUMBER,
        lab::CARRIER,
        lab::SIP_PORT
    );
    Agent::start(&subscriber(&account, folder))
}

/// A carrier on the other wire, as plain.
pub(super) fn partner(folder: &Path) -> Outcome<Agent> {
    let account = format!(
        "<sip:{}@{}:{};transport=udp>;regint=0;answermode=auto;audio_codecs=PCMU",
        lab::PARTNER_NUMBER,
        lab::PARTNER,
        lab::SIP_PORT
    );
    Agent::start(&Setup {
        name: "partner",
        namespace: lab::PARTNERS.name,
        address: lab::PARTNER,
        tone_hz: lab::PARTNER_TONE,
        rtp: lab::PARTNER_MEDIA,
        ..subscriber(&account, folder)
    })
}

/// Someone on the carrier's side who speaks one codec alone, of a module of baresip's.
pub(super) fn carrier_of(folder: &Path, codec: &str, module: &str) -> Outcome<Agent> {
    let account = format!(
        "<sip:{}@{}:{};transport=udp>;regint=0;answermode=auto;audio_codecs={codec}",
        lab::CARRIER_NUMBER,
        lab::CARRIER,
        lab::SIP_PORT
    );
    Agent::start(&Setup { modules: &[module], ..subscriber(&account, folder) })
}

/// Anyone on the carriers' side, at the carrier's place unless said otherwise.
fn subscriber<'a>(account: &'a str, folder: &Path) -> Setup<'a> {
    Setup {
        name: "carrier",
        namespace: lab::CARRIERS.name,
        address: lab::CARRIER,
        port: lab::SIP_PORT,
        account,
        tone_hz: lab::CARRIER_TONE,
        rtcp_mux: false,
        rtp: lab::CARRIER_MEDIA,
        modules: &[],
        certificate: None,
        folder: folder.to_owned(),
    }
}

/// A PBX with one telephone: it registers with Tollgate, which knows it by its secret.
pub(super) fn pbx(folder: &Path) -> Outcome<Agent> {
    let account = format!(
        "<sip:{}@{};transport=udp>;auth_user={};auth_pass={};regint=60;answermode=auto;audio_codecs=PCMU",
        lab::PBX_NUMBER,
        lab::BORDER,
        sipp::USER,
        sipp::SECRET
    );
    Agent::start(&Setup {
        name: "pbx",
        address: lab::PBX,
        port: lab::PBX_PORT,
        ..subscriber(&account, folder)
    })
}

/// Someone on the side of the carrier that speaks TLS and SRTP.
pub(super) fn secure_carrier(folder: &Path, leaf: &Leaf) -> Outcome<Agent> {
    let both = folder.join("secure.pem");
    let mut text = std::fs::read(&leaf.chain).while_(leaf.chain.display())?;
    text.extend(std::fs::read(&leaf.key).while_(leaf.key.display())?);
    std::fs::write(&both, text).while_(both.display())?;
    let account = format!(
        "<sip:{}@{}:{};transport=tls>;regint=0;answermode=auto;audio_codecs=PCMU;mediaenc=srtp-mand",
        lab::SECURE_NUMBER,
        lab::SECURE,
        lab::SIP_PORT + 1
    );
    Agent::start(&Setup {
        name: "secure",
        address: lab::SECURE,
        port: lab::SIP_PORT,
        certificate: Some(both),
        ..subscriber(&account, folder)
    })
}

/// Where a SIPp is.
struct Place {
    side: lab::Side,
    address: Ipv4Addr,
    port: u16,
    media: u16,
}

/// A far end played by SIPp from a scenario, for one call.
pub(super) struct Sipp {
    process: Process,
    name: &'static str,
    folder: PathBuf,
}

impl Sipp {
    /// Calls the Teams user and plays a tone.
    pub(super) fn caller(folder: &Path, from: Ipv4Addr) -> Outcome<Self> {
        let tone = folder.join("tone.ul");
        std::fs::write(&tone, mulaw_tone(lab::SIPP_TONE, 5)).while_(tone.display())?;
        let extra = ["-s", lab::USER_NUMBER, &lab::BORDER_SIP.to_string()].map(str::to_owned);
        Self::start("caller", include_str!("../../peers/caller.xml"), folder, from, &extra)
    }

    /// Calls the Teams user and presses keys by tones in its speech.
    pub(super) fn presses(folder: &Path, from: Ipv4Addr, keys: &str) -> Outcome<Self> {
        let tones = folder.join("tone.ul");
        std::fs::write(&tones, mulaw_keys(keys)).while_(tones.display())?;
        let extra = ["-s", lab::USER_NUMBER, &lab::BORDER_SIP.to_string()].map(str::to_owned);
        Self::start("presses", include_str!("../../peers/caller.xml"), folder, from, &extra)
    }

    /// Calls the Teams user and plays this capture.
    pub(super) fn over_a_bad_line(folder: &Path, from: Ipv4Addr, line: &Path) -> Outcome<Self> {
        std::fs::copy(line, folder.join("tone.ul")).while_(line.display())?;
        let extra = ["-s", lab::USER_NUMBER, &lab::BORDER_SIP.to_string()].map(str::to_owned);
        Self::start("bad_line", include_str!("../../peers/bad_line.xml"), folder, from, &extra)
    }

    /// Answers and sends back what it hears.
    pub(super) fn answerer(folder: &Path, at: Ipv4Addr) -> Outcome<Self> {
        let extra = ["-rtp_echo".to_owned()];
        Self::start("answerer", include_str!("../../peers/answerer.xml"), folder, at, &extra)
    }

    /// Answers 503.
    pub(super) fn busy(folder: &Path, at: Ipv4Addr) -> Outcome<Self> {
        Self::start("busy", include_str!("../../peers/busy.xml"), folder, at, &[])
    }

    /// Plays one side of a call over this transport; a caller dials `number`.
    pub(super) fn plays(
        folder: &Path,
        name: &'static str,
        scenario: &str,
        address: Ipv4Addr,
        over: Over,
        number: Option<&str>,
    ) -> Outcome<Self> {
        let mut extra = vec!["-t".to_owned(), over.sipp().to_owned()];
        if let Some(number) = number {
            extra.extend(["-s", number, &lab::BORDER_SIP.to_string()].map(str::to_owned));
        }
        let sipp = Self::start(name, scenario, folder, address, &extra)?;
        if number.is_none() && over == Over::Tcp {
            until("listening callee", START, listens)?;
        }
        Ok(sipp)
    }

    /// Plays the Teams user, who calls this number through the front.
    pub(super) fn user(
        folder: &Path,
        name: &'static str,
        scenario: &str,
        number: &str,
    ) -> Outcome<Self> {
        let place = Place {
            side: lab::TEAMS,
            address: lab::USER,
            port: lab::USER_PORT,
            media: lab::SIPP_USER_MEDIA,
        };
        let front = format!("{}:{}", lab::FRONT, lab::SIP_PORT);
        let extra = ["-s", number, &front].map(str::to_owned);
        Self::start_at(name, scenario, folder, &place, &extra)
    }

    /// Plays one side of a call with a fax in it, which takes its time.
    pub(super) fn faxes(
        folder: &Path,
        name: &'static str,
        scenario: &str,
        address: Ipv4Addr,
        number: Option<&str>,
    ) -> Outcome<Self> {
        let mut extra = ["-timeout", "120s"].map(str::to_owned).to_vec();
        if let Some(number) = number {
            extra.extend(["-s", number, &lab::BORDER_SIP.to_string()].map(str::to_owned));
        }
        Self::start(name, scenario, folder, address, &extra)
    }

    /// Plays one side of many calls over UDP; a caller dials the number, so many times a second.
    pub(super) fn load(
        folder: &Path,
        name: &'static str,
        scenario: &str,
        address: Ipv4Addr,
        dials: Option<(&str, usize)>,
        calls: usize,
    ) -> Outcome<Self> {
        let mut extra = vec!["-m".to_owned(), calls.to_string()];
        if let Some((number, per_second)) = dials {
            let (rate, border) = (per_second.to_string(), lab::BORDER_SIP.to_string());
            extra.extend(["-r", &rate, "-s", number, &border].map(str::to_owned));
        }
        extra.extend(["-timeout", "90s"].map(str::to_owned));
        Self::start(name, scenario, folder, address, &extra)
    }

    /// Whether it has played all its calls.
    pub(super) fn is_over(&mut self) -> bool {
        self.process.is_over()
    }

    /// Waits until all its calls went through the scenario, step by step.
    pub(super) fn completes(self) -> Outcome {
        self.ends_within(CALL)
    }

    /// The same for one that takes longer.
    pub(super) fn ends_within(mut self, patience: Duration) -> Outcome {
        let status = self.process.ended(patience)?;
        ensure(status.success(), || self.left(status))
    }

    fn left(&self, status: std::process::ExitStatus) -> String {
        let errors = std::fs::read_to_string(self.folder.join(format!("{}.errors", self.name)));
        let errors = errors.unwrap_or_default();
        format!("SIPp's {} left its scenario: {status}\n{errors:.2000}", self.name)
    }

    fn start(
        name: &'static str,
        scenario: &str,
        folder: &Path,
        address: Ipv4Addr,
        extra: &[String],
    ) -> Outcome<Self> {
        let place =
            Place { side: lab::CARRIERS, address, port: lab::SIP_PORT, media: lab::SIPP_MEDIA };
        Self::start_at(name, scenario, folder, &place, extra)
    }

    fn start_at(
        name: &'static str,
        scenario: &str,
        folder: &Path,
        place: &Place,
        extra: &[String],
    ) -> Outcome<Self> {
        let file = folder.join(format!("{name}.xml"));
        let tone = folder.join("tone.ul").display().to_string();
        fill(scenario, &[("TONE", &tone)], &file)?;
        let (own, media) = (place.address.to_string(), place.media.to_string());
        let port = place.port.to_string();
        let mut command = on(&place.side, "sipp");
        command.arg("-sf").arg(&file).args(["-i", &own, "-p", &port, "-mi", &own, "-mp", &media]);
        // What is said again later holds.
        command.args(["-m", "1", "-nostdin", "-timeout", "30s", "-timeout_error", "-trace_err"]);
        command.arg("-error_file").arg(folder.join(format!("{name}.errors")));
        command.args(extra).env("TERM", "dumb").current_dir(folder);
        let process = Process::start(name, &mut command, &folder.join(format!("{name}.log")))?;
        Ok(Self { process, name, folder: folder.to_owned() })
    }
}

/// Whether somebody on the carriers' side listens for TCP where SIP is spoken.
fn listens() -> bool {
    let mut command = on(&lab::CARRIERS, "ss");
    let output = command.args(["-Hltn", &format!("sport = :{}", lab::SIP_PORT)]).output();
    output.is_ok_and(|output| !output.stdout.is_empty())
}

/// A whole scenario, its pauses included.
const CALL: Duration = Duration::from_secs(35);
