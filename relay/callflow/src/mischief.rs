//! What a broken or hostile far side sends, made of what it has sent before: repeats, stale and
//! foreign dialogs, methods at the wrong time, bodies that are none, forks that nobody asked for.

use crate::dice::Dice;
use crate::ladder::Step;
use crate::{Who, World, secs};
use sip_core::{Message, Method, Name, Request, Response};

/// A 2xx of another fork is only believed as long as its INVITE is remembered.
const FORK_ANSWERS_WITHIN: std::time::Duration = secs(5);

/// Sends one such message, if anything was sent before.
pub(crate) fn play(world: &mut World, dice: &mut Dice) {
    let sent: Vec<usize> = (0..world.steps().len()).filter(|at| is_sip(world, *at)).collect();
    if sent.is_empty() {
        return;
    }
    // The latest messages belong to what is going on.
    let newest = sent.len().saturating_sub(dice.of(&[4, 12, 60]));
    let at = sent[newest + dice.below((sent.len() - newest) as u32) as usize];
    let step: &Step = &world.steps()[at];
    let Some(who) = Who::at(step.peer) else { return };
    let forks = world.elapsed().saturating_sub(step.at) < FORK_ANSWERS_WITHIN
        && step.message.headers().cseq().method == Method::Invite
        && !is_answer_to_reinvite(world, &step.message);
    let twisted = match step.message.clone() {
        Message::Request(request) => twist_request(request, world, dice).map(Message::from),
        Message::Response(response) => twist_response(response, forks, dice).map(Message::from),
    };
    if let Some(message) = twisted {
        world.misbehaved = true;
        world.send(who, message);
    }
}

fn is_sip(world: &World, at: usize) -> bool {
    world.steps().get(at).is_some_and(|step| step.to_us && step.arrived > 0)
}

/// Whether our INVITE that this answers was sent within a dialog, where nothing forks.
fn is_answer_to_reinvite(world: &World, answer: &Message) -> bool {
    let (call_id, number) = (answer.headers().call_id(), answer.headers().cseq().number);
    world.steps().iter().filter(|step| !step.to_us).any(|step| match &step.message {
        Message::Request(request) => {
            request.method == Method::Invite
                && request.headers.call_id() == call_id
                && request.headers.cseq().number == number
                && request.headers.to().tag().is_some()
        }
        Message::Response(_) => false,
    })
}

fn twist_request(mut request: Request, world: &mut World, dice: &mut Dice) -> Option<Request> {
    let number = request.headers.cseq().number;
    match dice.below(6) {
        // The same once more, however late.
        0 => return Some(request),
        // A dialog that is nobody's.
        1 => {
            let tag = format!(";tag={}", world.token());
            let to = [b"<", request.headers.to().uri, b">", tag.as_bytes()].concat();
            request.headers.set(Name::To, to);
        }
        // A number that was used: another request under it is out of order.
        2 => {}
        // A method at a time when nobody expects it.
        3 | 4 => {
            let methods = [
                Method::Info,
                Method::Update,
                Method::Prack,
                Method::Refer,
                Method::Notify,
                Method::Options,
                Method::Publish,
            ];
            let method = methods[dice.below(methods.len() as u32) as usize].clone();
            let name = String::from_utf8_lossy(method.as_bytes()).into_owned();
            request.headers.set(Name::CSeq, format!("{number} {name}"));
            request.method = method;
        }
        // A description that is none.
        _ => {
            if request.method != Method::Invite {
                return None;
            }
            request.set_body("application/sdp", dice.of(&["", "v=0", "v=0\r\nm=audio\r\n", "\0"]));
        }
    }
    renew_branch(&mut request, world);
    Some(request)
}

/// A transaction of its own.
fn renew_branch(request: &mut Request, world: &mut World) {
    let via = request.headers.top_via().branch().map(<[u8]>::to_vec).unwrap_or_default();
    let line = request.headers.get(Name::Via).unwrap_or_default().to_vec();
    let (old, new) = (String::from_utf8_lossy(&via).into_owned(), world.token());
    let line = String::from_utf8_lossy(&line).replace(&old, &format!("z9hG4bK{new}"));
    request.headers.remove(Name::Via);
    request.headers.push_front(Name::Via, line);
}

fn twist_response(mut response: Response, forks: bool, dice: &mut Dice) -> Option<Response> {
    match dice.below(4) {
        0 => Some(response),
        // Another fork rings, or answers.
        1 if forks && response.status < 300 => {
            let to = response.headers.to();
            let tag = format!(";tag=fork{}", dice.below(3));
            let to = [b"<", to.uri, b">", tag.as_bytes()].concat();
            response.headers.set(Name::To, to);
            Some(response)
        }
        // An answer to something that was never asked: the branch is known, but not for this method.
        2 => {
            let method = dice.of(&["BYE", "OPTIONS", "INFO", "REGISTER"]);
            if response.headers.cseq().method.as_bytes() == method.as_bytes() {
                return None;
            }
            response.headers.set(Name::CSeq, format!("77 {method}"));
            response.status = dice.of(&[100, 180, 200, 404, 481, 603]);
            Some(response)
        }
        _ => None,
    }
}
