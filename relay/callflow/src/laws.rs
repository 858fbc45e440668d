//! What holds after every test, whatever it did.
//!
//! 1. Nothing is left: no call, dialog, transaction, owner or port.
//! 2. Every 2xx to an INVITE that reached us got an ACK.
//! 3. Every dialog that was confirmed on a leg saw a BYE there.
//! 4. Nothing that names one leg (Call-ID, tags, branches, Contact) stands in a message of the other
//!    side.
//! 5. No message on a Teams leg but theirs with Refer-To holds the FQDN of another tenant (TDR-MT-003).
//! 6. An INVITE goes out with a Max-Forwards one below one that came in.
//! 7. Whatever began has ended, with one record.
//! 8. Teams sees no PRACK, UPDATE, INFO or REFER, no INVITE without an offer, no 100rel.
//! 9. The numbers of our requests rise in each dialog; RSeq rises one by one; RAck names what was heard.
//! 10. One offer gets one answer.
//! 11. Every failure of an INVITE of ours got an ACK.
//! 12. One INVITE gets one final response, in the same octets; every request gets one.
//! 13. Nothing we say of a call names a number of a tenant that has no part in it.
//!
//! A far side that sends an INVITE again after its end has begun another: 12 is asked of flows alone
//! in which nobody misbehaves.

mod exact;

use crate::ladder::Step;
use crate::peer::Who;
use crate::plan::{CONTOSO, FABRIKAM};
use sip_core::{Headers, Message, Method, Name};
use std::collections::{BTreeMap, BTreeSet};

/// What the messages broke.
pub(crate) fn broken_by_messages(steps: &[Step], misbehaved: bool) -> Vec<String> {
    let mut broken = Vec::new();
    acknowledged(steps, &mut broken);
    ended(steps, &mut broken);
    separate(steps, &mut broken);
    tenants(steps, &mut broken);
    forwards(steps, &mut broken);
    exact::spared(steps, &mut broken);
    exact::numbered(steps, &mut broken);
    exact::reliably(steps, &mut broken);
    exact::answered_once(steps, &mut broken);
    exact::failures_acknowledged(steps, &mut broken);
    exact::numbers(steps, &mut broken);
    if !misbehaved {
        exact::final_once(steps, &mut broken);
        exact::finished(steps, &mut broken);
    }
    broken
}

/// A 2xx that makes or changes a session: Call-ID, To tag, CSeq number.
fn accepted(message: &Message) -> Option<(String, String, u32)> {
    let Message::Response(response) = message else { return None };
    let cseq = response.headers.cseq();
    let invite = cseq.method == Method::Invite && (200..300).contains(&response.status);
    invite.then(|| (text(response.headers.call_id()), to_tag(&response.headers), cseq.number))
}

fn acknowledged(steps: &[Step], broken: &mut Vec<String>) {
    let acks: BTreeSet<(String, String, u32)> = steps
        .iter()
        .filter(|step| !step.to_us)
        .filter_map(|step| match &step.message {
            Message::Request(request) if request.method == Method::Ack => Some((
                text(request.headers.call_id()),
                to_tag(&request.headers),
                request.headers.cseq().number,
            )),
            _ => None,
        })
        .collect();
    for step in steps.iter().filter(|step| step.to_us && step.arrived > 0) {
        if let Some(accepted) = accepted(&step.message)
            && !acks.contains(&accepted)
        {
            broken.push(format!("a 200 to INVITE {} of {} got no ACK", accepted.2, accepted.0));
        }
    }
}

fn ended(steps: &[Step], broken: &mut Vec<String>) {
    let mut up = BTreeSet::new();
    let mut over = BTreeSet::new();
    for step in steps.iter().filter(|step| !step.to_us || step.arrived > 0) {
        if let Some((call_id, tag, _)) = accepted(&step.message) {
            up.insert((call_id, tag));
        }
        if let Message::Request(request) = &step.message
            && request.method == Method::Bye
        {
            let call_id = text(request.headers.call_id());
            let from = request.headers.from().tag().map(text).unwrap_or_default();
            over.insert((call_id.clone(), from));
            over.insert((call_id, to_tag(&request.headers)));
        }
    }
    for (call_id, tag) in up.difference(&over) {
        broken.push(format!("the dialog {call_id} with {tag} was confirmed and saw no BYE"));
    }
}

fn separate(steps: &[Step], broken: &mut Vec<String>) {
    let mut names: [BTreeSet<Vec<u8>>; 2] = [BTreeSet::new(), BTreeSet::new()];
    for step in steps {
        let headers = step.message.headers();
        let of = &mut names[usize::from(is_teams(step))];
        of.insert(headers.call_id().to_vec());
        of.extend(
            [headers.from().tag(), headers.to().tag()].into_iter().flatten().map(<[u8]>::to_vec),
        );
        of.extend(headers.top_via().branch().map(<[u8]>::to_vec));
        of.extend(headers.contact().map(|contact| contact.uri.to_vec()));
        of.extend(headers.list(Name::RecordRoute).map(<[u8]>::to_vec));
    }
    // What is sent to one side is what may give the other away; what it sends, it knows itself.
    for step in steps.iter().filter(|step| !step.to_us) {
        let octets = octets(&step.message);
        let foreign = &names[usize::from(!is_teams(step))];
        for name in foreign.iter().filter(|name| name.len() >= SHORTEST_NAME) {
            if octets.windows(name.len()).any(|window| window == name.as_slice()) {
                broken.push(format!("{} stands in a message of the other leg", text(name)));
            }
        }
    }
}

/// Names shorter than this stand in messages by chance.
const SHORTEST_NAME: usize = 6;

fn tenants(steps: &[Step], broken: &mut Vec<String>) {
    let mut calls: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    // Refer-To names whom it likes; what we make of it is ours.
    let refers = |step: &Step| step.to_us && step.message.headers().get(Name::ReferTo).is_some();
    for step in steps.iter().filter(|step| is_teams(step) && !refers(step)) {
        let octets = text(&octets(&step.message)).to_ascii_lowercase();
        let seen = calls.entry(text(step.message.headers().call_id())).or_default();
        seen.extend([CONTOSO, FABRIKAM].into_iter().filter(|fqdn| octets.contains(fqdn)));
    }
    for (call_id, seen) in calls.iter().filter(|(_, seen)| seen.len() > 1) {
        broken.push(format!("{call_id} names {seen:?}"));
    }
}

fn forwards(steps: &[Step], broken: &mut Vec<String>) {
    let initial = |step: &&Step| {
        matches!(&step.message, Message::Request(request)
            if request.method == Method::Invite && request.headers.to().tag().is_none())
    };
    let hops = |step: &Step| step.message.headers().max_forwards();
    let came: BTreeSet<u8> =
        steps.iter().filter(initial).filter(|s| s.to_us).map(|s| hops(s).unwrap_or(70)).collect();
    for step in steps.iter().filter(initial).filter(|step| !step.to_us) {
        match hops(step) {
            Some(left) if left.checked_add(1).is_some_and(|it| came.contains(&it)) => {}
            left => broken.push(format!("an INVITE went out with Max-Forwards {left:?}")),
        }
    }
}

fn is_teams(step: &Step) -> bool {
    Who::at(step.peer).is_some_and(Who::is_teams)
}

fn octets(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.write(&mut out);
    out
}

fn to_tag(headers: &Headers) -> String {
    headers.to().tag().map(text).unwrap_or_default()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
