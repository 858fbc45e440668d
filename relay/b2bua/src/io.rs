//! What goes in and out of the core.

use crate::callback::LentNumber;
use crate::fraud::{PastCall, Stage};
use crate::hook::{RouteAnswer, RouteQuestion};
use crate::locate::{Located, Sought};
use crate::plan::{Plan, RouteFrom, Transport};
use crate::record::{Carried, Record};
use sdp::{CallStats, Carriage, IceTrouble, Notice, Order, Silence};
use sip_core::Message;
use sip_core::transaction::{ClientId, Hop as SipHop};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The time, told to the core.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic, for timers.
    pub mono: Instant,
    /// Wall clock, for records and routing by time of day.
    pub wall: SystemTime,
}

/// A call, numbered by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

impl std::fmt::Display for CallId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A transport association that messages travel on (RFC 5626): a TCP or TLS connection, or a pair
/// of UDP addresses. Numbered by the transport, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

/// A flow as the core sees it: only flows whose peer has been accepted get here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its number.
    pub id: FlowId,
    /// The listener it came in on or went out from, by name.
    pub listener: Arc<str>,
    /// Its transport.
    pub transport: Transport,
    /// The far side.
    pub remote: SocketAddr,
    /// The trunk that the far side was accepted as, by name.
    pub trunk: Arc<str>,
}

/// A place to open a flow to, or to find one to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The trunk, by name.
    pub trunk: Arc<str>,
    /// The listener to send from, by name.
    pub listener: Arc<str>,
    /// The transport.
    pub transport: Transport,
    /// The address.
    pub address: SocketAddr,
    /// For TLS: the name to send as SNI and to find in the certificate (TDR-TLS-004, TDR-TLS-008).
    pub server_name: Option<Arc<str>>,
    /// For TLS: the name that our request goes by there, which the certificate that we show has to cover
    /// (TDR-CON-005); `None`: the listener's own certificate will do.
    pub own_name: Option<Arc<str>>,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Over this flow; if it is gone, to `otherwise`.
    Flow {
        /// The flow.
        flow: Flow,
        /// Where else (RFC 3261, 18.2.2: the Via's sent-by), if known.
        otherwise: Option<Target>,
    },
    /// To this target, over a flow that is open or is opened for it.
    Target(Target),
}

impl Hop {
    /// The same for a request that goes by this name of ours.
    pub(crate) fn under(mut self, name: Option<&Arc<str>>) -> Self {
        if let Self::Target(to) | Self::Flow { otherwise: Some(to), .. } = &mut self {
            to.own_name = name.cloned();
        }
        self
    }
}

impl SipHop for Hop {
    fn reliable(&self) -> bool {
        match self {
            Self::Flow { flow, .. } => flow.transport.reliable(),
            Self::Target(target) => target.transport.reliable(),
        }
    }
}

/// One side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerLeg {
    /// The leg the call came in on.
    A,
    /// The leg the call went out on.
    B,
}

/// The ports of one call, chosen here (architecture: nobody is asked).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPorts {
    /// The media worker that owns both legs.
    pub worker: usize,
    /// Those of leg A.
    pub a: MediaPort,
    /// Those of leg B.
    pub b: MediaPort,
}

impl MediaPorts {
    /// Those of a leg.
    pub const fn of(&self, leg: PeerLeg) -> MediaPort {
        match leg {
            PeerLeg::A => self.a,
            PeerLeg::B => self.b,
        }
    }
}

impl MediaPorts {
    /// What is carried, without a far side that names ports of this very call as its own: its packets
    /// would go round for ever.
    pub(crate) fn not_to_themselves(&self, mut leg: Carriage) -> Carriage {
        let ours = |to: &SocketAddr| {
            [self.a, self.b].iter().any(|port| {
                [port.advertise, port.bind].contains(&to.ip())
                    && (port.rtp..=port.rtp + 1).contains(&to.port())
            })
        };
        leg.stream.remote_rtp.take_if(|to| ours(to));
        leg.stream.remote_rtcp.take_if(|to| ours(to));
        leg
    }
}

/// A pair of ports of a media address: a leg keeps it, whatever becomes of the address in a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPort {
    /// The address to bind.
    pub bind: IpAddr,
    /// The address in SDP.
    pub advertise: IpAddr,
    /// The RTP port; RTCP is the next one.
    pub rtp: u16,
    /// What packets are marked with.
    pub dscp: u8,
}

/// What happens to the core.
#[derive(Debug)]
pub enum Input {
    /// A message came in whole.
    Message {
        /// The flow it came on.
        flow: Flow,
        /// The message. `received` and `rport` are already in its top Via (RFC 3581).
        message: Message,
    },
    /// The message that comes next has waited for so long to be looked at.
    Waited(Duration),
    /// A request could not be sent: refused, unreachable, TLS failed, queue full.
    SendFailed {
        /// The transaction named in [`Output::Send`].
        client: ClientId,
        /// Why, in words for the record.
        why: String,
    },
    /// A name is there from now on (looked up off the call path).
    Located {
        /// The name.
        sought: Sought,
        /// Its endpoints.
        located: Arc<Located>,
    },
    /// The call's media could not be opened.
    MediaFailed {
        /// The call.
        call: CallId,
        /// Why, in words for a log.
        why: String,
    },
    /// Something happened on a leg's media.
    MediaNotice {
        /// The call.
        call: CallId,
        /// The leg.
        leg: PeerLeg,
        /// What happened.
        notice: Notice,
    },
    /// The call's media is closed; these were its counters.
    MediaClosed {
        /// The call.
        call: CallId,
        /// Its counters.
        summary: CallStats,
        /// What carried its legs; `None` where they were not open.
        carried: Option<Box<[Carried; 2]>>,
    },
    /// A tenant's routing hook has answered, or asking it has failed.
    RouteAnswer {
        /// The call in [`Output::AskRoute`].
        call: CallId,
        /// Its tenant: the call may be gone.
        tenant: String,
        /// What was said.
        answer: RouteAnswer,
    },
    /// A new snapshot is in force for new calls.
    Plan(Arc<Plan>),
    /// What the records tell of the calls of the last day, before this process began.
    Past(Vec<PastCall>),
    /// What was [lent](Output::Lent) before this process began.
    Lent(Vec<LentNumber>),
    /// Take no new calls but emergency calls: none at all, or none of this tenant. [`Output::Drained`]
    /// follows once the host may stop. Asked again, it gets the new deadline.
    Drain {
        /// The tenant; `None`: the host.
        tenant: Option<String>,
        /// When what is still up is ended: a tenant's calls here, the host's by whoever stops it.
        until: Option<Instant>,
    },
    /// Take calls again.
    Resume {
        /// The tenant; `None`: the host.
        tenant: Option<String>,
    },
    /// End all calls (BYE, CANCEL) and take no new ones.
    Shutdown,
}

/// What the core wants done.
#[derive(Debug)]
pub enum Output {
    /// Send these octets.
    Send {
        /// Where.
        hop: Hop,
        /// The message.
        bytes: bytes::Bytes,
        /// The transaction to name in [`Input::SendFailed`].
        client: Option<ClientId>,
    },
    /// Send what is queued for this connection, then close it.
    CloseFlow(FlowId),
    /// Bind the ports of a call.
    OpenMedia {
        /// The call.
        call: CallId,
        /// The ports.
        ports: MediaPorts,
        /// Fresh random for the media core.
        seed: [u8; 32],
    },
    /// The legs have agreed this; `None` leaves a leg as it is.
    ConnectMedia {
        /// The call.
        call: CallId,
        /// The worker that owns it.
        worker: usize,
        /// Leg A.
        a: Option<Carriage>,
        /// Leg B.
        b: Option<Carriage>,
    },
    /// Do this on a leg's media now.
    OrderMedia {
        /// The call.
        call: CallId,
        /// The worker that owns it.
        worker: usize,
        /// The leg.
        leg: PeerLeg,
        /// What to do.
        order: Order,
    },
    /// Give a leg these ports instead of those it had; the other leg keeps its own.
    MoveMedia {
        /// The call.
        call: CallId,
        /// The worker that owns it.
        worker: usize,
        /// The leg.
        leg: PeerLeg,
        /// Its ports from now on.
        to: MediaPort,
    },
    /// Release the ports; [`Input::MediaClosed`] follows.
    CloseMedia {
        /// The call.
        call: CallId,
        /// The worker that owns it.
        worker: usize,
    },
    /// Ask a tenant's routing hook; [`Input::RouteAnswer`] follows, unless it would be too late.
    AskRoute(Box<RouteQuestion>),
    /// A call is over.
    Record(Box<Record>),
    /// Something to count or log; never a control decision.
    Event(Event),
    /// A number leads to who has called for help under it: to be kept, as a restart must not forget them.
    Lent(LentNumber),
    /// The host drains, and no call is left, or its deadline has come.
    Drained,
    /// [`Input::Shutdown`] is complete: no call is left.
    Stopped,
}

/// What the NOC may want to know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A call began.
    CallStarted {
        /// Its direction.
        direction: RouteFrom,
        /// The tenant.
        tenant: String,
    },
    /// A call that began is over (a record follows, with or without media).
    CallEnded {
        /// Its direction.
        direction: RouteFrom,
        /// The tenant.
        tenant: String,
        /// The trunk that carried it out, or the last one tried.
        trunk: String,
        /// `answered`, or the cause word.
        outcome: String,
    },
    /// A call was refused by us.
    Rejected {
        /// The tenant, if one was found.
        tenant: Option<String>,
        /// Why.
        reason: crate::Reject,
    },
    /// What a tenant has used of a class of destinations has come nearer to its ceiling, or farther.
    Ceiling {
        /// The tenant.
        tenant: String,
        /// The class.
        class: String,
        /// How near.
        stage: Stage,
        /// What is used, as a share of the ceiling.
        ratio: f64,
        /// The same in words.
        text: String,
    },
    /// The speech of a call is turned from one codec to another now, or not any more: that of the leg
    /// it came in on, and what it becomes on the other.
    Transcoded {
        /// What was turned before.
        was: Option<(&'static str, &'static str)>,
        /// What is turned now.
        now: Option<(&'static str, &'static str)>,
    },
    /// A fax by T.38 has been agreed on both legs of a call, or was refused. Once a call, unless it is
    /// agreed after all.
    Fax {
        /// The call.
        call: CallId,
        /// Which.
        result: crate::record::Fax,
    },
    /// A call that may be transcoded goes on without, as too many are.
    TranscodingRefused,
    /// A call did not try a target of its route.
    PassedOver {
        /// The trunk.
        trunk: String,
        /// Why: a word.
        reason: &'static str,
    },
    /// A tenant's routing hook was asked about a call.
    HookAsked {
        /// The tenant.
        tenant: String,
        /// `route`, `table`, `reject`, `late`, or how it failed ([`crate::hook::Failure`]).
        result: &'static str,
        /// What went wrong, in words for a log; `None` if nothing did.
        why: Option<String>,
    },
    /// An endpoint of a target rests, as calls failed there one after the other, or takes calls again.
    TargetRests {
        /// The trunk.
        trunk: String,
        /// The target as configured.
        target: String,
        /// How many of its endpoints rest now.
        endpoints: usize,
        /// Why it rests; `None`: it takes calls again.
        why: Option<String>,
    },
    /// A target of a trunk came up or went down.
    TargetUp {
        /// The trunk.
        trunk: String,
        /// The target as configured.
        target: String,
        /// Whether it is up.
        up: bool,
        /// What it answered, or why it did not.
        why: String,
    },
    /// Teams addressed an FQDN that no tenant has (TDR-IN-001).
    UnknownFqdn {
        /// The trunk it came in on.
        trunk: String,
        /// The FQDN, as far as one may be long.
        fqdn: String,
    },
    /// OPTIONS was answered with 2xx (`out`) or came from the far side (`in`).
    Options {
        /// The trunk.
        trunk: String,
        /// The target as configured (`out`) or the source address (`in`).
        target: String,
        /// `in` or `out`.
        direction: &'static str,
    },
    /// A registration of ours was granted, refreshed elsewhere, lost or removed.
    Registered {
        /// The trunk.
        trunk: String,
        /// Whether it holds; `None`: it is not wanted any more.
        up: Option<bool>,
        /// At which registrar, or why not.
        why: String,
    },
    /// A trunk challenged a request and we have no answer, or not the right one.
    ChallengeRefused {
        /// The trunk.
        trunk: String,
        /// Why, in words for a log.
        why: String,
    },
    /// What is bound at the registrar of a trunk has become more or less.
    Bindings {
        /// The trunk.
        trunk: String,
        /// How many bindings; `None`: the trunk has no registrar any more.
        bindings: Option<usize>,
        /// What has happened, in words for a log.
        why: &'static str,
    },
    /// The registrar of a trunk did not take a REGISTER, or did not believe an INVITE.
    RegistrarRefused {
        /// The trunk.
        trunk: String,
        /// Where it came from.
        source: SocketAddr,
        /// Why: a word.
        reason: &'static str,
    },
    /// The media of a call could not be opened.
    MediaFailed {
        /// The call.
        call: CallId,
        /// Why, in words for a log.
        why: String,
    },
    /// A DTLS handshake on a leg is over.
    Handshake {
        /// The call.
        call: CallId,
        /// The trunk of the leg.
        trunk: String,
        /// `done`, or how it failed ([`sdp::DtlsFailure`]).
        result: &'static str,
    },
    /// Keys are passed through a call, or are not though both trunks would have it so.
    PassThrough {
        /// The call.
        call: CallId,
        /// Why they are not: a word.
        refused: Option<&'static str>,
    },
    /// Nothing is heard from a leg of an answered call, or now for another cause, or something again.
    Silence {
        /// The call.
        call: CallId,
        /// The tenant.
        tenant: String,
        /// The leg's trunk.
        trunk: String,
        /// The leg.
        leg: PeerLeg,
        /// Why nothing is heard; `None`: something is.
        silence: Option<Silence>,
        /// How long nothing was, where something is again.
        after: Option<Duration>,
    },
    /// ICE on a leg of a call that is up is not as it should be.
    IceTrouble {
        /// The call.
        call: CallId,
        /// The trunk of the leg.
        trunk: String,
        /// What is wrong.
        trouble: IceTrouble,
    },
    /// Local Media Optimization has chosen the media address of a leg, or could not.
    LocalMedia {
        /// The tenant.
        tenant: String,
        /// `inside`, `outside`, `moved_inside`, `moved_outside`, `move_refused`, `lmo_path_unknown`,
        /// `no_media_port`.
        result: &'static str,
    },
    /// A call gives way to one for help.
    Preempted {
        /// The call.
        call: CallId,
        /// Its tenant.
        tenant: String,
    },
    /// A message that was well formed but led nowhere.
    Discarded {
        /// Why: a word.
        reason: &'static str,
    },
}

/// Characters of a name in DNS (RFC 1035, 2.3.4).
const FQDN_MAX: usize = 253;

impl Event {
    /// A host that Teams addressed and no tenant has.
    pub(crate) fn unknown_fqdn(trunk: &str, host: &str) -> Self {
        let fqdn = host.chars().take(FQDN_MAX).collect();
        Self::UnknownFqdn { trunk: trunk.to_owned(), fqdn }
    }
}

/// A call as shown by `tollgate calls`.
#[derive(Clone, Debug)]
pub struct CallView {
    /// Our number.
    pub call: CallId,
    /// The tenant.
    pub tenant: String,
    /// The direction.
    pub direction: RouteFrom,
    /// Calling number.
    pub from: String,
    /// Called number.
    pub to: String,
    /// `trying`, `ringing`, `answered`, `held`, `ending`.
    pub state: &'static str,
    /// The trunk it came in on.
    pub trunk_in: String,
    /// The trunk it went out on, so far.
    pub trunk_out: Option<String>,
    /// Time since the INVITE.
    pub age: Duration,
    /// Both Call-IDs.
    pub call_ids: (String, Option<String>),
    /// The media ports (A, B), if open.
    pub ports: Option<(u16, u16)>,
    /// The media worker that owns them.
    pub worker: Option<usize>,
    /// Why nothing is heard from the legs (A, B), where nothing is; `None` before the answer.
    pub silent: Option<(Option<Silence>, Option<Silence>)>,
    /// It is a fax now, by T.38: nothing is heard, and nobody misses it.
    pub fax: bool,
}

/// What stands in [`TargetView::last`] before the first OPTIONS has brought anything.
pub const NOT_ASKED_YET: &str = "not asked yet";

/// A trunk's target as shown by `tollgate trunks`.
#[derive(Clone, Debug)]
pub struct TargetView {
    /// The trunk.
    pub trunk: String,
    /// The target as configured.
    pub target: String,
    /// The address in use, if resolved.
    pub address: Option<SocketAddr>,
    /// Whether new calls try it first.
    pub up: bool,
    /// How long it takes no new call; zero: one that tries it is under way.
    pub rests: Option<Duration>,
    /// Since the last 2xx to our OPTIONS.
    pub answered_ago: Option<Duration>,
    /// What the last OPTIONS brought.
    pub last: String,
    /// Calls on the trunk now.
    pub calls: usize,
}

/// Who takes no new calls for a while, as shown by `tollgate drain --status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainView {
    /// The tenant; `None`: the host.
    pub tenant: Option<String>,
    /// For how long.
    pub since: Duration,
    /// Until what is still up is ended, if there is a deadline.
    pub left: Option<Duration>,
    /// Calls that are still up.
    pub calls: usize,
}

/// What Microsoft makes of us under one FQDN.
#[derive(Clone, Debug)]
pub struct FqdnView {
    /// The trunk.
    pub trunk: String,
    /// The FQDN.
    pub fqdn: String,
    /// The tenant whose it is; `None`: the base FQDN of the trunk, if no tenant has it.
    pub tenant: Option<String>,
    /// Whether we send OPTIONS under it: the base, and FQDNs that are trunks of their own.
    pub asks: bool,
    /// Whether a target takes them.
    pub up: bool,
    /// Whether all targets are known not to.
    pub down: bool,
    /// Since the last 2xx from any target.
    pub answered_ago: Option<Duration>,
    /// What the last OPTIONS to each target brought.
    pub last: Vec<(String, String)>,
    /// The OPTIONS that Microsoft sends, by region.
    pub regions: Vec<RegionView>,
    /// For how long Microsoft has sent none though it takes ours, once that is too long.
    pub unseen: Option<Duration>,
    /// What the last INVITE to Teams brought: status, Microsoft's phrase, and how long ago.
    pub invited: Option<(u16, Option<String>, Duration)>,
    /// Since the last call from Teams.
    pub called_ago: Option<Duration>,
}

/// OPTIONS that come from one of Microsoft's regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionView {
    /// `us`, `eu`, `as`, `oc`, or `other`.
    pub region: &'static str,
    /// How many proxies they come from.
    pub proxies: usize,
    /// Since the last one.
    pub ago: Duration,
    /// Where that came from.
    pub from: IpAddr,
}

/// Who has nearly as many calls as it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrowdedView {
    /// Who.
    pub who: Crowded,
    /// Calls now.
    pub calls: u32,
    /// The bound.
    pub bound: u32,
}

/// Whose bound it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Crowded {
    /// The host's.
    Host,
    /// A trunk's.
    Trunk(String),
    /// A tenant's.
    Tenant(String),
}
